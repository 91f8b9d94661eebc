"""A formatter that changes its mind, or its row, and a task that scores beyond its range, are refused by name."""

import copy
import itertools
import math
from collections import Counter, deque
from types import SimpleNamespace

import numpy as np
import pytest
from guarded_things import CANARY, OF_PLUGIN, guarded_of, host_of

from medtune import Example, MedTuner
from medtune.errors import DataError, PluginContractError, PluginError, PluginFailedError
from medtune.evaluation.scoring import score_predictions
from medtune.evaluation.tally import Tally, tally_ratios
from medtune.plugins.contracts import Prediction, TaskScore
from medtune.plugins.guards import guarded
from medtune.plugins.origin import Origin

ROWS = [{"q": f"Question {n} ?", "a": f"Answer {n} .", "more": {"list": [n]}} for n in range(30)]


def example(row, **parts):
    turns = [{"role": "user", "content": row["q"]}, {"role": "assistant", "content": row["a"]}]
    return Example(**{"messages": turns, "source": "s", **parts})


def counted(row, count=[0]):  # noqa: B006 - what makes it differ from call to call
    count[0] += 1
    return example(row, row_id=str(count[0]))


def appended(row):
    row["more"]["list"].append(1)
    return example(row)


def emptied(row):
    row["more"].clear()
    return example(row)


def once_only(row, seen=set()):  # noqa: B006 - as above
    if row["q"] in seen:
        raise ValueError(CANARY)
    seen.add(row["q"])
    return example(row)


def leaving(row):
    raise SystemExit(CANARY)


FORMATS = {
    "a count in the example": (counted, "is not deterministic"),
    "an error the second time": (once_only, "is not deterministic"),
    "a list of the row grows": (appended, "changed column 'more'"),
    "a mapping of the row is emptied": (emptied, "changed column 'more'"),
    "a mapping instead": (lambda row: {"messages": []}, "returned a dict"),
    "a text instead": (lambda row: row["q"], "returned a str"),
    "messages as text": (lambda row: example(row, messages=row["q"]), "messages are a str"),
    "messages that run dry": (lambda row: example(row, messages=iter([])), "messages are a list_iterator"),
    "a message as text": (lambda row: example(row, messages=["a", "b"]), "a message that is a str"),
    "a source that is no text": (lambda row: example(row, source=7), "is no text"),
    "an id that is no text": (lambda row: example(row, row_id=7), "is no text"),
    "a task that is no text": (lambda row: example(row, task=object()), "is no text"),
}


def previewed(format_row):
    thing = SimpleNamespace(name="ill", format=format_row)
    return MedTuner.from_bundle("demo", data=ROWS, formatter=thing).preview(2)


