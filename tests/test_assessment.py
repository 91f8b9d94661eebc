"""Closed questions are scored by their allowed answers when the spec asks for it, and the report shows it."""

import json

import pytest

from medtune import MedTuner
from medtune.errors import SpecError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed") / "run"
    options = {"rows_per_source": 2, "closed_answers": True, "max_new_tokens": 8}
    MedTuner.from_bundle("demo", train={"max_steps": 1}, eval=options, output_dir=str(folder)).train()
    return folder


def test_the_scores_hold_closed_questions_beside_the_free_answers(folder):
    for name in ("base", "tuned"):
        scores = json.loads((folder / "evaluation" / f"{name}.json").read_text())
        assert set(scores["closed"]) == {"nli", "qa", "relation"}
        for task, found in scores["closed"].items():
            assert 0 < found["rows"] <= scores["tasks"][task]["rows"]
            assert found["constrained"]["failures"]
            assert not any(found["constrained"]["failures"].values())
            assert 0 <= found["calibration"]["ece"] <= 1
        assert scores["closed"]["nli"]["free"]["metrics"] == scores["tasks"]["nli"]["metrics"]


def test_the_report_shows_them_side_by_side(folder):
    report = (folder / "report.html").read_text()
    assert '<section id="closed"><h2>Closed questions</h2>' in report
    assert all(f">{head}</th>" in report for head in ("free", "constrained", "most probable", "calibration error"))


def test_a_generator_without_probabilities_is_refused(folder, monkeypatch):
    from medtune.backends.generate import TransformersGenerator
    from medtune.run import Run

    monkeypatch.delattr(TransformersGenerator, "log_probabilities")
    with pytest.raises(SpecError, match=r"which eval\.backend 'transformers' cannot give"):
        Run.open(folder).evaluate()


def test_the_rows_are_asked_again_in_other_words(folder):
    from medtune.run import Run

    run = Run.open(folder)
    asked = []
    result = run.evaluate(rows_per_source=1, wordings=2)
    for task, found in result["wordings"].items():
        assert len(found["values"]) == 2
        assert found["values"][0] == result["tasks"][task]["metrics"][found["metric"]]
        assert found["lowest"] <= found["mean"] <= found["highest"]
        asked.append(task)
    assert sorted(asked) == sorted(result["tasks"])
    kept = json.loads((run.path / "evaluation" / "wordings.json").read_text())
    assert kept == {"rows": kept["rows"], "tasks": result["wordings"]}
    assert kept["rows"] == sum(task["rows"] for task in result["tasks"].values())
    assert "wordings" not in run.evaluate(rows_per_source=1)
