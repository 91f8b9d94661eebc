"""The simple systems answer what a count by hand answers, and answers of labels are read back as the labels."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune import Example
from medtune.evaluation.baselines.closed_rows import closed_rows, split_by_form
from medtune.evaluation.baselines.dictionary import Dictionary
from medtune.evaluation.baselines.few_shot import draw_shots, with_shots
from medtune.evaluation.baselines.simple import simple_answers
from medtune.evaluation.predict import assigned
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import survey
from medtune.evaluation.spans import OUTSIDE, Label, spans_of
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import EncoderKind, EncoderRow, Prediction
from medtune.specs import TaskSpec

LABELS = [OUTSIDE, Label("B", "D"), Label("I", "D"), Label("B", "C"), Label("I", "C")]


def example(question, answer, source="s", **others):
    return Example(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), source, **others)


def brute_force(rows, words):
    """Tag by trying every run of words at every place against every entity of the rows."""
    folded = [([word.casefold() for word in sentence], labels) for sentence, labels in rows]
    entities = [(tuple(s[span.start : span.end]), span.type) for s, ls in folded for span in spans_of(ls, strict=True)]

    def kind_of(form):
        types = Counter(kind for found, kind in entities if found == form)
        outside = sum(
            tuple(s[at : at + len(form)]) == form and ls[at : at + len(form)] == [OUTSIDE] * len(form)
            for s, ls in folded
            for at in range(len(s))
        )
        kept = sum(types.values()) and sum(types.values()) >= outside
        return min(types, key=lambda kind: (-types[kind], kind)) if kept else None

    keys, tagged = [word.casefold() for word in words], []
    while len(tagged) < len(keys):
        at = len(tagged)
        for end in range(len(keys), at, -1):
            if (kind := kind_of(tuple(keys[at:end]))) is not None:
                tagged += [Label("B", kind)] + [Label("I", kind)] * (end - at - 1)
                break
        else:
            tagged.append(OUTSIDE)
    return tagged


sentences = st.lists(
    st.tuples(st.sampled_from(["a", "A", "b", "c", "tumor"]), st.sampled_from(LABELS)), min_size=1, max_size=8
).map(lambda pairs: ([word for word, _label in pairs], [label for _word, label in pairs]))


def test_entities_are_written_as_the_training_rows_write_their_types(predict_of):
    def row(gold):
        return predict_of("", gold, question="Tag .\n\nflu helps tea", source="own", task="ner").example

    trained = [row("flu : B-Disease\nhelps : O\ntea : B-Drug")] * 3 + [row("flu : B-DISEASE\nhelps : O\ntea : Drug-B")]
    [split] = split_by_form(trained, [row("flu : O\nhelps : O\ntea : O")], provide_tasks())
    closed = closed_rows(split)
    numbers = [closed.labels.index(name) for name in ("B-DISEASE", "O", "B-DRUG")]
    assert closed.answer(closed.asked[0], numbers) == "flu : B-Disease\nhelps : O\ntea : B-Drug"
    assert simple_answers([split], 0)["dictionary"].texts[0] == "flu : B-Disease\nhelps : O\ntea : B-Drug"


@given(st.lists(sentences, max_size=6), sentences)
def test_the_dictionary_tags_as_a_search_by_brute_force_does(rows, asked):
    assert Dictionary(rows).tag(asked[0]) == brute_force(rows, asked[0])


def of(rows, asked, *declared):
    tasks = bind(provide_tasks(), survey([*rows, *asked], declared))
    asked = [assigned(e, tasks) for e in asked]
    return split_by_form(rows, asked, tasks), asked, tasks


def test_the_commonest_answer_and_drawn_ones_are_those_of_a_count():
    answers = ["Yes"] * 30 + ["No"] * 12 + ["Maybe"] * 6
    rows = [example(f"Does row {n} tell?", answer) for n, answer in enumerate(answers)]
    splits, asked, tasks = of(rows, rows * 20, TaskSpec(source="s", kind="decision"))
    found = simple_answers(splits, seed=3)
    assert found.keys() == {"majority", "prior"}
    accuracy = {
        name: score_predictions([Prediction(e, answers.texts[n]) for n, e in enumerate(asked)], tasks, intervals=False)
        .tasks["qa"]
        .metrics["accuracy"]
        for name, answers in found.items()
    }
    shares = [count / len(answers) for count in Counter(answers).values()]
    assert accuracy["majority"] == pytest.approx(max(shares))
    assert accuracy["prior"] == pytest.approx(sum(share**2 for share in shares), abs=0.06)
    assert simple_answers(splits, seed=3)["prior"].texts == found["prior"].texts


def test_free_text_is_answered_by_the_commonest_text_and_by_the_input():
    texts = [f"The {'spleen' if n % 3 else 'liver'} is seen well on this side of the body here." for n in range(12)]
    rows = [example(f"Say more.\n\nWhat of {n}?", text) for n, text in enumerate(texts)]
    splits, _asked, _tasks = of(rows, rows[:2], TaskSpec(source="s", kind="free-text"))
    found = simple_answers(splits, 0)
    assert found["majority"].texts == {0: texts[1], 1: texts[1]}
    assert found["copy"].texts == {0: "What of 0?", 1: "What of 1?"}


FORMS = {
    "tags": ([f"fever : {'B' if n % 2 else 'O'}\nand : O\nill : B" for n in range(12)], "fever and ill", None),
    "typed tags": (["fever : B-SIGN\nand : O\nill : B-STATE"] * 12, "fever and ill", None),
    "labels": (["mild", "severe"] * 6, "How ill?", TaskSpec(source="s", kind="classification")),
    "several": (["a; b", "a", "none", "b"] * 3, "Which?", TaskSpec(source="s", kind="multi-label", negative=["none"])),
    "relation": (["TrIP", "No Relations"] * 6, "@problem$ by @treatment$", None),
    "inference": (["Entailment", "Neutral"] * 6, "Sentence 1: a\nSentence 2: b", None),
    "choice": (["B", "A"] * 6, "Which? A) a B) b", TaskSpec(source="s", kind="choice")),
    "decision": (["yes", "no"] * 6, "Is it?", TaskSpec(source="s", kind="decision")),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_labels_of_every_form_are_written_as_answers_that_score_in_full(form):
    answers, question, declared = FORMS[form]
    rows = [example(f"Say it.\n\n{question}", answer) for answer in answers]
    [split], asked, tasks = of(rows, rows, *([declared] if declared else []))
    closed = closed_rows(split)
    assert (closed.kind is EncoderKind.TAGS) == form.endswith("tags")
    assert (closed.kind is EncoderKind.LABELS) == (form == "several")
    written = [closed.answer(row, trained.labels) for row, trained in zip(closed.asked, closed.rows, strict=True)]
    score = score_predictions([Prediction(*each) for each in zip(asked, written, strict=True)], tasks, intervals=False)
    [found] = score.tasks.values()
    assert found.metrics[found.primary] == 1.0
    assert not any(found.failures.values())
    if closed.kind is not EncoderKind.TAGS:
        assert {row.text[0] for row in closed.asked} == {question}


def test_a_stray_inside_label_begins_an_entity():
    rows = [example("x\n\na b c", "a : B\nb : I\nc : O")] * 3
    [split], _asked, _tasks = of(rows, rows[:1])
    closed = closed_rows(split)
    inside = closed.labels.index("I")
    assert closed.answer(EncoderRow(["a", "b", "c"]), [inside] * 3) == "a : B\nb : I\nc : I"


def test_rows_that_no_labels_answer_say_why():
    rows = [example(f"Does it {n}?", "yes") for n in range(8)]
    [split], _asked, _tasks = of(rows, rows, TaskSpec(source="s", kind="decision"))
    assert closed_rows(split) == "of source 's', whose training rows hold one label only"
    [untrained], _asked, _tasks = of([], rows, TaskSpec(source="s", kind="decision"))
    assert closed_rows(untrained) == "of source 's', of which no training row can be read"


def test_shots_are_of_the_same_source_never_asked_and_as_many_as_fit():
    rows = [example(f"Q{n}", f"A{n}", "s" if n % 2 else "t", row_id=str(n)) for n in range(40)]
    shots = draw_shots([*rows, *rows], rows[:10], 5, 0)
    assert {source: len({shot.row_id for shot in some}) for source, some in shots.items()} == {"s": 5, "t": 5}
    assert all(shot.source == source and int(shot.row_id) >= 10 for source, some in shots.items() for shot in some)
    assert shots == draw_shots([*rows, *rows], rows[:10], 5, 0) != draw_shots(rows, rows[:10], 5, 1)
    asked = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q?"}]
    for room in random.Random(0).sample(range(1, 14), 8):
        messages, count = with_shots(asked, shots["s"], lambda turns, room=room: len(turns) <= room)
        assert count == max(0, min(5, (room - 2) // 2))
        assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * count, "user"]
        assert messages[0] == asked[0]
        assert messages[-1] == asked[-1]
        assert [m["content"] for m in messages[1:-1:2]] == [shot.messages[0]["content"] for shot in shots["s"][:count]]
        assert [m["content"] for m in messages[2:-1:2]] == [answer_of(shot) for shot in shots["s"][:count]]
