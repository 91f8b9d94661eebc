"""Gold answers are looked at before anything learns from them: what is odd is counted and told, without any text."""

import random
from dataclasses import replace

import pytest

from demo_base.generator import generate_rows
from medtune.data.formatters.instruction import Alpaca
from medtune.evaluation.gold_lint import GoldLint, lint_predictions
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import survey
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import Example, Prediction
from medtune.specs import TaskSpec


@pytest.fixture(scope="module")
def generated():
    """Examples of the demo's six sources."""
    return [Alpaca().format(row) for row in generate_rows("train", 240, 0)]


def example(question, answer, source="s", task=None):
    return Example(
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], source=source, task=task
    )


def tags(labels, source="tags"):
    words = [f"w{i}" for i in range(len(labels))]
    answer = "\n".join(f"{word} : {label}" for word, label in zip(words, labels, strict=True))
    return example("Label each token.\n\n" + " ".join(words), answer, source)


def sentences(count, seed, coding=("O", "B", "I")):
    """Return rows of tags in which about a tenth of the tokens belong to an entity, under any coding."""
    outside, begin, inside = coding
    draw, rows = random.Random(seed), []
    for _ in range(count):
        labels = []
        for _ in range(draw.randint(6, 30)):
            labels += [begin, *[inside] * draw.randint(0, 2)] if draw.random() < 0.05 else [outside]
        rows.append(tags(labels))
    return rows


def kinds_of(tasks, training, validation=()):
    """Return kind -> its findings."""
    lint = GoldLint(tasks)
    lint.take("validation", list(validation))
    lint.take("training", list(training))
    found = {}
    for finding in lint.findings():
        found.setdefault(finding.kind, []).append(finding)
    return found


@pytest.mark.parametrize("rows", [10, 40, 200])
def test_a_code_that_is_swapped_in_one_split_shows_at_once(tasks, rows):
    found = kinds_of(tasks, sentences(500, 1), sentences(rows, 2, coding=("B", "I", "O")))
    told = found["label_priors"][0]
    assert "label 'O' is 9" in told.sentence
    assert told.source == "tags"


@pytest.mark.parametrize("rows", [25, 200])
def test_begin_and_inside_swapped_shows_although_the_shares_hardly_differ(tasks, rows):
    found = kinds_of(tasks, sentences(500, 1), sentences(rows, 2, coding=("O", "I", "B")))
    assert "an entity that begins with I is 0% of training and" in found["label_priors"][0].sentence


def test_closed_answers_that_are_coded_otherwise_show(tasks):
    draw = random.Random(0)
    training = [example(f"q{i}", "yes" if draw.random() < 0.8 else "no") for i in range(400)]
    validation = [example(f"v{i}", "yes" if draw.random() < 0.2 else "no") for i in range(60)]
    assert "label 'yes' is" in kinds_of(tasks, training, validation)["label_priors"][0].sentence


@pytest.mark.parametrize("splits", [40, pytest.param(200, marks=pytest.mark.proof)])
def test_random_splits_of_good_rows_raise_no_false_alarm(tasks, generated, splits):
    """Splits of generated rows, held-out shares of 5 to 50 %."""
    tagged = sentences(100, 7)
    for seed in range(splits):
        draw = random.Random(seed)
        share = draw.choice((0.05, 0.1, 0.25, 0.5))
        training, validation = [], []
        for row in (*generated[:400], *tagged):
            (validation if draw.random() < share else training).append(row)
        found = kinds_of(tasks, training, validation)
        assert "label_priors" not in found, (seed, found)


def test_labels_that_only_validation_has_are_counted_and_named_where_they_are_no_text(tasks):
    training = sentences(100, 1)
    often = [tags(["O", "B-DRUG", "O"]) for _ in range(6)]
    once = [tags(["O", "B-MRS SMITH OF WARD 7", "O"])]
    told = kinds_of(tasks, training, [*sentences(50, 2), *often, *once])["unseen_labels"][0]
    assert told.rows == 7
    assert "2 labels ('B-DRUG')" in told.sentence
    assert "SMITH" not in told.sentence


def test_lines_without_a_readable_label_are_counted(tasks):
    broken = tags(["O", "B", "disease", "O"])
    told = kinds_of(tasks, [*sentences(30, 1), broken, broken])["unreadable"][0]
    assert (told.rows, told.of) == (2, 32)
    assert "(2 lines)" in told.sentence


