"""Preparing data accounts for every row: trained on, held out, set aside, lost to length or left out for overlap."""

import json
import os
import time
import tracemalloc

import numpy as np
import pytest
from chat_templates import TEMPLATES, make_tokenizer

from demo_base.generator import generate_rows
from medtune import DataSpec, EvalSpec, Example, RunSpec, TrainSpec, hookimpl
from medtune.data import packed_set
from medtune.data.cache import PreparedCache
from medtune.data.contract import check_contract, write_contract
from medtune.data.encode import Encoder
from medtune.data.prepare import encoder_of, prepare, preview, validation_examples
from medtune.errors import DataError, StorageError, UnsafeArtifactError
from medtune.plugins.host import create_host


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(TEMPLATES["starling"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def rows():
    return list(generate_rows("train", 20, 0))


def file_of(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def spec_of(source="rows", **data):
    data = {"max_quarantined": 0.0, "accept_loss": True, **data}
    train = TrainSpec(max_length=data.pop("max_length", 1024), packing=data.pop("packing", True))
    return RunSpec(data=DataSpec(source=source, **data), train=train, eval=EvalSpec(rows_per_source=20))


def ids_of(prepared):
    """Return row id -> the ids that are trained on."""
    found = {}
    for index in range(len(prepared.rows)):
        row, start = prepared.rows[index], 0
        for length, sample in zip(row.lengths, row.samples, strict=True):
            found[prepared.rows.row_id(sample)] = list(row.input_ids[start : start + length])
            start += length
    return found


def test_every_row_is_trained_on_or_held_out_and_encoded_as_it_is_alone(host, tokenizer, rows):
    spec = spec_of(validation_fraction=0.1)
    prepared = prepare(spec, host, tokenizer, rows=rows)
    trained = ids_of(prepared)
    assert prepared.report.rows == len(trained) == 108
    assert len({e.source for e in prepared.validation}) == 6
    assert not trained.keys() & {e.row_id for e in prepared.validation}
    formatter, encoder = host.find("formatter", "alpaca"), encoder_of(spec, tokenizer)
    for number in (0, 7, 50):
        name = f"row-{number}"
        if name in trained:
            assert trained[name] == list(encoder.encode(formatter.format(rows[number])).input_ids)


def test_packed_and_unpacked_rows_hold_the_same_samples(host, tokenizer, rows):
    packed = prepare(spec_of(), host, tokenizer, rows=rows)
    unpacked = prepare(spec_of(packing=False), host, tokenizer, rows=rows)
    assert ids_of(packed) == ids_of(unpacked)
    assert len(unpacked.rows) == unpacked.report.rows > len(packed.rows)


def test_counts_per_source_add_up(host, tokenizer, rows):
    report = prepare(spec_of(validation_fraction=0), host, tokenizer, rows=rows).report
    assert sum(s["rows"] for s in report.sources.values()) == report.rows == 120
    assert sum(s["tokens"] for s in report.sources.values()) == report.tokens
    assert sum(s["supervised_tokens"] for s in report.sources.values()) == report.supervised_tokens
    assert report.fill == report.tokens / (report.packed_rows * 1024)
    assert all(sum(s["histogram"]["rows"]) == s["rows"] for s in report.sources.values())


def test_rows_that_are_too_long_are_dropped_and_counted(host, tokenizer, rows):
    lengths = {name: len(ids) for name, ids in ids_of(prepare(spec_of(), host, tokenizer, rows=rows)).items()}
    limit = sorted(lengths.values())[len(lengths) // 2]
    prepared = prepare(spec_of(max_length=limit), host, tokenizer, rows=rows)
    assert ids_of(prepared).keys() == {name for name, length in lengths.items() if length <= limit}
    lost = sum(s["lost_rows"] for s in prepared.report.sources.values())
    assert lost == len(lengths) - prepared.report.rows > 0


def test_losing_more_than_two_percent_of_a_source_must_be_accepted(host, tokenizer, rows):
    with pytest.raises(DataError, match=r"would lose \d+ of \d+ rows .* of source 'demo-.*train\.max_length=\d+"):
        prepare(spec_of(max_length=150, accept_loss=False), host, tokenizer, rows=rows)


def test_a_row_that_is_too_long_can_be_an_error(host, tokenizer, rows):
    with pytest.raises(DataError, match=r"row 'row-\d+' has \d+ tokens and train\.max_length is 150"):
        prepare(spec_of(max_length=150, overlong="error"), host, tokenizer, rows=rows)


def test_inputs_are_cut_only_where_the_answer_does_not_copy_them(host, tokenizer):
    long = " ".join(f"finding {i} was noted ." for i in range(80))
    tags = {
        "instruction": "Tag.",
        "input": long,
        "output": "\n".join(f"{w} : O" for w in long.split()),
        "source": "tags",
    }
    label = {"instruction": "Classify the report.", "input": long, "output": "None", "source": "label"}
    fine = {"instruction": "Classify.", "input": "short", "output": "None", "source": "label"}
    spec = spec_of(max_length=256, overlong="truncate_input", validation_fraction=0)
    prepared = prepare(spec, host, tokenizer, rows=[tags, label, fine])
    assert ids_of(prepared).keys() == {"row-1", "row-2"}
    assert prepared.report.sources["tags"]["lost_rows"] == 1
    assert prepared.report.sources["label"]["shortened_rows"] == 1
    cut = tokenizer.decode(ids_of(prepared)["row-1"])
    assert cut.startswith("<s>GPT4 Correct User: Classify the report.")
    assert cut.endswith("Assistant: None<|end_of_turn|>")


def test_sources_are_included_and_excluded(host, tokenizer, rows):
    only = prepare(spec_of(include_sources=("demo-nli", "demo-qa")), host, tokenizer, rows=rows)
    without = prepare(spec_of(exclude_sources=("demo-nli",)), host, tokenizer, rows=rows)
    assert set(only.report.sources) == {"demo-nli", "demo-qa"}
    assert "demo-nli" not in without.report.sources
    assert {e.source for e in only.validation} <= {"demo-nli", "demo-qa"}


def test_a_limit_is_shared_evenly_by_source(host, tokenizer, rows):
    report = prepare(spec_of(limit=30, validation_fraction=0), host, tokenizer, rows=rows).report
    assert {name: s["rows"] for name, s in report.sources.items()} == dict.fromkeys(report.sources, 5)


def test_exact_changed_and_nearly_equal_rows_are_found_and_can_be_left_out(host, tokenizer, tmp_path, rows):
    tags = [row for row in rows if row["source"] == "demo-ner-disease"]
    exact, shouted, near = dict(tags[0]), dict(tags[1]), dict(tags[2])
    shouted |= {"input": shouted["input"].upper().replace(" ,", ",")}
    words = near["input"].split()
    near |= {"input": " ".join(["Today", *words, "indeed"]), "output": f"Today : O\n{near['output']}\nindeed : O"}
    others = [row for row in rows if row["source"] in ("demo-nli", "demo-hallmarks")]
    train = file_of(tmp_path, [*others, exact, shouted, near], "train.jsonl")
    validation = file_of(tmp_path, tags, "validation.jsonl")
    kept, dropped = (
        prepare(spec_of(train, validation=validation, drop_overlap=drop), host, tokenizer) for drop in (False, True)
    )
    assert kept.report.overlap == {"demo-ner-disease": {"exact": 1, "normalised": 1, "near": 1}}
    assert kept.report.rows == len(others) + 3
    assert len(kept.report.overlapping) > 0
    assert dropped.report.overlapping == []  # nothing of them was trained on
    assert dropped.report.dropped_overlap == 3
    assert dropped.report.rows == len(others)


def test_rows_without_a_source_are_prepared(host, tokenizer):
    rows = [{"instruction": "Say it.", "input": "", "output": f"word {i}"} for i in range(50)]
    prepared = prepare(spec_of(), host, tokenizer, rows=rows)
    assert set(prepared.report.sources) == {""}


def test_rows_from_a_generator_are_read_once_and_kept(host, tokenizer, rows):
    assert ids_of(prepare(spec_of(), host, tokenizer, rows=iter(rows))) == ids_of(
        prepare(spec_of(), host, tokenizer, rows=rows)
    )


def test_malformed_rows_are_set_aside_and_the_rest_prepared(host, tokenizer, rows, tmp_path):
    bad = [*rows, {"instruction": "x", "input": "", "output": None}]
    prepared = prepare(spec_of(max_quarantined=0.05), host, tokenizer, rows=bad, quarantine_path=tmp_path / "q.jsonl")
    assert prepared.report.quarantined == 1
    assert json.loads((tmp_path / "q.jsonl").read_text())["reason"] == "column 'output' is null"


def test_the_same_rows_are_found_prepared_and_other_settings_are_not(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, rows)
    first, second = (prepare(spec_of(path), host, tokenizer) for _ in range(2))
    assert (first.report.from_cache, second.report.from_cache) == (False, True)
    assert ids_of(first) == ids_of(second)
    assert first.rows.fingerprint == second.rows.fingerprint
    assert first.validation == second.validation
    for other in (spec_of(path, max_length=900), spec_of(path, supervise="all"), spec_of(path, limit=7)):
        assert not prepare(other, host, tokenizer).report.from_cache
    assert not prepare(spec_of(path), host, make_tokenizer(TEMPLATES["gemma"])).report.from_cache
    file_of(tmp_path, rows[1:])
    assert not prepare(spec_of(path), host, tokenizer).report.from_cache


class Notes:
    """A formatter that knows which note a row comes from."""

    name, version = "notes", "1"

    def format(self, row):
        example = turns_of(row)
        return Example(example, row["source"], None, "", document=f"note-{len(row['input']) % 5}")


def turns_of(row):
    question = {"role": "user", "content": row["instruction"] + row["input"]}
    return [question, {"role": "assistant", "content": row["output"]}]


class NotesPlugin:
    __hash__ = object.__hash__

    @hookimpl
    def provide_formatters(self):
        return [Notes()]


def test_validation_rows_found_prepared_keep_their_document(tokenizer, rows, tmp_path):
    host = create_host([NotesPlugin()], autoload=False)
    spec = spec_of(file_of(tmp_path, rows), formatter="notes", validation_fraction=0.3)
    first, second = (prepare(spec, host, tokenizer) for _ in range(2))
    assert second.report.from_cache
    assert {e.document for e in second.validation} <= {f"note-{i}" for i in range(5)}
    assert second.validation == first.validation


def test_rows_found_prepared_bring_the_places_of_the_malformed_ones_back(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, [*rows, {"instruction": "x", "input": "", "output": None}])
    spec = spec_of(path, max_quarantined=0.05)
    for number in range(3):
        quarantine = tmp_path / f"q{number}.jsonl" if number else None
        prepared = prepare(spec, host, tokenizer, quarantine_path=quarantine)
        assert prepared.report.from_cache == bool(number)
    assert json.loads((tmp_path / "q1.jsonl").read_text())["place"] == f"{path}:121"
    assert (tmp_path / "q1.jsonl").read_text() == (tmp_path / "q2.jsonl").read_text()
    file_of(tmp_path, rows)
    for _ in range(2):
        prepare(spec_of(path), host, tokenizer, quarantine_path=tmp_path / "q1.jsonl")
    assert not (tmp_path / "q1.jsonl").exists()


def test_accepting_a_loss_later_finds_the_same_set_and_not_accepting_it_is_refused_still(
    host, tokenizer, rows, tmp_path
):
    path = file_of(tmp_path, rows)
    assert not prepare(spec_of(path, max_length=150), host, tokenizer).report.from_cache
    assert prepare(spec_of(path, max_length=150), host, tokenizer).report.from_cache
    with pytest.raises(DataError, match="would lose"):
        prepare(spec_of(path, max_length=150, accept_loss=False), host, tokenizer)


def test_a_damaged_entry_is_prepared_anew(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, rows)
    whole = ids_of(prepare(spec_of(path), host, tokenizer))
    (entry,) = PreparedCache(tmp_path / "cache").entries()
    ids = tmp_path / "cache" / entry.key / "ids.bin"
    ids.write_bytes(ids.read_bytes()[:-2])
    again = prepare(spec_of(path), host, tokenizer)
    assert not again.report.from_cache
    assert ids_of(again) == whole
    assert prepare(spec_of(path), host, tokenizer).report.from_cache


def test_a_preparation_that_fails_leaves_nothing_behind(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, rows)
    with pytest.raises(DataError):
        prepare(spec_of(path, max_length=150, overlong="error"), host, tokenizer)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    cache = PreparedCache(tmp_path / "cache")
    for name, age in ((".staging-old", 25 * 3600), (".staging-new", 60)):
        folder = tmp_path / "cache" / name
        folder.mkdir(parents=True)
        (folder / "ids.bin").write_bytes(b"x" * 10)
        for path in (folder / "ids.bin", folder):
            os.utime(path, (time.time() - age,) * 2)
    assert cache.prune() == 10
    assert [f.name for f in (tmp_path / "cache").iterdir()] == [".staging-new"]


def test_a_cache_that_cannot_be_written_is_named(host, tokenizer, rows, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write the cache .*set MEDTUNE_CACHE"):
        prepare(spec_of(file_of(tmp_path, rows)), host, tokenizer)


def peak_of(spec, host, tokenizer):
    """Return the peak of what Python and numpy allocate while a set is prepared."""
    tracemalloc.start()
    try:
        prepare(spec, host, tokenizer)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_text_of_a_set(host, tokenizer, tmp_path, monkeypatch):
    """Three bytes a token would be 9 MB for the rows that one set has more than the other."""
    monkeypatch.setattr(packed_set, "_CHUNK_ROWS", 100)
    text = " ".join(f"w{i}" for i in range(330))
    peaks, tokens = [], []
    for count in (500, 500, 3500):
        rows = [{"instruction": "Say it.", "input": f"{i} {text}", "output": "yes"} for i in range(count)]
        spec = spec_of(file_of(tmp_path, rows, f"{len(peaks)}.jsonl"), validation_fraction=0, max_length=4096)
        peaks.append(peak_of(spec, host, tokenizer))
        tokens.append(prepare(spec, host, tokenizer).report.tokens)
    assert tokens[2] - tokens[1] > 3_000_000
    assert peaks[2] - peaks[1] < 2_000_000  # the first run also loads what is used once


def test_nothing_is_kept_when_the_cache_is_off(host, tokenizer, rows, tmp_path):
    prepare(spec_of(file_of(tmp_path, rows), cache=False), host, tokenizer)
    assert PreparedCache(tmp_path / "cache").entries() == []


def test_the_cache_is_bounded_private_and_can_be_cleared(host, tokenizer, rows, tmp_path):
    for count in (60, 80, 100):
        prepare(spec_of(file_of(tmp_path, rows[:count])), host, tokenizer)
    cache = PreparedCache(tmp_path / "cache")
    assert len(cache.entries()) == 3
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    newest = cache.entries()[-1]
    bounded = PreparedCache(tmp_path / "cache", limit_bytes=newest.size_bytes)
    assert bounded.prune() > 0
    assert bounded.entries() == [newest]
    assert cache.clear() == newest.size_bytes
    assert cache.entries() == []


def test_a_preview_shows_every_source_before_it_repeats_one(host, tokenizer, rows):
    shown = preview(spec_of(), host, tokenizer, 6, rows=rows)
    assert len({e.source for e in shown}) == 6
    assert all(len(e.input_ids) == len(e.supervised) and 1 in e.supervised for e in shown)


def test_validation_is_drawn_evenly_by_source_from_an_ordered_file(host, tokenizer, rows, tmp_path):
    ordered = sorted(rows, key=lambda row: row["source"])
    spec = spec_of("unused.jsonl", validation=file_of(tmp_path, ordered))
    drawn = validation_examples(spec, host)
    counts = {source: sum(e.source == source for e in drawn) for source in {e.source for e in drawn}}
    assert len(counts) == 6
    assert set(counts.values()) == {20}
    assert drawn == validation_examples(spec, host)


def test_ids_are_stored_compactly(host, tokenizer, rows):
    row = prepare(spec_of(), host, tokenizer, rows=rows).rows[0]
    assert np.asarray(row.input_ids).dtype == np.uint16


def test_the_prompt_contract_holds_for_the_same_tokenizer_and_breaks_for_another(tmp_path, tokenizer):
    write_contract(tmp_path, Encoder(tokenizer))
    check_contract(tmp_path, Encoder(tokenizer))
    for other in (make_tokenizer(TEMPLATES["gemma"]), make_tokenizer(TEMPLATES["starling"].replace("GPT4 ", "GPT5 "))):
        with pytest.raises(UnsafeArtifactError, match="trained on other prompts"):
            check_contract(tmp_path, Encoder(other))
    (tmp_path / "prompt_contract.json").write_text("{")
    with pytest.raises(UnsafeArtifactError, match="missing or damaged"):
        check_contract(tmp_path, Encoder(tokenizer))
