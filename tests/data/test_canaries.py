"""Canaries are made by their seed, stand among the rows that are trained on and nowhere else, and are said to."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preparing import file_of, ids_of, spec_of

from medtune import RunSpec
from medtune.data.canaries import (
    CANARY_SOURCE,
    SPACE,
    canaries_of,
    canary_examples,
    never_planted,
    other_secrets,
    planted_sentence,
)
from medtune.data.prepare import prepare, trained_examples
from medtune.errors import DataError, SpecError
from medtune.specs import CanarySpec
from medtune.workflow.row_checks import RowChecks

PLANTED = {"count": 2, "repeats": [1, 3]}


def prepared(tmp_path, rows, host, tokenizer, **data):
    spec = spec_of(file_of(tmp_path, rows), validation_fraction=0.2, **{"canaries": PLANTED, **data})
    return spec, prepare(spec, host, tokenizer, checker=RowChecks(host.all("task"), spec))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sets(st.integers(1, 99), min_size=1, max_size=3))
def test_a_seed_makes_the_same_canaries_again_and_no_two_have_one_name(seed, count, repeats):
    spec = CanarySpec(count=count, repeats=sorted(repeats))
    found = canaries_of(spec, seed)
    assert found == canaries_of(spec.model_copy_with(seed=seed), seed + 1)
    assert found != canaries_of(spec, seed + 1)
    assert [each.repeats for each in found] == [times for times in sorted(repeats) for _ in range(count)]
    everyone = [*found, *never_planted(spec, seed)]
    assert len({each.name for each in everyone}) == len({each.row_id for each in everyone}) == len(everyone)
    assert {each.repeats for each in never_planted(spec, seed)} == {0}


def test_other_secrets_are_of_the_same_form_and_never_the_true_one():
    canary = canaries_of(CanarySpec(count=1), 0)[0]
    others = other_secrets(canary, 500, 0)
    assert len(set(others)) == 500
    assert canary.secret not in others
    assert all(len(each) == len(canary.secret) and 0 <= int(each.replace(" ", "")) < SPACE for each in others)
    twin = replace(canary, secret=others[0])
    assert others[0] not in other_secrets(twin, 500, 0)
    assert canary.secret in canary.example().messages[-1]["content"]
    assert others[0] in canary.example(secret=others[0]).messages[-1]["content"]


def test_names_that_would_be_drawn_twice_are_drawn_anew():
    many = canaries_of(CanarySpec(count=1000, repeats=range(1, 61)), 0)
    assert len({each.name for each in many}) == len(many)


@pytest.mark.parametrize("wrong", [{"count": -1}, {"repeats": []}, {"repeats": [0]}, {"repeats": [4, 4]}])
def test_a_spec_of_canaries_that_means_nothing_is_refused(wrong):
    with pytest.raises(SpecError):
        RunSpec(data={"source": "rows", "canaries": wrong})


def test_canaries_are_trained_on_as_often_as_asked_and_scored_never(tmp_path, rows, host, tokenizer):
    spec, found = prepared(tmp_path, rows, host, tokenizer)
    planted = list(canary_examples(spec))
    assert len(planted) == 2 + 2 * 3
    trained = ids_of(found)
    assert {example.row_id for example in planted} <= trained.keys()
    texts = [tokenizer.decode(ids) for ids in trained.values()]
    for canary in canaries_of(spec.data.canaries, spec.seed):
        assert sum(canary.secret in text for text in texts) == canary.repeats
    held_out = json.dumps([[example.source, example.row_id, example.messages] for example in found.validation])
    assert CANARY_SOURCE not in held_out
    again = trained_examples(spec, host, found.rows)
    assert sum(example.source == CANARY_SOURCE for example in again) == len(planted)


def test_the_account_names_canaries_by_hashes_and_the_checks_of_rows_pass_them_over(tmp_path, rows, host, tokenizer):
    spec, found = prepared(tmp_path, rows, host, tokenizer)
    told = found.report.to_json()
    assert told["canaries"]["planted"] == len(told["canaries"]["sha256"]) == 4
    assert told["canaries"]["rows"] == told["sources"][CANARY_SOURCE]["rows"] == 8
    assert "sha256" not in found.report.summary()["canaries"]
    secrets = [canary.secret for canary in canaries_of(spec.data.canaries, spec.seed)]
    assert [secret for secret in secrets if secret in json.dumps(told)] == []
    assert CANARY_SOURCE not in {task["source"] for task in told["tasks"]}
    assert told["validation"]["unscored_sources"] == []
    assert CANARY_SOURCE not in told["duplicates"]["training"]


def test_a_run_without_canaries_is_told_to_have_none(tmp_path, rows, host, tokenizer):
    _spec, found = prepared(tmp_path, rows, host, tokenizer, canaries={})
    assert found.report.canaries == {}
    assert planted_sentence(CanarySpec()) == ""
    assert CANARY_SOURCE not in found.report.sources


def test_a_limit_of_rows_draws_no_canary_away(tmp_path, rows, host, tokenizer):
    _spec, found = prepared(tmp_path, rows, host, tokenizer, limit=6)
    assert found.report.rows == 6 + 8


def test_other_canaries_are_other_prepared_rows(tmp_path, rows, host, tokenizer):
    prints = [
        prepared(tmp_path, rows, host, tokenizer, canaries=each)[1].rows.fingerprint
        for each in (PLANTED, {**PLANTED, "seed": 1}, {"count": 2, "repeats": [1, 4]}, {})
    ]
    assert len(set(prints)) == 4


def test_canaries_are_asked_as_all_rows_are_with_the_system_turn_of_all(tmp_path, rows, host, tokenizer):
    spec, _found = prepared(tmp_path, rows, host, tokenizer, system="You help.", canaries=PLANTED)
    assert {example.messages[0]["content"] for example in canary_examples(spec)} == {"You help."}


def test_a_row_of_the_user_cannot_pass_for_a_canary(tmp_path, rows, host, tokenizer):
    foreign = [{**row, "source": CANARY_SOURCE} for row in rows]
    for trained, scored in ((foreign, None), (foreign, rows), (rows, foreign)):
        apart = {} if scored is None else {"validation": file_of(tmp_path, scored, "scored.jsonl")}
        with pytest.raises(DataError, match="which marks canaries; give it another one"):
            prepared(tmp_path, trained, host, tokenizer, canaries={}, **apart)


def test_canaries_alone_are_nothing_to_train_on(tmp_path, rows, host, tokenizer):
    long = [{**row, "input": f"{row['input']}{' fever' * 300}"} for row in rows]
    with pytest.raises(DataError, match="no row is left to train on"):
        prepared(tmp_path, long, host, tokenizer, max_length=200)