def test_rows_of_another_shape_than_the_tags_of_their_source_are_counted(tasks):
    listed = example("Label each token.\n\nw0 w1", "aspirin, fever", "tags")
    assert kinds_of(tasks, [*sentences(30, 1), listed])["unreadable_row"][0].rows == 1


TEMPLATES = {
    "answers": [example(f"Dose {i}?", f"Give {i} mg.<|end_of_turn|>") for i in range(60)],
    "questions": [
        example(f"GPT4 Correct User: Dose {i}?<|end_of_turn|>GPT4 Correct Assistant:", f"Give {i} mg.")
        for i in range(60)
    ],
}


@pytest.mark.parametrize("where", TEMPLATES)
def test_template_text_in_rows_is_counted(tasks, where):
    told = kinds_of(tasks, TEMPLATES[where])[f"template_in_{where[:-1]}"][0]
    assert f"60 of 60 training {where}" in told.sentence


def test_comparison_signs_citations_and_headings_are_no_template_text(tasks):
    rows = [example(f"Is p < 0.05 [1] <b>{i}</b>?", f"### Findings\n\n[2] |x| < 3 and s > 2, #{i}") for i in range(30)]
    assert kinds_of(tasks, rows) == {}


def test_constant_answers_and_answers_without_a_letter_are_told(tasks):
    found = kinds_of(tasks, [example(f"q{i}", "n/a", "constant") for i in range(20)])
    assert found["constant"][0].rows == 20
    assert kinds_of(tasks, [example("q", "-"), example("p", "yes")])["no_letter"][0].rows == 1


def test_an_answer_that_names_none_of_the_options_is_counted(tasks):
    options = "Which one?\nA. one\nB. two\nC. three"
    rows = [example(options, f"###Answer: OPTION {letter} IS CORRECT.") for letter in "ABCD"]
    assert kinds_of(tasks, rows)["option"][0].rows == 1
    assert kinds_of(tasks, [example(options, number) for number in ("1", "2", "3")])["option"][0].rows == 3
    assert "option" not in kinds_of(tasks, [example(options, "one"), example(options, "B")])


def test_rows_that_the_tokenizer_rewrites_are_counted(tasks):
    lint = GoldLint(tasks)
    lint.take("training", [example("q", "cafe\u0301"), example("p", "cafe")], rewrites=lambda text: not text.isascii())
    assert lint.findings()[0].kind == "rewritten"


def test_good_rows_of_all_tasks_are_told_nothing_about(tasks, generated):
    half = len(generated) // 2
    assert kinds_of(tasks, generated[:half], generated[half:]) == {}


def test_many_sources_are_told_as_one(tasks):
    rows = [example("q", "a</s>", f"source {i}") for i in range(300)]
    found = kinds_of(tasks, rows)["template_in_answer"]
    assert len(found) == 11
    assert sum(finding.rows for finding in found) == 300


ASKED = {
    "BIO": "Label each token: B for the beginning of a drug, I for inside, O for all others.",
    "IO": "Label each token of the note: I for a drug, O for all others.",
    "BIOES": "Label each token in the BIOES scheme.",
    "TYPED": "Write a token and its label: B-DRUG for the first token of a drug, I-DRUG for its others, O for all others.",
}
TAGGED = {"BIO": "OOBIIOB", "IO": "OOIIIOI", "BIOES": "OOBIEOS", "BILOU": "OOBILOU"}


def tagged_rows(asked, written, rows=40):
    for number in range(rows):
        words = f"Vitamin {'BCD'[number % 3]} aspirin sodium tablets and heparin".split()
        lines = "\n".join(f"{word} : {tag}" for word, tag in zip(words, TAGGED[written], strict=True))
        yield example(f"{ASKED[asked]}\n\nNote {number}: {' '.join(words)}", lines)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("written", TAGGED)
def test_tags_of_another_scheme_than_the_question_asks_for_are_counted(tasks, asked, written):
    found = kinds_of(tasks, tagged_rows(asked, written)).get("asked_scheme", [])
    if (asked, written) in (("BIO", "BIO"), ("TYPED", "BIO"), ("IO", "IO"), ("BIOES", "BIOES")):
        assert not found
    else:
        assert [(finding.rows, finding.of) for finding in found] == [(40, 40)]
        assert "another scheme than their questions ask for" in found[0].sentence


def test_a_question_that_names_no_scheme_is_held_to_none(tasks):
    rows = [*tagged_rows("BIO", "IO", 2), *(tags("OIIOI") for _ in range(40))]
    assert "asked_scheme" not in kinds_of(tasks, rows)


