"""Tags are read in the scheme they are written in, never as O."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.scoring import find_task, score_predictions
from medtune.evaluation.spans import Label, spans_of
from medtune.evaluation.tag_schemes import as_iob2, fits_iob1, scheme_of
from medtune.evaluation.tasks import provide_tasks
from medtune.evaluation.tasks.ner import NerTask
from medtune.plugins.contracts import Example, Prediction

TOKENS = ["Aspirin", "helps", "Ward", "Seven", "."]
ENTITIES = {(0, 1), (2, 4)}
SPELLED = {
    "IOB2": ["B-X", "O", "B-X", "I-X", "O"],
    "BIOES": ["S-X", "O", "B-X", "E-X", "O"],
    "BILOU": ["U-X", "O", "B-X", "L-X", "O"],
    "BMES": ["S-X", "O", "B-X", "E-X", "O"],
    "IOB1": ["I-X", "O", "I-X", "I-X", "O"],
    "bare BIOES": ["S", "O", "B", "E", "O"],
    "bare IOB1": ["I", "O", "I", "I", "O"],
}


def written(labels, separator=" : "):
    return "\n".join(f"{token}{separator}{label}" for token, label in zip(TOKENS, labels, strict=True))


def example_of(gold):
    asked = {"role": "user", "content": "Label.\n\n" + " ".join(TOKENS)}
    return Example([asked, {"role": "assistant", "content": gold}])


def f1_of(gold, answer):
    score = NerTask().score([Prediction(example_of(gold), answer)] * 3)
    return score.metrics["span_f1_strict"], score.failures["invalid_labels"]


@pytest.mark.parametrize("separator", [" : ", "\t", " \t "])
@pytest.mark.parametrize("scheme", SPELLED)
def test_a_perfect_answer_scores_one_and_a_missed_entity_is_missed(scheme, separator):
    gold = written(SPELLED[scheme], separator)
    assert f1_of(gold, gold) == (1.0, 0.0)
    missed = written(["O", *SPELLED[scheme][1:]], separator)
    assert f1_of(gold, missed) == (pytest.approx(2 / 3), 0.0)
    assert f1_of(gold, written(["O"] * 5, separator)) == (0.0, 0.0)


@pytest.mark.parametrize("scheme", SPELLED)
def test_rows_in_any_scheme_are_known_for_entities(scheme):
    assert find_task(example_of(written(SPELLED[scheme])), provide_tasks()).name == "ner"


@pytest.mark.parametrize(
    "answer", ["HR : 80\nRR : M", "Sex : M\nSmoker : S", "Organism : E-coli\nProtein : S-100", "Dose : L\nUnit : U"]
)
def test_lines_whose_values_look_like_rarer_tags_are_no_entities(answer):
    asked = {"role": "user", "content": "Write the values down."}
    example = Example([asked, {"role": "assistant", "content": answer}])
    assert find_task(example, provide_tasks()).name == "qa"


@pytest.mark.parametrize("scheme", SPELLED)
def test_every_scheme_says_the_same_spans(scheme):
    labels = [Label(label[0], label[2:]) for label in SPELLED[scheme]]
    found = as_iob2(labels, scheme_of([labels]))
    assert {(span.start, span.end) for span in spans_of(found, strict=True)} == ENTITIES


def test_one_sentence_with_an_entity_that_begins_with_b_shows_that_the_source_is_not_iob1():
    inside, begun = [Label("I"), Label("O")], [Label("O"), Label("B")]
    assert scheme_of([inside, inside]) == "IOB1"
    assert scheme_of([inside, begun]) == "IOB2"
    assert fits_iob1([Label("I"), Label("B")])
    assert not fits_iob1([Label("I", "X"), Label("B", "Y")])


def test_the_sources_that_were_read_as_iob1_are_named():
    gold = written(SPELLED["IOB1"])
    rows = [Prediction(Example(example_of(gold).messages, source="old"), gold)] * 2
    details = score_predictions(rows, [NerTask()]).tasks["ner"].details
    assert details["iob1_sources"] == ["old"]


LABELS = st.lists(st.builds(Label, st.sampled_from("BIO"), st.sampled_from(["X", "Y"])), max_size=12)


@given(LABELS)
def test_iob1_reads_what_conlleval_reads(labels):
    assert spans_of(as_iob2(labels, "IOB1"), strict=True) == spans_of(labels, strict=False)
    assert as_iob2(as_iob2(labels, "IOB1"), "IOB1") == as_iob2(labels, "IOB1")
