"""The command that compares engines: what it calls a result, what it feeds them, and a run of it on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import compare

    return compare


@pytest.fixture
def contest(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import contest

    return contest


def run(engine, speed, **changes):
    return {
        "engine": engine,
        "base": "nf4",
        "name": "no recompute",
        "recompute": "none",
        "isolated": engine == "medtune",
        "rows": 16,
        "length": 512,
        "texts": 0,
        "tokens_per_second": speed,
        "mfu": 0.5,
        "peak_gib": 20.0,
        "loss": 10.0,
        "grad_norm": 2.0,
        **changes,
    }


def reference(*, isolated, grad_norm=2.0):
    return {
        "engine": "reference",
        "base": "nf4",
        "isolated": isolated,
        "rows": 16,
        "length": 512,
        "texts": 0,
        "loss": 10.0,
        "grad_norm": grad_norm,
    }


def test_the_fastest_comes_first_with_its_ratio_to_the_best_peer(compare):
    rows = [run("trl", 100), run("medtune", 300), run("unsloth", 200)]
    lines = compare.table(rows)[2:]
    assert [line.split(" | ")[2] for line in lines] == ["medtune", "unsloth", "trl"]
    assert [line.split(" | ")[7] for line in lines] == ["1.50", "1.00", "0.50"]


def test_regimes_and_lengths_are_compared_apart(compare):
    rows = [run("trl", 100), run("trl", 50, recompute="all"), run("trl", 400, rows=1, length=8192), run("medtune", 200)]
    rows.append(run("trl", 300, texts=45))
    ratios = {tuple(line.split(" | ")[n] for n in (1, 2, 6)): line.split(" | ")[7] for line in compare.table(rows)[2:]}
    assert ratios[("16 x 512", "medtune", "200")] == "2.00"
    assert ratios[("1 x 8192", "trl", "400")] == "1.00"
    assert ratios[("16 x 512", "trl", "50")] == "1.00"
    assert ratios[("16 x 512, 45 texts", "trl", "300")] == "1.00"


def test_each_engine_is_judged_by_the_reference_of_its_own_isolation(compare):
    rows = [
        reference(isolated=True),
        reference(isolated=False, grad_norm=4.0),
        run("medtune", 1),
        run("trl", 1, grad_norm=4.0),
    ]
    compare.judge(rows)
    assert [row["agrees"] for row in rows[2:]] == [True, True]
    rows[2]["grad_norm"] = 4.0
    compare.judge(rows)
    assert rows[2]["agrees"] is False


def test_fp8_is_held_against_bf16(compare):
    rows = [{**reference(isolated=True), "base": "bf16"}, run("medtune", 1, base="fp8", loss=10.2)]
    compare.judge(rows)
    assert rows[1]["loss_off"] == pytest.approx(0.02)
    assert rows[1]["agrees"] is False


@pytest.mark.parametrize("norm", [0.0, float("nan")])
def test_a_run_without_a_gradient_is_no_result(compare, norm):
    rows = [run("unsloth", 100, grad_norm=norm), run("medtune", 300)]
    compare.judge(rows)
    lines = compare.table(rows)
    assert [line.split(" | ")[7] for line in lines if "medtune" in line] == [""]
    assert lines[-1].startswith("no result: unsloth nf4 no recompute 16 x 512")


def test_adapters_get_the_same_values_whatever_their_type_and_the_names_around_them(contest):
    import torch

    def model(prefix, end, dtype):
        names = [f"{prefix}layers.{n}.q_proj.lora_A{end}.weight" for n in (0, 1)]
        held = {name: torch.nn.Parameter(torch.zeros(2, 3, dtype=dtype)) for name in names}
        return SimpleNamespace(named_parameters=held.items), list(held.values())

    one, plain = model("model.", "", torch.float32)
    other, wrapped = model("base_model.model.model.", ".default", torch.bfloat16)
    contest.fill_adapters(one)
    contest.fill_adapters(other)
    for a, b in zip(plain, wrapped, strict=True):
        assert torch.equal(a.to(torch.bfloat16), b)
    assert not torch.equal(plain[0], plain[1])


def test_samples_begin_with_one_of_a_few_texts_where_that_is_asked(contest):
    (ids, positions, _labels), _lengths = contest.make_batches(16, 512, 2)[0]
    begins = (positions == 0).nonzero().tolist()
    openings = {tuple(ids[row, start : start + 73].tolist()) for row, start in begins}
    alike = len(begins) - len(openings)
    assert alike > 0.6 * len(begins)  # the rest are short, or fill a row up
    (plain, _positions, _labels), _lengths = contest.make_batches(16, 512)[0]
    assert len({tuple(plain[row, start : start + 9].tolist()) for row, start in begins}) == len(begins)


def test_medtune_and_its_peers_meet_the_same_tokens_in_the_same_order(contest):
    from contest_medtune import DealtRows

    batches = contest.make_batches(2, 128)
    whole, dealt = contest.rows_in_order(batches, 6), DealtRows(batches, 6)
    assert len(whole) == len(dealt) == 12
    for place, (ids, labels, lengths) in enumerate(whole):
        row = dealt[11 - place]  # whichever is asked for
        real = len(row.input_ids)
        assert ids[:real] == row.input_ids
        assert [label != contest.IGNORED for label in labels] == [*map(bool, row.supervised), *[False] * (128 - real)]
        assert sum(row.lengths) == real
        assert lengths == [*row.lengths, *([128 - real] if real < 128 else [])]
    assert whole[0] == whole[8]
    assert whole[0] != whole[2]


def test_tokens_are_counted_without_padding(contest):
    from contest_medtune import DealtRows

    batches = contest.make_batches(2, 128)
    counted = sum(sum(lengths) for _tensors, lengths in batches)
    dealt = DealtRows(batches, 4)
    assert sum(len(dealt[0].input_ids) for _ in range(8)) == counted


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_command_compares_the_engines_that_are_here_on_a_tiny_model(tmp_path):
    out = tmp_path / "compared.json"
    command = [sys.executable, str(FOLDER / "compare.py"), str(out), "--tiny", "--steps", "2", "--limit", "500"]
    subprocess.run([*command, "--only", "reference nf4,medtune nf4,trl nf4 default"], check=True, timeout=880)
    written = json.loads(out.read_text())
    runs = {(row["engine"], row["name"]): row for row in written["rows"]}
    assert "failed" not in runs["trl", "default, recompute"], runs["trl", "default, recompute"]
    for name in runs.keys() - {("reference", "isolated"), ("reference", "as one text")}:
        assert runs[name]["agrees"]
        assert runs[name]["tokens_per_second"] > 0
    assert runs["medtune", "no recompute"]["bare"]["tokens_per_second"] > 0
    assert abs(runs["medtune", "no recompute"]["loss_off"]) < 1e-4
    assert len(written["table"]) == 6
    assert not list(tmp_path.glob("checkpoint*"))
