"""``medtune verify`` and ``report`` work on a run folder as it lies there, and load no machine learning library."""

import json
import subprocess
import sys
from contextlib import nullcontext

import pytest

from medtune.cli.app import run
from medtune.evaluation.comparison import compare
from medtune.evaluation.predictions import read_predictions, write_predictions
from medtune.evaluation.scoring import score_predictions
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import Example, Prediction
from medtune.plugins.host import create_host
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.runs.log import RunLog
from medtune.runs.store import publish
from medtune.specs import RunSpec

SECRET = "the patient Ada Lovelace coughs"


@pytest.fixture
def folder(tmp_path):
    """Return a finished run whose tuned model answers better than its base."""
    folder = RunFolder(tmp_path / "run")
    folder.create(RunSpec(seed=7).model_dump(mode="json"), {"steps": 1}, {})
    publish(folder.adapter_dir, lambda path: (path / "adapter.safetensors").write_bytes(b"values"))
    RunLog(folder.log_path).append({"step": 1, "loss": 2.0})
    folder.evaluation_dir.mkdir()
    answers = {name: keep_answers(folder, name, 12) for name in ("base", "tuned")}
    scores = {name: score_predictions(found, provide_tasks()) for name, found in answers.items()}
    found = compare(scores["base"], scores["tuned"], *answers.values(), tasks=create_host().all("task"), seed=7)
    folder.update("finished", comparison=found.to_json())
    return folder


def keep_answers(folder, name, rows):
    """Keep that many answers of a model in the evaluation folder, and their scores."""
    answers = [
        Prediction(
            Example(
                [
                    {"role": "user", "content": f"Sentence 1: {SECRET} {row}\nSentence 2: a"},
                    {"role": "assistant", "content": "Neutral"},
                ],
                task="nli",
                row_id=str(row),
            ),
            "Neutral" if name == "tuned" else "Contradiction",
        )
        for row in range(rows)
    ]
    write_predictions(folder.evaluation_dir / f"predictions-{name}.jsonl", answers)
    scores = score_predictions(answers, provide_tasks()).to_json()
    (folder.evaluation_dir / f"{name}.json").write_text(json.dumps(scores))
    return answers


def test_verify_says_what_is_whole(folder, capsys):
    assert run(["verify", str(folder.path), "--json"]) == 0
    whole = {"path": "adapter", "files": 1, "problem": ""}
    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["whole"], found["checked"]) == (str(folder.path), True, [whole])
    assert (found["record"], found["problems"]) == (None, [])
    assert "kept no record: only adapter and checkpoints are checked" in found["unchecked"][0]
    assert run(["verify", str(folder.path)]) == 0
    assert "whole, 1 files" in capsys.readouterr().out


def test_verify_ends_with_code_4_and_one_sentence_when_a_file_was_changed(folder, capsys):
    (folder.adapter_dir / "adapter.safetensors").write_bytes(b"valueZ")
    assert run(["verify", str(folder.path), "--json"]) == 4
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert not result["whole"]
    assert result["error"]["exit_code"] == 4
    assert "'adapter/adapter.safetensors' was changed" in err
    assert err == f"medtune: {result['error']['message']}\n"


