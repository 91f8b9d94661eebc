"""Preparing data accounts for every row: trained on, held out, set aside, lost to length or left out for overlap."""

import json
import tracemalloc

import numpy as np
import pytest
from chat_templates import TEMPLATES, make_tokenizer
from preparing import file_of, ids_of, spec_of

from medtune.data import packed_set
from medtune.data.contract import check_contract, write_contract
from medtune.data.encode import Encoder
from medtune.data.prepare import encoder_of, prepare, preview, validation_examples
from medtune.errors import DataError, UnsafeArtifactError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


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
    # the first run also loads what is used once; rows are looked at ahead, up to a bound
    assert peaks[2] - peaks[1] < 3_000_000


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


def test_no_copy_or_paraphrase_of_a_training_row_is_scored_as_if_it_were_new(host, tokenizer, tmp_path, rows):
    """Held-out rows come again under another instruction, as copies, and cut to length; all are found, none is dropped."""
    tags = [row for row in rows if row["source"] == "demo-nli"]
    leaked, others = tags[:6], tags[6:14]
    reworded = [{**row, "instruction": f"Put otherwise, {i}: decide."} for i, row in enumerate(leaked)]
    train = file_of(tmp_path, [*reworded, *(row for row in rows if row["source"] == "demo-qa")], "train.jsonl")
    validation = file_of(tmp_path, [*leaked, *leaked[:3], *others], "validation.jsonl")
    prepared = prepare(spec_of(train, validation=validation, cache=False), host, tokenizer)
    inputs = {row["input"] for row in leaked}
    copies = {e.row_id for e in prepared.validation if any(i in e.messages[0]["content"] for i in inputs)}
    assert set(prepared.report.overlapping) == copies
    assert {pair.evaluation for pair in prepared.overlap} == copies
    assert prepared.report.duplicates["validation"]["demo-nli"]["repeated"] == 3
