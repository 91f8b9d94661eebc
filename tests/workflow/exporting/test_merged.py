"""A merged model is the tuned model, whatever the adapter and the storage of its base, or is refused."""

import json
import logging
import shutil
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medtune import MedTuner
from medtune.cli.app import run as command
from medtune.errors import SpecError, UnknownNameError, UnsafeArtifactError
from medtune.export import merged
from medtune.plugins.host import create_host
from medtune.workflow.exporting import export
from medtune.workflow.exporting.refusal import RefusedExportError
from medtune.workflow.run import Run

LONG = [("fp8", {}), ("none", {"use_rslora": True, "init": "pissa"}), ("nf4", {"bias": "all", "use_dora": True})]

pytestmark = pytest.mark.filterwarnings("ignore:.*MatMul8bitLt.*")


def test_a_merged_model_is_proved_by_plain_transformers(trained, tmp_path):
    exported = trained().export("merged", tmp_path / "out", score=True)
    proof = exported.facts["proof"]
    assert exported.state == "proved"
    assert proof["equal"] == proof["prompts"] > proof["validation_prompts"] > 0
    assert proof["relative_error"] < 1e-5
    assert proof["told_apart"]
    assert proof["prompts_equal"] == proof["conversations"] > 0
    score = next(iter(proof["scores"]["artifact"].values()))
    assert score["rows"] == 4
    assert proof["scores"]["difference"]["nli"]["difference"] == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"greedy answers equal | {proof['equal']} of {proof['prompts']} prompts" in card
    assert "nli, artifact less adapter | +0.000, 4 rows" in card
    written = json.loads((tmp_path / "out" / "export.json").read_text())
    assert written["proof"] == proof
    assert written["state"] == "proved"
    assert (
        "Patient" not in (tmp_path / "out" / "export.json").read_text() + (tmp_path / "out" / "README.md").read_text()
    )
    assert str(tmp_path) not in (tmp_path / "out" / "export.json").read_text()
    assert "'.'" in written["usage"][0]  # the folder's own name is that of a staging folder while it is written
    assert "exporting" not in card + json.dumps(written["usage"])
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "out" / "export.json").stat().st_mode) == 0o600


