"""A real run keeps its record through every command, is done again to the bit, and what differs is named with figures."""

import json
import shutil

import pytest

from medtune import MedTuner, Run
from medtune.cli.app import run as command
from medtune.errors import DamagedArtifactError, DataError, SpecError
from medtune.plugins.host import create_host
from medtune.runs.folder import RunFolder
from medtune.runs.record.chain import read_chain
from medtune.runs.record.recording import recorded
from medtune.runs.record.writers import Writer
from medtune.testing.recorded_run import recorded_run
from medtune.workflow.baselines.baselines import kept_within
from medtune.workflow.compare_runs import compare_runs, write_page
from medtune.workflow.run_record import training_scope
from medtune.workflow.same_results import compare_results
from medtune.workflow.state import RunRequest

CHECKPOINT = "checkpoints/step-000002"


@pytest.fixture(scope="module")
def tuner(base, rows, tmp_path_factory):
    return MedTuner.from_defaults(
        model=str(base),
        data=rows,
        quant={"scheme": "none"},
        train={"max_length": 192, "num_train_epochs": None, "max_steps": 3, "save_strategy": "steps", "save_steps": 1}
        | {"save_total_limit": 2, "logging_steps": 1},
        eval={"rows_per_source": 2, "max_new_tokens": 4, "every": "never"},
        output_dir=str(tmp_path_factory.mktemp("recorded") / "run"),
    )


@pytest.fixture(scope="module")
def trained(tuner):
    tuner.train(quiet=True)
    return RunFolder(tuner.spec.output_dir).path


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def commands(path):
    return [line.change.command for line in read_chain(path).lines]


def kinds(path):
    return {problem.file: problem.kind for problem in Run.open(path).verify().problems}


def test_training_records_each_checkpoint_and_what_the_run_is_made_with(trained):
    found = Run.open(trained).verify()
    chain = read_chain(trained)
    assert (found.state, chain.run_id) == ("whole", RunFolder(trained).read()["run_id"])
    saved = [name for line in chain.lines for name in line.change.changed if name.endswith("MANIFEST.json")]
    assert saved == [f"checkpoints/step-00000{step}/MANIFEST.json" for step in (1, 2, 3)] + ["adapter/MANIFEST.json"]
    assert {name for line in chain.lines for name in line.change.removed} >= {"checkpoints/step-000001/MANIFEST.json"}
    assert set(chain.facts) == {"base", "fingerprints", "packages", "plugins"}
    assert set(chain.facts["base"]["parts"]) == {"way", "config", "tokenizer", "template", "weights"}
    assert len(chain.facts["packages"]["torch"][1]) == 64
    assert all(len(plugin["sha256"]) == 64 for plugin in chain.facts["plugins"])
    assert {"run.json", "log.jsonl", "given-rows.jsonl", "report.html", "evaluation/base.json"} < set(chain.files)