def test_a_run_whose_process_was_killed_is_told_as_interrupted(folder, capsys):
    folder.update("running")
    assert run(["report", str(folder.path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] == "interrupted"
    assert err == f"medtune: run '{folder.path}' is interrupted; the report shows what it holds so far\n"
    run(["verify", str(folder.path), "--json"])
    assert json.loads(capsys.readouterr().out)["run_state"] == "interrupted"
    with RunLock(folder.path):
        run(["verify", str(folder.path), "--json"])
        assert json.loads(capsys.readouterr().out)["run_state"] == "running"


def test_the_report_leaves_texts_out_unless_they_are_asked_for(folder, capsys):
    assert run(["report", str(folder.path), "--json"]) == 0
    told = {"report": str(folder.path / "report.html"), "shows_texts": False, "state": "finished"}
    assert json.loads(capsys.readouterr().out) == told
    page = (folder.path / "report.html").read_text()
    assert SECRET not in page
    assert "Texts were left out" in page
    assert run(["report", str(folder.path), "--show-texts"]) == 0
    assert SECRET in (folder.path / "report.html").read_text()
    assert capsys.readouterr().out == f"{folder.path / 'report.html'}\n"
    spec = folder.read()["spec"]
    folder.update(spec={**spec, "eval": {**spec.get("eval", {}), "show_texts": True}})
    assert run(["report", str(folder.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shows_texts"]
    assert SECRET in (folder.path / "report.html").read_text()
    assert run(["report", str(folder.path), "--hide-texts"]) == 0
    assert SECRET not in (folder.path / "report.html").read_text()


def test_the_report_compares_what_is_kept_now(folder):
    assert run(["report", str(folder.path)]) == 0
    before = (folder.path / "report.html").read_text()
    record = folder.read()
    assert f"The tuned model is {record['comparison']['summary']}." in before
    folder.update(comparison={"tasks": {}, "summary": "stale"})
    assert run(["report", str(folder.path)]) == 0
    assert (folder.path / "report.html").read_text() == before


def test_a_base_that_answered_other_rows_is_left_out_and_the_report_says_so(folder):
    keep_answers(folder, "tuned", 5)
    assert run(["report", str(folder.path)]) == 0
    page = (folder.path / "report.html").read_text()
    assert "The base is left out: it was scored on other rows" in page
    assert "The tuned model is" not in page


def test_verify_and_report_load_no_machine_learning_library(folder):
    for command in ("verify", "report"):
        script = f"from medtune.cli.app import run; assert run([{command!r}, {str(folder.path)!r}]) == 0"
        check = "import sys; assert not {'torch', 'transformers', 'peft', 'trl', 'datasets'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", f"{script}; {check}"], check=True, capture_output=True)


def test_an_evaluation_is_put_into_words(folder, monkeypatch, capsys):
    from medtune.workflow.run import Run

    rows = read_predictions(folder.evaluation_dir / "predictions-tuned.jsonl")
    odd = Prediction(Example([{"role": "user", "content": "Hello"}], row_id="odd"), "")
    scored = score_predictions([*rows, odd], provide_tasks(), overlapping=["0", "1"]).to_json()
    verdicts = {"nli": {"verdict": "better than the base (+100.0 points)"}}
    result = {**scored, "base": scored, "comparison": {"tasks": verdicts}}
    monkeypatch.setattr(Run, "evaluate", lambda *_, **__: result)
    assert run(["evaluate", str(folder.path), "--baseline"]) == 0
    out = capsys.readouterr().out
    rate = next(line for line in out.splitlines() if "invalid_answer" in line)
    assert rate.count("0.000") == 3  # base, tuned, and where the interval of twelve rows begins
    assert "0.000 to 0.242" in rate
    assert out.splitlines()[-3:] == [
        "nli: better than the base (+100.0 points)",
        f"nli: accuracy 1.000 on the {len(rows) - 2} rows that do not also stand in the training rows",
        "rows that belong to no task and were not scored: 1",
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--chat-template"], "--chat-template needs --harness"),
        (["--limit", "3"], "--limit needs --harness"),
        (["--task-folder", "."], "--task-folder needs --harness"),
        (["--harness", "medmcqa", "--rows", "3"], "--rows does not go with --harness"),
        (["--harness", "medmcqa", "--paraphrases", "2"], "--paraphrases does not go with --harness"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(folder, capsys, options, sentence):
    assert run(["evaluate", str(folder.path), *options]) == 2
    assert capsys.readouterr().err == f"medtune: {sentence}\n"


def test_the_options_of_the_harness_reach_it(folder, monkeypatch, capsys, tmp_path):
    from medtune.evaluation import harness
    from medtune.plugins.contracts import Loaded
    from medtune.workflow.run import Run

    asked = []
    monkeypatch.setattr(Run, "loaded", Loaded(None, None, "cpu", "fp32", (), base_only=nullcontext))
    monkeypatch.setattr(harness, "run_harness", lambda _loaded, tasks, **how: (asked.append((tasks, how)), {})[1])
    options = ["--harness", "colours, medmcqa", "--baseline", "--limit", "3", "--chat-template"]
    assert run(["evaluate", str(folder.path), *options, "--task-folder", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"tuned": {}, "base": {}}
    assert asked == [(["colours", "medmcqa"], {"limit": 3, "chat": True, "folder": str(tmp_path)})] * 2