def test_an_export_names_the_state_of_its_run_and_verifies_on_its_own(trained, tmp_path, capsys):
    run = trained()
    exported = run.export("merged", tmp_path / "out", prove=False)
    run.export("merged", prove=False)
    assert run.verify().state == "whole"
    assert "export/merged/export.json" in run.verify().record.chain.files
    assert command(["verify", str(exported.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    line = run.verify().record.chain.lines[found["of"]["line"] - 1]
    assert (found["whole"], found["of"]["root"], found["of"]["head"]) == (True, line.root, line.digest)
    (exported.path / "config.json").write_text("{}")
    assert command(["verify", str(exported.path)]) == 4
    assert "'config.json' has 2 bytes instead of" in capsys.readouterr().err
    assert command(["verify", str(exported.path), "--key", "key.pub"]) == 2


def test_an_adapter_whose_base_is_named_by_a_relative_path_is_proved_from_any_folder(base, rows, tmp_path, monkeypatch):
    shutil.copytree(base, tmp_path / "near")
    monkeypatch.chdir(tmp_path)
    train = {"max_length": 192, "num_train_epochs": None, "max_steps": 3, "learning_rate": 5e-3}
    spec = MedTuner.from_defaults(
        model="near", data={"source": "rows", "validation_fraction": 0.3}, quant={"scheme": "none"}, train=train,
        eval={"rows_per_source": 2, "max_new_tokens": 4, "enabled": False}, output_dir="run",
    ).spec  # fmt: skip
    assert MedTuner(spec, rows=rows).train().export("sglang", tmp_path / "out").state == "proved"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("scheme", "lora"),
    [("nf4", {}), ("none", {"use_dora": True}), *(pytest.param(*each, marks=pytest.mark.proof) for each in LONG)],
)  # fmt: skip
def test_every_adapter_on_every_storage_merges_into_what_it_was_trained_on(trained, tmp_path, scheme, lora):
    proof = trained(scheme, **lora).export("merged", tmp_path / "out", dtype="fp32").facts["proof"]
    assert proof["equal"] == proof["prompts"]
    assert proof["relative_error"] < 1e-5


@pytest.mark.usefixtures("here")
def test_the_original_base_is_a_choice_with_its_own_agreement(trained, tmp_path):
    exported = trained("nf4").export("merged", tmp_path / "out", source="original", dtype="bf16")
    assert exported.facts["source"] == "original"
    assert exported.state == "proved"
    assert exported.facts["proof"]["relative_error"] > 1e-3


def test_an_unproved_artifact_says_so(trained, tmp_path):
    exported = trained().export("merged", tmp_path / "out", prove=False)
    assert exported.state == json.loads((tmp_path / "out" / "export.json").read_text())["state"] == "unproved"
    assert "was not proved" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.usefixtures("here")
def test_a_wrong_merge_is_put_aside_and_never_done(trained, tmp_path, monkeypatch, capsys):
    run = trained()
    monkeypatch.setattr(merged.TunedWeights, "read", merged.TunedWeights.base)  # the adapter is left out
    assert command(["export", str(run.path), "--to", "merged", "--out", str(tmp_path / "out"), "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == RefusedExportError.__name__
    assert not (tmp_path / "out").exists()
    kept = json.loads((tmp_path / "out-refused" / "export.json").read_text())
    assert kept["state"] == "refused"
    assert kept["proof"]["problems"]
    assert "Do not use it" in (tmp_path / "out-refused" / "README.md").read_text()


def test_what_cannot_be_loaded_is_put_aside_too(trained, tmp_path, monkeypatch, capsys):
    run, write = trained(), merged.MergedExporter.export

    def cut(self, source, target, options):
        exported = write(self, source, target, options)
        (target / "model.safetensors").write_bytes((target / "model.safetensors").read_bytes()[:-9])
        return exported

    monkeypatch.setattr(merged.MergedExporter, "export", cut)
    assert command(["export", str(run.path), "--to", "merged", "--out", str(tmp_path / "out"), "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["type"] == RefusedExportError.__name__
    assert not (tmp_path / "out").exists()
    kept = json.loads((tmp_path / "out-refused" / "export.json").read_text())
    assert kept["state"] == "refused"
    assert "cannot be loaded" in kept["proof"]["problems"][0]
    assert "Do not use it" in (tmp_path / "out-refused" / "README.md").read_text()


@pytest.mark.usefixtures("here")
def test_an_artifact_that_fails_while_it_is_scored_is_put_aside_too(trained, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise UnsafeArtifactError("the artifact cannot be loaded")

    monkeypatch.setattr(export, "scored_again", fail)
    with pytest.raises(RefusedExportError):
        trained().export("merged", tmp_path / "out", score=True)
    assert json.loads((tmp_path / "out-refused" / "export.json").read_text())["state"] == "refused"


@pytest.mark.usefixtures("here")
def test_shards_and_one_file_hold_the_same(trained, tmp_path, monkeypatch):
    run = trained()
    run.export("merged", tmp_path / "one", prove=False)
    monkeypatch.setattr(merged, "_SHARD_BYTES", 100_000)
    assert run.export("merged", tmp_path / "many").state == "proved"
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())["weight_map"]
    whole = load_file(tmp_path / "one" / "model.safetensors")
    assert index.keys() == whole.keys()
    assert len(set(index.values())) > 2
    for name, file in index.items():
        assert torch.equal(load_file(tmp_path / "many" / file)[name], whole[name])


def test_what_no_exporter_knows_is_refused(trained, tmp_path):
    run = trained()
    with pytest.raises(UnknownNameError, match="did you mean 'merged'"):
        run.export("merge")
    with pytest.raises(UnknownNameError, match="did you mean 'dtype'"):
        run.export("merged", tmp_path / "out", dtyp="bf16")
    with pytest.raises(UnknownNameError, match="bf16"):
        run.export("merged", tmp_path / "out", dtype="bf61")
    with pytest.raises(SpecError, match="needs the proof"):
        run.export("merged", tmp_path / "out", score=True, prove=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(SpecError, match="something else"):
        run.export("merged", tmp_path / "mine")
    assert command(["export", str(run.path), "--to", "merged", "--set", "rows=1"]) == 2
    assert command(["export", str(run.path), "--to", "merged", "--set", "dtype"]) == 2
    assert not (tmp_path / "out").exists()


def test_another_base_than_the_runs_is_refused_before_anything_is_written(trained, base, tmp_path):
    run = trained()
    moved = shutil.copytree(base, tmp_path / "base")
    values = load_file(base / "model.safetensors")
    values["model.norm.weight"] = values["model.norm.weight"] * 2
    held = base.with_name("held")
    base.rename(held)
    try:
        shutil.copytree(moved, base)
        save_file(values, base / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UnsafeArtifactError, match="another base"):
            run.export("merged", tmp_path / "out")
    finally:
        shutil.rmtree(base)
        held.rename(base)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("here")
def test_an_exporter_of_a_plugin_is_proved_like_medtunes_own(trained, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text()
    block = next(text for text in page.split("```python\n") if "class AdapterWithNote" in text).partition("```")[0]
    space = {}
    exec(block, space)  # noqa: S102 - the plugin of the documents
    run = Run.open(trained().path, plugins=create_host([space["Plugin"]()], autoload=False))
    exported = run.export("adapter-with-note", tmp_path / "out")
    assert exported.state == "proved"
    assert (tmp_path / "out" / "note.json").is_file()


def test_the_command_leaves_the_log_as_it_was(trained, tmp_path):
    log = logging.getLogger("medtune.workflow.exporting")
    before = list(log.handlers), log.level, log.propagate
    assert command(["export", str(trained().path), "--to", "no-such", "--out", str(tmp_path / "out")]) == 2
    assert (list(log.handlers), log.level, log.propagate) == before
