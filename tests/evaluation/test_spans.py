"""Spans agree with seqeval, strictly and leniently, on random label sequences."""

import random

import pytest
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_support
from seqeval.scheme import IOB2

from medtune.evaluation.spans import Label, Span, overlapping_pairs, read_label, spans_of
from medtune.evaluation.tasks.ner import NerTask
from medtune.plugins.contracts import Example, Prediction

SEQUENCES = 20_000


def random_pair(rng, kinds):
    gold = [rng.choice(kinds) for _ in range(rng.randint(1, 16))]
    return gold, [label if rng.random() < 0.7 else rng.choice(kinds) for label in gold]


def prediction_of(gold, answer):
    def written(labels):
        return "\n".join(f"w{i} : {label}" for i, label in enumerate(labels))

    messages = [{"role": "user", "content": "tag"}, {"role": "assistant", "content": written(gold)}]
    return Prediction(Example(messages), written(answer))


@pytest.fixture(scope="module")
def sequences():
    rng = random.Random(7)
    bare, typed = ["O", "O", "B", "I"], ["O", "O", "B-X", "I-X", "B-Y", "I-Y", "B-Z", "I-Z"]
    return [random_pair(rng, bare if i % 2 else typed) for i in range(SEQUENCES)]


@pytest.fixture(scope="module")
def score(sequences):
    return NerTask().score([prediction_of(*pair) for pair in sequences])


@pytest.mark.parametrize("scheme", ["strict", "lenient"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # seqeval names the labels it finds unusual
def test_precision_recall_and_f1_agree_with_seqeval(sequences, score, scheme):
    gold, answer = [pair[0] for pair in sequences], [pair[1] for pair in sequences]
    if scheme == "strict":
        expected = strict_support(gold, answer, average="micro", scheme=IOB2)
    else:
        expected = precision_recall_fscore_support(gold, answer, average="micro")
    found = [score.metrics[f"span_{name}_{scheme}"] for name in ("precision", "recall", "f1")]
    assert found == pytest.approx([float(value) for value in expected[:3]], abs=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_figures_per_type_agree_with_seqeval(sequences, score):
    gold, answer = [pair[0] for pair in sequences], [pair[1] for pair in sequences]
    expected = strict_support(gold, answer, average=None, scheme=IOB2)
    types = score.details["entity_types"]
    for place, name in enumerate(("X", "Y", "Z", "unnamed")):  # seqeval sorts and calls the bare type "_"
        found = [types[name][key] for key in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx([float(values[place]) for values in expected], abs=1e-12)


def test_a_strict_span_needs_its_b_and_a_lenient_one_does_not():
    labels = [read_label(text) for text in ("I", "I", "O", "B-X", "I-Y", "I-X")]
    assert spans_of(labels, strict=True) == [Span(3, 4, "X")]
    assert spans_of(labels, strict=False) == [Span(0, 2, ""), Span(3, 4, "X"), Span(4, 5, "Y"), Span(5, 6, "X")]


@pytest.mark.parametrize("text", ["B-PROBLEM", "PROBLEM-B", "B_PROBLEM", "b-problem", "problem_b"])
def test_typed_labels_are_read_in_every_spelling(text):
    assert read_label(text) == Label("B", "PROBLEM")


def test_a_type_may_hold_the_separator():
    assert read_label("I-CLINICAL_DEPT") == read_label("CLINICAL_DEPT-I") == Label("I", "CLINICAL_DEPT")


@pytest.mark.parametrize("text", ["", "X", "BI", "B-", "-B", "O-X", "B X", "beginning"])
def test_other_texts_are_no_labels(text):
    assert read_label(text) is None


def test_a_flood_of_invented_labels_is_not_kept():
    for i in range(6000):
        assert read_label(f"B-T{i}") == Label("B", f"T{i}")
    from medtune.evaluation import spans

    assert len(spans._KNOWN) <= spans._MOST_KNOWN


def test_each_span_is_paired_once_and_only_with_its_type():
    long, halves = [Span(0, 6, "X")], [Span(0, 3, "X"), Span(3, 6, "X")]
    assert overlapping_pairs(long, halves) == overlapping_pairs(halves, long) == 1
    assert overlapping_pairs([Span(0, 2, "X")], [Span(1, 3, "Y")]) == 0
    assert overlapping_pairs([Span(0, 2, "X"), Span(2, 4, "X")], [Span(1, 3, "X"), Span(3, 5, "X")]) == 2
    assert overlapping_pairs([Span(0, 2, "X")], [Span(2, 4, "X")]) == 0
    early, late = [Span(i, i + 1, "X") for i in range(4)], [Span(3, 4, "X")]
    assert overlapping_pairs(early, late) == overlapping_pairs(late, early) == 1
