"""Figures equal those of seqeval, scikit-learn, rouge-score and scipy: some hundred random cases here, 20,000 by hand."""

import gc
import random
import warnings
from itertools import combinations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from seqeval.metrics import f1_score as span_f1
from seqeval.metrics import precision_score, recall_score
from seqeval.scheme import IOB2, IOBES
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from medtune.evaluation.overlap import rouge_l
from medtune.evaluation.statistics import Sampling, holm, paired_difference
from medtune.evaluation.tally import ratio
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.evaluation.tasks import ClassificationTask, NerTask, RelationTask

CASES = [
    pytest.param(200, id="some"),
    pytest.param(20_000, id="all", marks=pytest.mark.proof),
]


def written(labels):
    return "\n".join(f"w{i} : {label}" for i, label in enumerate(labels))


def valid_tags(rng, size, scheme):
    """Return labels of a sentence that are valid in a scheme."""
    labels, place = [], 0
    while place < size:
        length = min(rng.choice([0, 0, 0, 1, 2, 3]), size - place)
        kind = rng.choice("XY")
        if length == 0:
            labels.append("O")
        elif scheme == "IOBES":
            labels += [f"S-{kind}"] if length == 1 else [f"B-{kind}", *[f"I-{kind}"] * (length - 2), f"E-{kind}"]
        else:
            labels += [f"B-{kind}", *[f"I-{kind}"] * (length - 1)]
        place += max(length, 1)
    return labels


def in_iob1(sentence):
    """Write IOB2 as IOB1: B only where an entity follows another of its type at once."""
    labels, before = [], "O"
    for label in sentence:
        follows = label[0] == "B" and before != "O" and before[2:] == label[2:]
        labels.append(label if label[0] != "B" or follows else f"I-{label[2:]}")
        before = label
    return labels


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("scheme", ["IOB2", "IOBES", "IOB1"])
def test_spans_are_those_of_seqeval(scheme, cases, predict_of):
    rng = random.Random(f"{scheme} {cases}")
    for _ in range(cases):
        gold = [valid_tags(rng, rng.randint(1, 12), scheme) for _ in range(rng.randint(1, 4))]
        found = [valid_tags(rng, len(s), scheme) if rng.random() < 0.6 else s for s in gold]
        if scheme == "IOB2":  # a model also writes labels that begin nothing
            found = [[rng.choice(["O", "I-X", label]) if rng.random() < 0.1 else label for label in s] for s in found]
        texts = [[in_iob1(s) for s in some] for some in (found, gold)] if scheme == "IOB1" else [found, gold]
        if scheme == "IOB1" and not any("I" in label[0] for s in texts[1] for label in s):
            continue  # nothing tells the scheme
        rows = [predict_of(written(f), written(g), question="tag") for f, g in zip(*texts, strict=True)]
        tally = NerTask().tally(rows)
        figures = {name: float(value) for name, value in tally.figures(tally.counts.sum(axis=0)).items()}
        mode = {"mode": "strict", "scheme": IOBES if scheme == "IOBES" else IOB2}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [figure(gold, found, **mode) for figure in (span_f1, precision_score, recall_score)]
            lenient = span_f1(gold, found)
        names = ("span_f1_strict", "span_precision_strict", "span_recall_strict")
        assert [np.nan_to_num(figures[name]) for name in names] == pytest.approx(expected, abs=1e-12)
        if scheme == "IOB2":
            assert np.nan_to_num(figures["span_f1_lenient"]) == pytest.approx(lenient, abs=1e-12)


@pytest.mark.parametrize("cases", CASES)
def test_labels_are_counted_as_scikit_learn_does(cases, predict_of):
    rng = random.Random(cases)
    for _ in range(cases):
        labels = [f"l{i}" for i in range(rng.randint(2, 5))]
        size = rng.randint(1, 20)
        gold = [rng.choice(labels) for _ in range(size)]
        found = [g if rng.random() < 0.5 else rng.choice([*labels, "?"]) for g in gold]
        contract = TaskContract("", "relation", "declared", tuple(labels), (labels[0],))
        tally = RelationTask(Contracts([contract])).tally([predict_of(f, g) for f, g in zip(found, gold, strict=True)])
        figures = {name: float(value) for name, value in tally.figures(tally.counts.sum(axis=0)).items()}
        _p, _r, each, support = precision_recall_fscore_support(gold, found, labels=labels, zero_division=0)
        micro = precision_recall_fscore_support(gold, found, labels=labels[1:], average="micro", zero_division=0)
        assert figures["accuracy"] == pytest.approx(accuracy_score(gold, found))
        assert figures["macro_f1"] == pytest.approx(each[support > 0].mean())
        if support[1:].any():
            assert figures["macro_f1_positive"] == pytest.approx(each[1:][support[1:] > 0].mean())
            names = ("micro_precision", "micro_recall", "micro_f1")
            assert [figures[name] for name in names] == pytest.approx(micro[:3])


