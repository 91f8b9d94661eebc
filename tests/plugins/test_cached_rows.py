"""Rows that a plugin's formatter prepared are found again for that very code only."""

import json
import sys
import threading

import pytest
from installed_plugins import FORMATTER, install

from medtune import DataSpec, EvalSpec, Example, RunSpec, TrainSpec
from medtune.data.prepare import prepare
from medtune.data.tokenizer import load_tokenizer
from medtune.plugins.host import create_host
from medtune.specs import ModelSpec
from medtune.testing.tiny import tiny_base

ONE = FORMATTER.format(name="one")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return load_tokenizer(ModelSpec(path=str(folder)))


@pytest.fixture
def from_cache(tokenizer, tmp_path, monkeypatch):
    """Prepare the same rows once more with a host; return whether they were found prepared."""
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file edited within a second is read again
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"q": f"question {n} ?", "a": f"answer {n}"}) + "\n" for n in range(30)))
    data = DataSpec(source=str(rows), formatter="one", validation_fraction=0.2, accept_loss=True)
    spec = RunSpec(data=data, train=TrainSpec(max_length=256), eval=EvalSpec(rows_per_source=4))
    return lambda host: prepare(spec, host, tokenizer).report.from_cache


def test_a_formatter_that_was_edited_prepares_its_rows_anew(from_cache, tmp_path):
    module = install(tmp_path, "first", ONE)
    assert [from_cache(create_host()) for _ in range(2)] == [False, True]
    edited = (tmp_path / f"{module}.py").read_text().replace('row["q"]', 'row["q"] + " now"')
    (tmp_path / f"{module}.py").write_text(edited)
    del sys.modules[module]
    assert [from_cache(create_host()) for _ in range(2)] == [False, True]


def test_the_same_formatter_of_another_distribution_or_release_prepares_its_rows_anew(from_cache, tmp_path):
    install(tmp_path, "first", ONE)
    install(tmp_path, "second", ONE)
    for name in ("first", "second"):
        assert [from_cache(create_host(allowed=[name])) for _ in range(2)] == [False, True]
    metadata = tmp_path / "first-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    assert not from_cache(create_host(allowed=["first"]))


class Holding:
    """A formatter whose examples depend on what it holds."""

    name, version = "one", "1"

    def __init__(self, held):
        self.held = held

    def format(self, row):
        turns = [{"role": "user", "content": f"{self.held} {row['q']}"}, {"role": "assistant", "content": row["a"]}]
        return Example(turns, source="own")


def hosting(thing):
    from medtune.tuner import MedTuner

    return MedTuner.from_bundle("demo", plugins=create_host(autoload=False), formatter=thing).host


def test_two_formatters_of_a_class_are_told_apart_by_what_they_hold(from_cache):
    assert [from_cache(hosting(Holding("a"))) for _ in range(2)] == [False, True]
    assert not from_cache(hosting(Holding("b")))
    assert from_cache(hosting(Holding("a")))


def test_a_formatter_whose_values_do_not_show_is_not_cached(from_cache):
    assert [from_cache(hosting(Holding(threading.Lock()))) for _ in range(2)] == [False, False]