def test_text_of_the_wrong_encoding_is_counted_and_accents_are_none(tasks):
    right = [
        "Müller klagt über „MENÜ“.",
        "São João, MANHÃ, Ålesund, Ärzte \u2013 gut",
        "naïve œuvre: 5 µg/ml, 37 °C, ½, ÂÉ",
        "пациент",
        "患者",
    ]
    garbled = [
        "Müller".encode().decode("latin-1"),
        "it\u2019s 5 µg".encode().decode("cp1252"),
        "пациент".encode().decode("latin-1"),
        "M\ufffdller",
    ]
    for texts, count in ((right, 0), (garbled, len(garbled))):
        found = kinds_of(tasks, [example(f"question {text}", "an answer of words") for text in texts])
        assert sum(finding.rows for finding in found.get("garbled", [])) == count


CHOICE = "###Question: x\n###Options:\nA. a\nB. b"


@pytest.mark.parametrize(
    ("task", "question", "gold", "said", "other"),
    [
        ("qa", CHOICE, "###Answer: OPTION B IS CORRECT.", "B", "A"),
        ("nli", "Premise: x. Hypothesis: y.", "Entailment", "The answer is entailment.", "Neutral"),
    ],
)
def test_a_right_answer_in_other_words_is_no_label_coded_otherwise(task, question, gold, said, other):
    def kinds(text):
        found = lint_predictions([Prediction(example(question, gold, task=task), text)] * 12, provide_tasks())
        return {finding.kind for finding in found}

    assert "label_priors" not in kinds(said)
    assert "label_priors" in kinds(other)


def test_rows_that_ask_the_same_again_are_told_unless_a_document_holds_them_together():
    rows = [Prediction(example(f"Question {n}", "yes", task="qa"), "yes") for n in range(20)]
    bare = [Prediction(example("", "yes", task="qa"), "yes")] * 3

    def again(predictions):
        found = lint_predictions(predictions, provide_tasks())
        return [(finding.rows, finding.of) for finding in found if finding.kind == "asked_again"]

    assert again(rows * 3 + bare) == [(40, 60)]
    assert again(rows) == again(bare) == []
    kept = [replace(row, example=replace(row.example, document="d")) for row in rows * 3]
    assert again(kept) == []


def told_of(predict_of, tasks, golds, declared=(), question="Is it so ?"):
    rows = [predict_of(gold, gold, question=question, source="s") for gold in golds]
    contracts = survey([row.example for row in rows], declared)
    found = lint_predictions(rows, bind(tasks, contracts))
    return contracts, {one.kind: (one.rows, one.of) for one in found if one.kind in ("unfit", "missing")}


@pytest.mark.parametrize("kind", ["decision", "choice", "multi-label"])
def test_gold_answers_that_a_declared_kind_does_not_fit_are_counted(kind, predict_of, tasks):
    fits = {"decision": "yes", "choice": "B", "multi-label": "rash; cough"}[kind]
    odd = {"multi-label": "none; rash"}.get(kind, "causes")
    _contracts, found = told_of(
        predict_of, tasks, [fits, fits, odd] * 6, [TaskSpec(source="s", kind=kind)], "Which ?\nA. x\nB. y"
    )
    assert found == {"unfit": (6, 18)}
    assert told_of(predict_of, tasks, [fits] * 18, [TaskSpec(source="s", kind=kind)], "Which ?\nA. x\nB. y")[1] == {}


@pytest.mark.parametrize("empty", ["nan", "NaN", "<NA>"])
def test_an_empty_cell_is_told_and_makes_no_label(empty, predict_of, tasks):
    contracts, found = told_of(predict_of, tasks, ["yes", "no"] * 10 + [empty])
    assert ([c.kind for c in contracts.members], found) == (["decision"], {"missing": (1, 21)})
    contracts, found = told_of(predict_of, tasks, ["sick", "well"] * 10 + [empty])
    assert ([tuple(c.labels) for c in contracts.members], found) == ([("sick", "well")], {"missing": (1, 21)})
    rows = [predict_of(gold, gold, source="s") for gold in ["sick", "well", empty]]
    score = score_predictions(rows, bind(tasks, contracts)).tasks["classification"]
    assert (score.metrics["accuracy"], set(score.details["labels"])) == (pytest.approx(2 / 3), {"sick", "well"})