def test_every_command_that_writes_appends_and_the_run_verifies_after_it(copied, trained, capsys):
    before = len(commands(copied))
    opened = Run.open(copied)
    opened.evaluate(rows_per_source=1)  # other scores: what is written as it was leaves no line
    opened.report(show_texts=True)
    write_page(compare_runs([copied, trained], create_host()), copied / "compare.html")
    assert commands(copied)[before:] == ["evaluate", "report", "compare"]
    assert command(["verify", str(copied), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["whole"], found["state"], found["record"]["lines"]) == (True, "whole", before + 3)
    assert found["record"]["root"] == read_chain(copied).root


def test_the_command_signs_and_says_what_came_after(copied, tmp_path, capsys):
    pytest.importorskip("cryptography")
    key = tmp_path / "key"
    assert command(["sign", "--generate", str(key)]) == 0
    assert command(["sign", str(copied), "--key", str(key), "--json"]) == 0
    assert command(["verify", str(copied), "--key", f"{key}.pub"]) == 0
    assert "good, by key" in capsys.readouterr().out
    Run.open(copied).report(show_texts=True)
    assert command(["verify", str(copied), "--key", f"{key}.pub", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["signature"]["steps_after"] == ["report"]
    assert "1 steps came after it (report)" in found["error"]["message"]
    for wrong in (["sign"], ["sign", str(copied)], ["sign", str(copied), "--generate", str(key)]):
        assert command(wrong) == 2
    assert PRIVATE not in capsys.readouterr().err


PRIVATE = "PRIVATE KEY"


def test_a_foreign_checkpoint_a_removed_one_and_an_edited_score_are_named(copied, tmp_path, capsys):
    recorded_run(tmp_path / "other", {})
    shutil.copytree(tmp_path / "other" / "run" / "checkpoints" / "step-000003", copied / "checkpoints" / "step-000009")
    shutil.rmtree(copied / CHECKPOINT)
    scores = json.loads((copied / "evaluation" / "tuned.json").read_text())
    (copied / "evaluation" / "tuned.json").write_text(json.dumps({**scores, "tasks": {}}))
    found = kinds(copied)
    assert found["checkpoints/step-000009/MANIFEST.json"] == "added"
    assert found[f"{CHECKPOINT}/MANIFEST.json"] == "missing"
    assert found["evaluation/tuned.json"] == "truncated"
    assert command(["verify", str(copied)]) == 4
    told = capsys.readouterr()
    assert "missing " in told.out
    assert "more" in told.err


def test_a_run_of_an_earlier_medtune_verifies_as_before_and_gets_a_record_when_it_is_asked_for_again(copied, tuner):
    folder = RunFolder(copied)
    record = folder.read()
    del record["record"]
    folder._write(record)
    (copied / "record.jsonl").unlink()
    found = Run.open(copied).verify()
    assert (found.state, found.to_json()["record"]) == ("whole", None)
    assert "kept no record" in found.to_json()["unchecked"][0]
    spec = tuner.spec.model_copy_with(output_dir=str(copied))
    MedTuner(spec, rows=tuner._rows).train(quiet=True)
    found = Run.open(copied).verify()
    assert (found.state, found.to_json()["unchecked"]) == ("whole", [])
    assert read_chain(copied).run_id == record["run_id"]


def test_a_record_that_is_lost_is_missed_and_not_begun_anew(copied, tuner):
    (copied / "record.jsonl").unlink()
    for again in (copied, copied / ".." / "run"):
        with pytest.raises(DamagedArtifactError, match="the run kept a record"):
            MedTuner(tuner.spec.model_copy_with(output_dir=str(again)), rows=tuner._rows).train(quiet=True)
    assert kinds(copied) == {"record.jsonl": "missing"}


def test_a_plugin_of_others_adds_files_to_a_training_and_changes_none_of_another_command(copied, tuner):
    spec = tuner.spec.model_copy_with(
        output_dir=str(copied), train=tuner.spec.train.model_copy_with(report_to=("wandb",))
    )
    own, theirs = create_host(autoload=False), create_host([object()], autoload=False)
    (copied / "board.md").write_text("of another command")
    with recorded(copied, "sweep", ("board.md",)):
        (copied / "board.md").write_text("of another command, written")
    alone, beside = (
        Writer("", "", training_scope(RunRequest(spec, host, None)), {}, is_alive=True) for host in (own, theirs)
    )
    for name in ("run.json", "wandb/files/log", "checkpoints/step-000001/state.json", ".run.json.abcd_123.staging"):
        assert alone.may_write(name)
        assert beside.may_write(name)
    assert (alone.may_write("steps.csv"), beside.may_write("steps.csv")) == (False, True)
    for name in ("board.md", "export/merged/config.json", "notes/a"):
        assert not beside.may_write(name)
        assert not alone.may_write(name)


def test_encoders_that_a_baseline_keeps_in_its_run_are_recorded_and_in_no_other_run(copied, tmp_path):
    recorded_run(tmp_path / "second", {})
    assert kept_within(copied, tmp_path / "encoders") == kept_within(copied, None) == ()
    for place in (copied, copied / "adapter" / "encoders", tmp_path / "second" / "run" / "encoders"):
        with pytest.raises(SpecError, match="would lie in the run"):
            kept_within(copied, place)
    with recorded(copied, "baseline", ("evaluation/", *kept_within(copied, copied / "encoders" / "a"))):
        (copied / "encoders" / "a" / "rows").mkdir(parents=True)
        (copied / "encoders" / "a" / "rows" / "config.json").write_text("{}")
    assert Run.open(copied).verify().state == "whole"


def test_a_run_comes_out_again_to_the_bit(trained, tmp_path, capsys):
    assert command(["reproduce", str(trained), "--out", str(tmp_path / "again"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["equal"], found["differs"], found["made_with"]) == (True, [], {})
    assert (found["losses"]["equal_steps"], found["losses"]["steps"]) == (3, 3)
    assert found["adapter"]["sha256"][0] == found["adapter"]["sha256"][1]
    assert found["answers"]["tuned"] == {"rows": 1, "equal": 1, "only_in_one": 0}
    assert found["sentences"][0] == "packages, machine and plan are the same"


def test_what_did_not_come_out_equal_is_named_with_figures_and_what_it_was_made_with_first(trained, copied):
    folder = RunFolder(copied)
    record = folder.read()
    folder.update(
        plan={**record["plan"], "device": "H200"}, scores={}, fingerprints={**record["fingerprints"], "data": "other"}
    )
    lines = [json.loads(line) for line in (copied / "log.jsonl").read_text().splitlines()]
    lines[0]["loss"] += 0.25
    (copied / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    nudge(copied / "adapter" / "adapter_model.safetensors", 0.5)
    answers = copied / "evaluation" / "predictions-tuned.jsonl"
    first, *rest = answers.read_text().splitlines(keepends=True)
    answers.write_text("".join([json.dumps({**json.loads(first), "prediction": "another"}) + "\n", *rest]))
    found = compare_results(RunFolder(trained), folder)
    assert found["differs"] == ["data", "losses", "adapter", "answers", "scores"]
    assert found["made_with"]["device"] == ["CPU", "H200"]
    assert found["losses"]["equal_steps"] == 2
    assert found["losses"]["greatest_difference"] == pytest.approx(0.25)
    assert found["adapter"]["greatest_difference"] == pytest.approx(0.5)
    assert len(found["adapter"]["differing"]) == 1
    assert (found["answers"]["tuned"]["equal"], found["answers"]["base"]["equal"]) == (0, 1)
    assert list(found["scores"]["tasks"]) == ["nli"]
    assert found["sentences"][0] == "device: CPU then, H200 now"


def nudge(file, by):
    """Add to one value of one tensor."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    next(iter(tensors.values())).view(-1)[0] += by
    save_file(tensors, file)


def test_what_cannot_be_done_again_is_refused(copied):
    with pytest.raises(SpecError, match="is the run itself"):
        Run.open(copied).reproduce(copied)
    (copied / "given-rows.jsonl").unlink()
    with pytest.raises(DataError, match="were given in Python and not kept"):
        Run.open(copied).reproduce()
    RunFolder(copied).update(adopted={})
    with pytest.raises(SpecError, match="trained nothing that could be reproduced"):
        Run.open(copied).reproduce()
    RunFolder(copied).update("interrupted")
    with pytest.raises(SpecError, match="is interrupted; finish it"):
        Run.open(copied).reproduce()
