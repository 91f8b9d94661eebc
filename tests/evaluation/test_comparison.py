"""Tuned against base: the verdict is in words, and small gains are no gains."""

import json

import pytest

from medtune.errors import DataError
from medtune.evaluation.comparison import compare, unlike_row
from medtune.evaluation.scoring import score_predictions
from medtune.plugins.contracts import TaskScore


@pytest.fixture
def compared(tasks, predict_of):
    """Return a function: answers of base and tuned per task (gold is Neutral) -> comparison."""

    def run(more_tasks=(), **answers):
        systems = []
        for place in (0, 1):
            rows = [
                predict_of(text, "Neutral", task=task, row_id=f"{task}{i}")
                for task, pair in answers.items()
                for i, text in enumerate(pair[place])
            ]
            systems.append(rows)
        known = [*tasks, *more_tasks]
        scores = [score_predictions(rows, known) for rows in systems]
        return compare(*scores, *systems, tasks=known, seed=1)

    return run


def test_a_clear_gain_is_better_than_the_base(compared):
    found = compared(nli=(["no"] * 40, ["Neutral"] * 30 + ["no"] * 10)).tasks["nli"]
    assert found.verdict.startswith("better than the base (+75.0 points, 95 % interval +")
    assert found.difference == pytest.approx(0.75)
    assert found.p_value < 0.001
    assert found.interval[0] > 0.5


def test_a_clear_loss_is_worse_than_the_base(compared):
    found = compared(nli=(["Neutral"] * 40, ["no"] * 40)).tasks["nli"]
    assert found.verdict.startswith("worse than the base (-100.0 points")


def test_no_difference_is_no_better_than_the_base(compared):
    comparison = compared(nli=(["Neutral", "no"] * 20, ["Neutral", "no"] * 20))
    assert comparison.tasks["nli"].verdict.startswith("no better than the base (+0.0 points")
    assert comparison.tasks["nli"].p_value == 1
    assert comparison.summary == "no better than the base on nli"


def test_one_lucky_row_is_no_better_than_the_base(compared):
    found = compared(nli=(["no"] * 20, ["Neutral"] + ["no"] * 19)).tasks["nli"]
    assert found.verdict.startswith("no better than the base (+5.0 points")


def test_p_values_are_adjusted_for_the_number_of_tasks(compared):
    pair = (["no"] * 20, ["Neutral"] * 6 + ["no"] * 14)
    alone = compared(nli=pair).tasks["nli"].p_value
    beside = compared(nli=pair, qa=(["a"] * 9, ["a"] * 9), relation=(["a"] * 9, ["a"] * 9)).tasks["nli"].p_value
    assert beside == pytest.approx(3 * alone)


def test_the_summary_names_the_tasks_of_each_verdict(compared):
    comparison = compared(nli=(["no"] * 40, ["Neutral"] * 40), relation=(["Neutral"] * 40, ["no"] * 40))
    assert comparison.summary == "better than the base on nli; worse than the base on relation"


def test_systems_that_answered_other_rows_are_refused(tasks, predict_of):
    one, other = [predict_of("a", "Neutral", task="nli")], [predict_of("a", "Entailment", task="nli")]
    scores = [score_predictions(rows, tasks) for rows in (one, other)]
    with pytest.raises(DataError, match="row 1 of the base is not row 1 of the tuned model"):
        compare(*scores, one, other, tasks=tasks)
    with pytest.raises(DataError, match="answered 1 rows and the tuned model 2"):
        compare(*scores, one, [*one, *other], tasks=tasks)


def test_the_first_row_that_is_not_the_same_is_found(predict_of):
    rows = [predict_of("a", "Neutral", question=f"question {i}") for i in range(3)]
    other = [*rows[:1], predict_of("a", "Entailment", question="question 1"), rows[2]]
    assert unlike_row(rows, rows) is None
    assert unlike_row(rows, other) == 2
    assert unlike_row(rows, [*rows[:2], predict_of("a", "Neutral")]) == 3
    assert unlike_row(rows, rows[:2]) == unlike_row(rows[:2], rows) == 3


def test_a_task_without_counts_per_row_is_not_tested(compared):
    class Plain:
        name = "plain"

        def matches(self, example):
            return False

        def max_new_tokens(self, example, prompt_tokens):
            return 1

        def parse(self, text, example):
            return text

        def score(self, predictions):
            return TaskScore(len(predictions), "share", {"share": sum(p.text == "x" for p in predictions) / 2})

    comparison = compared([Plain()], plain=(["y", "y"], ["x", "y"]))
    found = comparison.tasks["plain"]
    assert comparison.summary == "not tested against the base on plain"
    assert found.verdict == "not tested (+50.0 points): the task does not count per row"
    assert (found.p_value, found.interval) == (None, None)


def test_a_comparison_is_json_values(compared):
    values = compared(nli=(["no"] * 5, ["Neutral"] * 5)).to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values["tasks"]["nli"]) >= {"metric", "base", "tuned", "difference", "interval", "p_value", "verdict"}


def test_rows_of_a_document_are_exchanged_together(tasks, predict_of):
    systems = [
        [predict_of(text, "Neutral", task="nli", document=f"note {i // 20}") for i in range(40)]
        for text in ("no", "Neutral")
    ]
    scores = [score_predictions(rows, tasks) for rows in systems]
    found = compare(*scores, *systems, tasks=tasks).tasks["nli"]
    assert found.verdict.startswith("no better than the base")  # two documents cannot show more
