"""Rows that are scored and trained on: said where the user looks, and refused where nothing else is left to score."""

from dataclasses import replace

import pytest
from preparing import file_of, spec_of

from medtune.data.prepare import prepare
from medtune.errors import DataError
from medtune.planning.counting import size_of

WORDS = ("gout", "asthma", "migraine", "anaemia", "eczema", "angina", "sepsis", "rubella", "measles", "mumps")
ROWS = [{"instruction": f"What helps against {w}, and why is that so?", "output": f"Rest, for {w}."} for w in WORDS]
OTHERS = [{"instruction": f"Name {w} in another language.", "output": w[::-1]} for w in WORDS]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("cache", [False, True])
def test_a_validation_set_that_is_trained_on_as_a_whole_is_refused_with_every_way_out(host, tokenizer, tmp_path, cache):
    train, scored = file_of(tmp_path, ROWS + OTHERS, "t.jsonl"), file_of(tmp_path, ROWS, "v.jsonl")
    spec = spec_of(train, validation=scored, cache=cache)
    with pytest.raises(DataError, match="question of each of the 10 validation rows is trained on") as caught:
        prepare(spec, host, tokenizer)
    for way in (
        {"drop_overlap": True},
        {"validation": None, "validation_fraction": 0.2},
        {"accept_overlap": True},
        {"validation": file_of(tmp_path, [*ROWS, {"instruction": "Is rest enough?", "output": "no"}], "other.jsonl")},
    ):
        assert f"data.{next(iter(way))}" in str(caught.value)
        prepare(spec_of(train, **{"validation": scored, "cache": cache, **way}), host, tokenizer)
    with pytest.raises(DataError, match="of each of the 10 validation rows"):  # prepared before, and kept, or not
        prepare(spec, host, tokenizer)


def test_scored_rows_that_are_trained_on_are_counted_in_a_warning_that_comes_first(host, tokenizer, tmp_path):
    train = file_of(tmp_path, ROWS[:4] + OTHERS, "t.jsonl")
    spec = spec_of(train, validation=file_of(tmp_path, ROWS, "v.jsonl"))
    prepared = prepare(spec, host, tokenizer)
    first = prepared.report.notes()[0]
    assert first.startswith("warning: of 10 scored rows 4 (40%) are trained on with the same question")
    [near, *_others] = replace(prepared.report, copied=0, overlap={"s": {"near": 3, "exact": 0}}).notes()
    assert near.startswith(
        "warning: of 10 scored rows 4 (40%) share half of their text with a training row; scores on these may"
    )
    [input_too, *_others] = replace(prepared.report, copied=1, overlap={"s": {"near": 3, "input": 1}}).notes()
    assert (
        "1 (10%) are trained on with the same question, and 3 (30%) share the input or half of their text" in input_too
    )
    facts = size_of(prepared, spec).facts
    assert (facts["notes"][0], facts["refused"], facts["copied"]) == (first, "", 4)
    spec = spec_of(train, validation=file_of(tmp_path, ROWS[:4], "w.jsonl"), accept_overlap=True)
    refused = size_of(prepare(spec, host, tokenizer), spec_of(train, validation=str(tmp_path / "w.jsonl"))).facts[
        "refused"
    ]
    assert "each of the 4 validation rows" in refused


def test_rows_without_a_counterpart_give_no_warning(host, tokenizer, tmp_path):
    train = file_of(tmp_path, OTHERS, "t.jsonl")
    report = prepare(spec_of(train, validation=file_of(tmp_path, ROWS, "v.jsonl")), host, tokenizer).report
    assert not any("warning" in note for note in report.notes())


class _Checker:
    """Finds fault with rows whose answer says so, as another tokenizer would."""

    identity = "answers"

    def faults(self, samples, encoder, *, every):
        return ["its answer is bad" if "bad" in s.example.messages[-1]["content"] else "" for s in samples]

    def require_few(self, limit):
        """Leave that to the quarantine."""

    def found(self):
        return {}


def test_faults_of_drawn_rows_are_held_against_those_drawn_not_against_all_that_were_read(host, tokenizer):
    rows = [
        {"instruction": f"Dose {i}?", "output": "bad" if i % 50 == 0 else f"{i} mg", "source": str(i % 50)}
        for i in range(1000)
    ]
    few = {"limit": 50, "max_quarantined": 0.02, "validation_fraction": 0.0, "cache": False}
    assert prepare(spec_of(**few), host, tokenizer, rows=rows, checker=_Checker()).report.quarantined == 1
    with pytest.raises(DataError, match=r"1 of the 50 rows that data.limit draws cannot be used.*its answer is bad"):
        prepare(spec_of(**{**few, "max_quarantined": 0.01}), host, tokenizer, rows=rows, checker=_Checker())


def test_faults_of_validation_rows_are_held_against_validation_rows(host, tokenizer, tmp_path):
    train = file_of(tmp_path, [{"instruction": f"Dose {i}?", "output": f"{i} mg"} for i in range(500)], "t.jsonl")
    scored = file_of(tmp_path, [*ROWS[:8], *({**row, "output": "bad"} for row in ROWS[8:])], "v.jsonl")
    spec = spec_of(train, validation=scored, max_quarantined=0.1)
    with pytest.raises(
        DataError, match=r"2 of 10 validation rows cannot be used, most often \(2 times\): its answer is bad"
    ):
        prepare(spec, host, tokenizer, checker=_Checker())
    lenient = spec_of(train, validation=scored, max_quarantined=0.2)
    assert prepare(lenient, host, tokenizer, checker=_Checker()).report.validation["drawn"] == 8