@pytest.mark.parametrize("cases", CASES)
def test_sets_of_labels_are_counted_as_scikit_learn_does(cases, predict_of):
    rng = random.Random(cases)
    labels = ["la", "lb", "lc", "ld"]
    task = ClassificationTask(
        Contracts([TaskContract("", "multi-label", "declared", tuple(labels), ("none",), separator=";")])
    )
    for _ in range(cases):
        size = rng.randint(1, 10)
        gold = [rng.sample(labels, rng.choice([0, 1, 1, 2])) for _ in range(size)]
        found = [g if rng.random() < 0.4 else rng.sample(labels, rng.randint(0, 3)) for g in gold]
        texts = [["; ".join(one) or "none" for one in some] for some in (found, gold)]
        tally = task.tally([predict_of(f, g) for f, g in zip(*texts, strict=True)])
        figures = {name: float(value) for name, value in tally.figures(tally.counts.sum(axis=0)).items()}
        y_true, y_pred = (
            np.array([[label in one for label in labels] for one in some], dtype=int) for some in (gold, found)
        )
        assert figures["accuracy"] == pytest.approx(accuracy_score(y_true, y_pred))
        micro = precision_recall_fscore_support(y_true, y_pred, average="micro", zero_division=0)
        samples = precision_recall_fscore_support(y_true, y_pred, average="samples", zero_division=1)
        with_gold, with_found = y_true.any(axis=1), y_pred.any(axis=1)
        if y_true.any():
            names = ("micro_precision", "micro_recall", "micro_f1")
            assert [figures[name] for name in names] == pytest.approx(micro[:3])
            shared = (y_true & y_pred).sum(axis=1)
            assert figures["example_recall"] == pytest.approx((shared / y_true.sum(axis=1).clip(1))[with_gold].mean())
            if y_pred.any():
                expected = (shared / y_pred.sum(axis=1).clip(1))[with_found].mean()
                assert figures["example_precision"] == pytest.approx(expected)
        assert figures["set_f1"] == pytest.approx(samples[2])


@pytest.mark.parametrize("cases", CASES)
def test_rouge_is_that_of_the_rouge_score_package(cases):
    rng, scorer = random.Random(cases), RougeScorer(["rougeL"], use_stemmer=False)
    known = ["pain", "the", "Fever", "5mg", "is", "gone", "no", "x-ray", "a", "don't"]
    for _ in range(cases):
        one, two = (" ".join(rng.choices(known, k=rng.randint(1, 12))) for _ in range(2))
        assert rouge_l(one, two) == pytest.approx(scorer.score(two, one)["rougeL"].fmeasure, abs=1e-12)


@pytest.mark.parametrize("cases", CASES)
def test_the_paired_test_of_right_answers_is_the_sign_test_of_scipy(cases):
    rng = np.random.default_rng(cases)
    for _ in range(cases):
        n = int(rng.integers(10, 60))
        base, tuned = (
            np.stack([rng.random(n) < p, np.ones(n)], axis=1).astype(float) for p in rng.uniform(0.3, 0.9, 2)
        )
        better, worse = int((tuned[:, 0] > base[:, 0]).sum()), int((tuned[:, 0] < base[:, 0]).sum())
        expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
        found = paired_difference(
            base, tuned, lambda s: {"a": ratio(s[..., 0], s[..., 1])}, "a", Sampling(permutations=1999)
        ).p_value
        assert found == pytest.approx(expected, abs=5.5 * (expected * (1 - expected) / 1999) ** 0.5 + 2e-3)


@pytest.mark.parametrize("cases", CASES)
def test_adjusted_p_values_are_those_of_the_closed_test(cases):
    """Holm's are the closure of Bonferroni's: the greatest p value of all sets of hypotheses that hold the one in question."""
    rng = np.random.default_rng(cases)
    for _ in range(cases):
        count = int(rng.integers(1, 7))
        values = rng.random(count) ** 3 if rng.random() < 0.7 else rng.integers(0, 4, count) / 20
        names = [f"task {i}" for i in range(count)]
        sets = [each for size in range(1, count + 1) for each in combinations(range(count), size)]
        bounds = {each: min(1.0, len(each) * min(values[i] for i in each)) for each in sets}
        expected = [max(bound for each, bound in bounds.items() if i in each) for i in range(count)]
        found = holm(dict(zip(names, map(float, values), strict=True)))
        assert [found[name] for name in names] == pytest.approx(expected, abs=1e-12)


@pytest.mark.proof
def test_adjusted_p_values_are_those_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    rng = np.random.default_rng(7)
    gc.freeze()  # it collects garbage in every call, which takes long among the objects of all libraries
    try:
        for _ in range(20_000):
            values = {f"task {i}": float(p) for i, p in enumerate(rng.random(int(rng.integers(1, 13))) ** 3)}
            adjusted = multitest.multipletests([*values.values()], method="holm")[1]
            found = holm(values)
            assert [found[name] for name in values] == pytest.approx(adjusted, abs=1e-12)
    finally:
        gc.unfreeze()