@pytest.mark.parametrize("fault", FORMATS)
def test_a_formatter_that_breaks_its_contract_is_refused_and_its_row_is_not_blamed(fault):
    format_row, said = FORMATS[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        previewed(format_row)
    assert "formatter 'ill'.format" in str(caught.value)
    assert "passed to MedTuner" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_formatter_that_leaves_the_process_is_named():
    with pytest.raises(PluginFailedError, match=r"formatter 'ill'\.format: SystemExit at test_guards_of_rows"):
        previewed(leaving)


def test_what_a_formatter_raises_of_a_row_is_still_the_fault_of_that_row():
    def format_row(row):
        raise ValueError(CANARY)

    with pytest.raises(DataError, match="the formatter raised ValueError") as caught:
        previewed(format_row)
    assert CANARY not in str(caught.value)
    with pytest.raises(ValueError, match=CANARY):  # as it is
        guarded_of("formatter", format=format_row).format(ROWS[0])


def test_a_formatter_that_takes_a_column_out_of_its_own_row_is_none_that_changes_it():
    def format_row(row):
        row.pop("more")
        return example(row)

    assert len(previewed(format_row)) == 2


def test_the_first_rows_of_each_source_and_then_one_of_many_are_formatted_twice():
    calls = Counter()

    def format_row(row):
        calls[row["q"]] += 1
        return example(row, source="late" if row["n"] >= 600 else "early")

    found = guarded_of("formatter", format=format_row)
    for n in range(1024):
        found.format({"q": str(n), "a": "a", "n": n})
    twice = {int(q) for q, times in calls.items() if times == 2}
    assert set(range(9)) <= twice  # the first shows a source that is new, and eight follow
    assert {255, 511, 767, 1023} <= twice
    assert set(range(601, 609)) <= twice
    assert len(twice) < 25


def test_a_formatter_that_changes_its_mind_late_is_found():
    state = [0]

    def format_row(row):
        state[0] += 1
        return example(row, row_id=str(state[0]) if state[0] > 300 else "")

    found = guarded_of("formatter", format=format_row)
    said = f"{OF_PLUGIN}: formatter 'ill'.format is not deterministic"
    with pytest.raises(PluginContractError, match=said):
        deque(map(found.format, ROWS * 99), maxlen=0)


def test_values_that_cannot_be_copied_or_compared_are_no_fault_of_a_formatter():
    row = {**ROWS[0], "array": np.zeros(3), "nan": math.nan, "lock": (n for n in [])}
    assert guarded_of("formatter", format=example).format(row).source == "s"
    del row["lock"]
    assert guarded_of("formatter", format=example).format(row).source == "s"


PREDICTIONS = [Prediction(example(row, row_id=str(n)), "Answer ." if n % 3 else "") for n, row in enumerate(ROWS)]


def scored(**parts):
    facts = {"rows": len(PREDICTIONS), "primary": "accuracy", "metrics": {"accuracy": 0.5}, **parts}
    return lambda predictions: TaskScore(**facts)


SCORES = {
    "a mapping instead": (lambda predictions: {"accuracy": 1.0}, "returned a dict"),
    "fewer rows": (scored(rows=29), "scored 29 rows of 30"),
    "rows that are no number": (scored(rows=30.0), "scored 30.0 rows"),
    "more than 1": (scored(metrics={"accuracy": 50.0}), "metrics 'accuracy' the value 50.0"),
    "below 0": (scored(metrics={"accuracy": -0.2}), "metrics 'accuracy' the value -0.2"),
    "nan": (scored(metrics={"accuracy": math.nan}), "the value nan"),
    "a number of an array": (scored(metrics={"accuracy": np.float32(0.5)}), "the value a float32"),
    "a truth": (scored(metrics={"accuracy": True}), "the value True"),
    "no mapping": (scored(metrics=[0.5]), "metrics that are no mapping"),
    "another primary": (scored(primary="f1"), "named 'f1' as primary"),
    "a rate of 3": (scored(failures={"unread": 3}), "failures 'unread' the value 3"),
    "an interval upside down": (scored(intervals={"accuracy": (0.6, 0.4)}), "the interval 0.6 to 0.4"),
    "an interval elsewhere": (scored(intervals={"accuracy": (0.9, 0.95)}), "the interval 0.9 to 0.95"),
    "an interval of nothing": (scored(intervals={"f1": (0.1, 0.2)}), "an interval of 'f1'"),
    "an interval of one end": (scored(intervals={"accuracy": (0.1,)}), "an interval that is none"),
    "an interval beyond 1": (scored(intervals={"accuracy": (0.4, 1.4)}), "an interval that is none"),
    "details that are no JSON": (scored(details={"seen": {1, 2}}), "details that are no JSON"),
    "details with nan": (scored(details={"seen": math.nan}), "details that are no JSON"),
    "reasons that are none": (scored(no_interval={"accuracy": object()}), "reasons that are no texts"),
}


def task_host(**members):
    facts = {"name": "ill", "matches": lambda example: True, "max_new_tokens": lambda *_: 8, "parse": lambda *_: None}
    return host_of("task", SimpleNamespace(**{**facts, "score": scored(), **members}))


@pytest.mark.parametrize("fault", SCORES)
def test_a_score_that_breaks_its_contract_is_refused_by_name(fault):
    score, said = SCORES[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        score_predictions(PREDICTIONS, task_host(score=score).all("task"))
    assert str(caught.value).startswith(f"{OF_PLUGIN}: task 'ill'.score ")


def test_a_score_that_keeps_its_contract_is_taken():
    parts = {"intervals": {"accuracy": (0.5, 0.5)}, "failures": {"unread": 1}, "undefined": ["f1"], "details": {"a": 1}}
    found = score_predictions(PREDICTIONS, task_host(score=scored(**parts)).all("task"))
    assert found.tasks["ill"].failures == {"unread": 1}
    undefined = scored(metrics={}, primary="accuracy", undefined=["accuracy"])
    assert score_predictions(PREDICTIONS, task_host(score=undefined).all("task")).tasks["ill"].metrics == {}


def tallied(wide=1.0, rows=30, **parts):
    tally = tally_ratios("accuracy", {"accuracy": ([wide] * rows, [1.0] * rows)})
    facts = {name: getattr(tally, name) for name in ("primary", "counts", "figures")} | parts
    return lambda predictions: Tally(**facts)


TALLIES = {
    "fewer rows": (tallied(rows=29), "counted 29 rows of 30"),
    "counts that are not finite": (tallied(wide=math.inf), "counts that are not finite"),
    "figures beyond 1": (tallied(wide=2.0), "figures 'accuracy' beyond 0 and 1"),
    "another primary": (tallied(primary="f1"), "no figure 'f1'"),
    "a list instead": (lambda predictions: [1] * 30, "returned a list, which is no Tally"),
    "counts of one dimension": (tallied(counts=np.ones(30)), "which is no Tally"),
}


@pytest.mark.parametrize("fault", TALLIES)
def test_a_tally_that_breaks_its_contract_is_refused_by_name(fault):
    tally, said = TALLIES[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        score_predictions(PREDICTIONS, task_host(tally=tally).all("task"))
    assert str(caught.value).startswith(f"{OF_PLUGIN}: task 'ill'.tally ")


def test_what_a_tally_counts_later_is_guarded_too():
    def fail(rows):
        raise ValueError(CANARY)

    with pytest.raises(PluginFailedError, match=r"task 'ill'\.tally\.details: ValueError"):
        score_predictions(PREDICTIONS, task_host(tally=tallied(details=fail)).all("task"))


def test_a_tally_that_keeps_its_contract_has_intervals():
    found = score_predictions(PREDICTIONS, task_host(tally=tallied()).all("task"))
    assert found.tasks["ill"].metrics == {"accuracy": 1.0}


@pytest.mark.parametrize("answer", [None, 1, "yes", np.True_])
def test_a_claim_that_is_neither_true_nor_false_is_refused_by_name(answer):
    with pytest.raises(PluginError, match=r"task 'ill'\.matches returned a .*; it returns True or False"):
        score_predictions(PREDICTIONS, task_host(matches=lambda example: answer).all("task"))


@pytest.mark.parametrize("tokens", [0, -5, 8.0, None, True])
def test_a_limit_that_is_no_number_of_tokens_is_refused_by_name(tokens):
    with pytest.raises(PluginContractError, match=r"task 'ill'\.max_new_tokens returned .*; it returns a number of"):
        task_host(max_new_tokens=lambda *_: tokens).find("task", "ill").max_new_tokens(PREDICTIONS[0].example, 3)


def written_into(example):
    example.messages[0]["content"] = CANARY


WRITING = {
    "matches": lambda example: written_into(example) or True,
    "max_new_tokens": lambda example, tokens: written_into(example) or 8,
    "parse": lambda text, example: example.messages.pop(),
    "draft": lambda example: example.messages.append({"role": "user", "content": CANARY}),
    "score": lambda predictions: written_into(predictions[3].example) or scored()(predictions),
    "tally": lambda predictions: written_into(predictions[3].example) or tallied()(predictions),
}


@pytest.mark.parametrize("method", WRITING)
def test_a_task_that_writes_into_an_example_is_refused_and_others_get_it_as_it_was(method):
    one, before = PREDICTIONS[3].example, copy.deepcopy(PREDICTIONS[3].example)
    given = {
        "max_new_tokens": (one, 3),
        "parse": ("text", one),
        "score": (PREDICTIONS,),
        "tally": (PREDICTIONS,),
    }.get(method, (one,))
    task = task_host(**{method: WRITING[method]}).find("task", "ill")
    with pytest.raises(
        PluginContractError, match=rf"task 'ill'\.{method} changed the messages of an example"
    ) as caught:
        getattr(task, method)(*given)
    assert one == before
    assert CANARY not in str(caught.value)


def test_a_task_may_sort_the_predictions_it_is_given():
    found = task_host(tally=lambda given: given.reverse() or tallied()(given)).find("task", "ill").tally(PREDICTIONS)
    assert len(found.counts) == 30
    assert PREDICTIONS[0].example.row_id == "0"


def test_a_task_that_claims_a_row_every_other_time_is_refused_by_name():
    claims = itertools.cycle([False, True])
    with pytest.raises(PluginContractError, match=r"task 'ill'\.matches gave two answers for one example"):
        score_predictions(PREDICTIONS, task_host(matches=lambda example: next(claims)).all("task"))


def reader(rows):
    return guarded(SimpleNamespace(name="ill", rows=rows), "reader", Origin("sick", "sick-dist", "1.2"))


def breaking(path):
    yield {"a": 1}
    raise ValueError(CANARY)


def test_a_reader_is_guarded_as_long_as_it_is_read():
    rows = reader(breaking).rows("file")
    assert next(rows) == {"a": 1}
    with pytest.raises(PluginFailedError, match=rf"{OF_PLUGIN} failed in reader 'ill'\.rows: ValueError") as caught:
        next(rows)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("found", [None, "rows", {"a": 1}, 7, [["a"]], ["a"], [{1: 2}], [None]], ids=str)
def test_a_reader_that_yields_no_rows_is_refused_by_name(found):
    with pytest.raises(PluginContractError, match=rf"{OF_PLUGIN}: reader 'ill'\.rows .* a mapping for each row"):
        list(reader(lambda path: found).rows("file"))
