"""Runs stand side by side: what differs is shown, and answers are tested where, and only where, the rows are the same."""

import json
import shutil
from dataclasses import replace
from types import ModuleType

import pytest

from medtune import hookimpl
from medtune.cli.app import run as command
from medtune.errors import SpecError
from medtune.evaluation.comparison import Answered, compare, compare_each
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import score_predictions
from medtune.plugins.contracts import Completion
from medtune.plugins.host import create_host
from medtune.workflow.compare_runs import compare_runs
from medtune.workflow.training import train


class Silent:
    """A generator that answers nothing."""

    name = "silent"

    def generate(self, loaded, prompts, spec):
        return [Completion([], "", truncated=False) for _ in prompts]


@pytest.fixture
def run_of(asked, tmp_path):
    """Return what makes a run that answers nothing to eight rows."""
    plugin = ModuleType("silence")
    plugin.provide_generators = hookimpl(lambda: [Silent()], specname="provide_generators")
    wanted = {"backend": "silent", "rows_per_source": 8, "loss": True}

    def make(name, **parts):
        request = asked(plugin=plugin, data={"validation_fraction": 0.5}, eval=wanted, train={"max_steps": 1}, **parts)
        spec = request.spec.model_copy_with(output_dir=str(tmp_path / name))
        return train(replace(request, spec=spec)).path

    return make


@pytest.fixture
def first(run_of):
    return run_of("first")


@pytest.fixture
def copy_of(first, tmp_path):
    """Return what makes a copy of the run whose answers are changed."""

    def make(name, change):
        folder = tmp_path / name
        shutil.copytree(first, folder)
        file = folder / "evaluation" / "predictions-tuned.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))
        return folder

    return make


def perfect(rows):
    return [{**row, "prediction": row["gold"]} for row in reversed(rows)]


@pytest.fixture
def host():
    return create_host(autoload=False)


def test_answers_to_the_same_rows_are_tested_in_whatever_order_they_stand(first, copy_of, host):
    result = compare_runs(
        [first, copy_of("right", perfect), copy_of("half", lambda rows: perfect(rows[:4]) + rows[4:])], host
    )
    assert [run["name"] for run in result["runs"]] == ["A", "B", "C"]
    assert len({run["rows"]["sha256"] for run in result["runs"]}) == 1
    assert result["same"] == {"data": True, "model": True, "prompt_contract": True}
    right, half = result["comparisons"]
    assert right["tasks"]["nli"]["verdict"].startswith("better than run A (+100.0 points")
    assert half["tasks"]["nli"]["difference"] == 0.5
    assert right["tasks"]["nli"]["p_value"] < half["tasks"]["nli"]["p_value"]
    metrics = result["runs"][0]
    assert metrics["held_out_loss"]["loss"] > 0
    assert metrics["seconds"] > 0
    assert metrics["scores"]["nli"]["rows"] == 8


def test_p_values_are_adjusted_over_all_runs(first, copy_of, host):
    tasks = host.all("task")
    sets = [
        read_predictions(f / "evaluation" / "predictions-tuned.jsonl")
        for f in (first, copy_of("right", lambda r: perfect(r)[::-1]))
    ]
    silent, right = (score_predictions(found, tasks, intervals=False) for found in sets)
    pair = Answered(silent, right, *sets)
    alone = compare(*pair, tasks=tasks).tasks["nli"].p_value
    together = [found.tasks["nli"].p_value for found in compare_each([pair, pair, pair], tasks=tasks)]
    assert together == pytest.approx([3 * alone] * 3)


def test_other_rows_are_not_paired_and_it_is_said_how_many_are_the_same(first, copy_of, host):
    some = copy_of("some", lambda rows: rows[:3] + [{**row, "input": row["input"] + " Again."} for row in rows[3:]])
    gold = copy_of(
        "gold", lambda rows: [{**row, "gold": "Neutral" if row["gold"] != "Neutral" else "Entailment"} for row in rows]
    )
    result = compare_runs([first, some, gold], host)
    reasons = [found["reason"] for found in result["comparisons"]]
    assert reasons[0] == "the validation rows are not the same: 3 rows are in both, 5 in run A only, 5 in run B only"
    assert "8 of 8 rows that both files ask have different gold answers" in reasons[1]
    assert all("tasks" not in found for found in result["comparisons"])


def test_the_command_shows_what_differs_at_eighty_columns(first, copy_of, run_of, tmp_path, monkeypatch, capsys):
    paths = [str(first), str(copy_of("right", perfect)), str(run_of("small", lora={"r": 4}, seed=1))]
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    assert command(["compare", *paths]) == 0
    shown = capsys.readouterr().out
    tables = [line for line in shown.splitlines() if line[:1] in "│┃┡┏└├"]
    assert tables
    assert max(map(len, tables)) <= 80
    assert [line.split()[1:8:2] for line in tables if "lora.r" in line] == [["lora.r", "8", "8", "4"]]
    assert "loss of validation rows" in shown
    assert "training rows: not the same (by fingerprint)" in shown  # the seed draws others
    assert "losses of unlike rows, tokenizers or prompts cannot be held against each other" in shown
    assert "B against A, nli: better than run A" in shown
    assert "C against A: not tested; the validation rows are not the same" in shown
    page = tmp_path / "side by side.html"
    assert command(["compare", *paths[:2], "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"runs", "spec", "same", "comparisons"}
    assert found["spec"] == {}
    assert "<li>B against A, nli: better than run A" in page.read_text()
    assert "loss of validation rows" in page.read_text()


def test_a_run_by_itself_is_refused(host):
    with pytest.raises(SpecError, match="1 runs cannot be compared"):
        compare_runs(["one"], host)
