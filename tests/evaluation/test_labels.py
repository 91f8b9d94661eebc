"""Labels agree with scikit-learn, and an answer that is no label counts as wrong."""

import random

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support, precision_score

from medtune.errors import DataError
from medtune.evaluation.recognition import HALLMARKS, NLI_LABELS, NO_RELATION, RELATIONS
from medtune.evaluation.tasks import ClassificationTask, NliTask, RelationTask
from medtune.evaluation.tasks.labels import bare_answer

INVALID = "no idea"


@pytest.fixture(params=[(NliTask(), NLI_LABELS), (RelationTask(), RELATIONS)], ids=["nli", "relation"])
def drawn(request, predict_of):
    """Random gold and answers of a task, a tenth of them no label, one label never gold."""
    task, labels = request.param
    rng = random.Random(3)
    gold = [rng.choice(labels[1:]) for _ in range(2000)]
    answers = [g if rng.random() < 0.6 else rng.choice([*labels, INVALID]) for g in gold]
    score = task.score([predict_of(answer, g) for answer, g in zip(answers, gold, strict=True)])
    return score, gold, answers, labels


def test_accuracy_and_f1_agree_with_scikit_learn(drawn):
    score, gold, answers, labels = drawn
    positive = [label for label in labels if label != NO_RELATION]
    expected = {
        "accuracy": accuracy_score(gold, answers),
        "macro_f1": f1_score(gold, answers, labels=sorted(set(gold)), average="macro"),
        "micro_f1": f1_score(gold, answers, labels=positive, average="micro"),
    }
    assert {key: score.metrics[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert score.failures["invalid_answer"] == pytest.approx(answers.count(INVALID) / len(answers))


def test_the_confusion_matrix_agrees_with_scikit_learn(drawn):
    score, gold, answers, labels = drawn
    found = score.details["confusion"]
    assert found["answer"] == [*found["gold"], "(invalid)"]
    expected = confusion_matrix(gold, answers, labels=[*sorted(labels), INVALID])
    assert found["rows"] == expected[:-1].tolist()


def test_figures_per_label_agree_with_scikit_learn(drawn):
    score, gold, answers, labels = drawn
    values = f1_score(gold, answers, labels=sorted(labels), average=None, zero_division=0)
    for label, value in zip(sorted(labels), values, strict=True):
        assert score.details["labels"][label]["f1"] == pytest.approx(value, abs=1e-12)
        assert score.details["labels"][label]["support"] == gold.count(label)


@pytest.mark.parametrize(
    "text",
    ["Neutral", "neutral", "NEUTRAL ", " Neutral.\n", '"Neutral"', "**Neutral**", "`Neutral`", "(Neutral)",
     "```\nNeutral\n```", "```text\nneutral\n```", "Answer: Neutral", "The answer is Neutral.", "### Answer: neutral"],
)  # fmt: skip
def test_what_only_wraps_a_label_is_taken_off(text, predict_of):
    score = NliTask().score([predict_of(text, "Neutral")])
    assert (score.metrics["accuracy"], score.failures["invalid_answer"]) == (1, 0)


@pytest.mark.parametrize(
    ("text", "lenient"),
    [("", 0), ("  ", 0), ("I cannot answer that.", 0), ("Neutral\nbecause the second sentence is open", 1),
     ("The two sentences are neutral to each other.", 1), ("Neutral or Entailment", 0), ("Neutrality", 0),
     ("Neutral " * 6000, 1), ("x" * 50_000, 0)],
)  # fmt: skip
def test_what_is_no_label_is_wrong_and_counted_apart(text, lenient, predict_of):
    score = NliTask().score([predict_of(text, "Neutral")])
    assert (score.metrics["accuracy"], score.failures["invalid_answer"]) == (0, 1)
    assert score.metrics["accuracy_lenient"] == lenient
    assert score.failures["empty"] == (not text.strip())


def test_an_answer_of_several_lines_stays_as_it_is():
    assert bare_answer("Neutral\n\n  because of it. \n") == "Neutral\nbecause of it"
    assert bare_answer("```\n(Neutral)\n```") == "Neutral"


@pytest.mark.parametrize(
    ("task", "primary"), [(NliTask(), "accuracy"), (RelationTask(), "micro_f1"), (ClassificationTask(), "micro_f1")]
)
def test_a_task_names_its_figure_and_its_failures(task, primary, predict_of):
    score = task.score([predict_of("x", "None", truncated=True), predict_of("", "None")])
    assert score.primary == primary
    assert score.failures == {"invalid_answer": 1, "truncated": 0.5, "empty": 0.5}


def test_labels_of_another_data_set_are_learnt_from_its_gold_answers(predict_of):
    score = RelationTask().score([predict_of("cpr:4", "CPR:4"), predict_of("CPR:3", "CPR:4"), predict_of("x", "CPR:3")])
    assert score.metrics["accuracy"] == pytest.approx(1 / 3)
    assert score.failures["invalid_answer"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("task", [NliTask(), RelationTask(), ClassificationTask()])
def test_free_text_under_the_name_of_a_label_task_is_refused(task, predict_of):
    rows = [predict_of("x", f"SECRET text {i}") for i in range(1200)]
    with pytest.raises(DataError, match=r"1,2\d\d different texts, so they are no labels") as caught:
        task.score(rows)
    assert "SECRET" not in str(caught.value)


def test_no_relations_is_no_positive_relation(predict_of):
    rows = [predict_of("No Relations", "No Relations"), predict_of("TrAP", "No Relations"), predict_of("TrAP", "TrAP")]
    metrics = RelationTask().score(rows).metrics
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["micro_f1"] == pytest.approx(2 / 3)  # one right, one too many


def sets_to_matrix(rows):
    return np.array([[label in row for label in HALLMARKS] for row in rows], dtype=int)


def test_sets_of_labels_agree_with_scikit_learn(predict_of):
    rng = random.Random(5)
    gold = [frozenset(rng.sample(HALLMARKS, rng.choice([0, 0, 1, 1, 2, 3]))) for _ in range(1500)]
    answers = [g if rng.random() < 0.5 else frozenset(rng.sample(HALLMARKS, rng.randint(0, 2))) for g in gold]
    rows = []
    for found, wanted in zip(answers, gold, strict=True):
        order = rng.sample(sorted(found), len(found))
        rows.append(predict_of(", ".join(order) or "None", ", ".join(wanted) or "None"))
    score = ClassificationTask().score(rows)
    y_true, y_pred = sets_to_matrix(gold), sets_to_matrix(answers)
    expected = {
        "accuracy": accuracy_score(y_true, y_pred),
        "macro_f1": f1_score(y_true, y_pred, average="macro"),
        "micro_f1": f1_score(y_true, y_pred, average="micro"),
        "set_f1": f1_score(y_true, y_pred, average="samples", zero_division=1),
    }
    assert {key: score.metrics[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    per_label = precision_recall_fscore_support(y_true, y_pred)
    for place, label in enumerate(HALLMARKS):
        found = [score.details["labels"][label][key] for key in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx([values[place] for values in per_label], abs=1e-12)
    assert score.details["level"] == "sentence"


@pytest.mark.parametrize(
    "text",
    ["Inducing angiogenesis (A), Activating invasion & metastasis (IM)",
     "activating invasion and metastasis, inducing angiogenesis", "Inducing angiogenesis (A),Activating invasion & metastasis",
     "Answer: Activating invasion & metastasis (IM), Inducing angiogenesis (A)."],
)  # fmt: skip
def test_hallmarks_are_read_in_any_order_and_without_abbreviations(text, predict_of):
    gold = "Activating invasion & metastasis (IM), Inducing angiogenesis (A)"
    assert ClassificationTask().score([predict_of(text, gold)]).metrics["accuracy"] == 1


def test_hallmarks_are_read_whatever_joins_them(predict_of):
    gold = "Resisting cell death (CD); Inducing angiogenesis (A)"
    rows = [predict_of(text, gold) for text in (gold, "Inducing angiogenesis (A), Resisting cell death (CD)", "None")]
    score = ClassificationTask().score(rows)
    assert (score.metrics["accuracy"], score.failures["invalid_answer"]) == (pytest.approx(2 / 3), 0)


@pytest.mark.parametrize(
    "text",
    ["", "cancer", "None, Inducing angiogenesis (A)", "Inducing angiogenesis (A), as told by the many vessels of it"],
)
def test_a_list_without_labels_or_with_prose_is_wrong_as_a_whole(text, predict_of):
    for gold in ("None", "Inducing angiogenesis (A)"):
        score = ClassificationTask().score([predict_of(text, gold)])
        assert (score.metrics["accuracy"], score.metrics["set_f1"]) == (0, 0)
        assert score.failures["invalid_answer"] == 1


def test_a_part_that_is_no_label_is_one_wrong_label_and_leaves_the_others_right(predict_of):
    golds = ["fever; cough", "cough", "rash; fever", "rash", "none", "fever"] * 5
    rows = [predict_of(f"{gold}; sneezing" if gold != "none" else "sneezing", gold) for gold in golds]
    score = ClassificationTask().score(rows)
    gold = [set(g.split("; ")) - {"none"} for g in golds]
    kept = ["cough", "fever", "rash", "sneezing"]
    matrix = [[[label in row for label in kept] for row in rows] for rows in (gold, [g | {"sneezing"} for g in gold])]
    assert score.metrics["micro_f1"] == pytest.approx(f1_score(*matrix, average="micro"))
    assert score.metrics["set_f1"] == pytest.approx(f1_score(*matrix, average="samples"))
    assert (score.metrics["micro_recall"], score.metrics["accuracy_lenient"]) == (1, 0)
    assert score.failures["invalid_answer"] == pytest.approx(1 / 6)


def test_a_relation_that_no_gold_answer_has_is_claimed_in_vain(predict_of):
    golds = (["causes"] * 2 + ["none"] * 3 + ["treats"]) * 5
    answers = ["prevents" if gold == "none" and i % 2 else gold for i, gold in enumerate(golds)]
    score = RelationTask().score([predict_of(a, g) for a, g in zip(answers, golds, strict=True)])
    kept = ["causes", "treats", "prevents"]
    for name, figure in (("micro_f1", f1_score), ("micro_precision", precision_score)):
        assert score.metrics[name] == pytest.approx(figure(golds, answers, labels=kept, average="micro"))
    assert score.metrics["micro_precision"] < 1


@pytest.mark.parametrize(
    "text", ["", "I cannot tell", "unknown", "no relation", "it is not said what either does here"]
)
def test_an_answer_that_claims_nothing_is_no_claim_in_vain(text, predict_of):
    rows = [predict_of("causes", "causes"), predict_of(text, "none")] * 3
    assert RelationTask().score(rows).metrics["micro_precision"] == 1


@pytest.mark.parametrize(
    "text",
    ["This is not neutral.", "neither neutral nor else", "There is no neutral here", "Neutral is ruled out", "it isn't neutral",
     "Neutral is wrong", "It cannot be neutral", "One denies that it is neutral"],
)  # fmt: skip
def test_a_label_that_is_denied_is_not_taken_leniently(text, predict_of):
    assert NliTask().score([predict_of(text, "Neutral")]).metrics["accuracy_lenient"] == 0


def test_what_a_denial_leaves_is_taken(predict_of):
    rows = [
        predict_of("Neutral, and not entailment", "Neutral"),
        predict_of("It is no entailment but neutral", "Neutral"),
    ]
    assert NliTask().score(rows).metrics["accuracy_lenient"] == 1


def test_of_labels_that_hold_each_other_the_longer_one_is_mentioned(predict_of):
    rows = [
        predict_of("She has bacterial pneumonia today", "bacterial pneumonia"),
        predict_of("She has pneumonia today", "pneumonia"),
        predict_of("The gene is not associated with it", "not associated"),
        predict_of("The gene is associated with it", "associated"),
        predict_of("\u60a3\u8005\u6709\u80ba\u708e\u3002", "\u80ba\u708e"),
    ]
    assert RelationTask().score(rows).metrics["accuracy_lenient"] == 1


@pytest.mark.parametrize(
    "text", ["#### Neutral", "**Answer:** Neutral", "**Label**: neutral", "### Answer: **Neutral**"]
)
def test_headings_and_emphasis_around_a_label_are_taken_off(text, predict_of):
    assert NliTask().score([predict_of(text, "Neutral")]).metrics["accuracy"] == 1
