"""A run whose adapter, tokenizer, contract or base is not what it trained is refused by the check meant for it."""

import json
import logging
import shutil
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from medtune import MedTuner
from medtune.backends import attached
from medtune.errors import (
    BaseUnsuitedError,
    DamagedArtifactError,
    StorageError,
    UnsafeAdapterError,
    UnsafeArtifactError,
)
from medtune.plugins.host import create_host
from medtune.runs import adapter_files
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import MANIFEST, file_digest, seal_folder
from medtune.workflow import opening
from medtune.workflow.run import Run

QUICK = {"train": {"max_steps": 1, "max_length": 192, "num_train_epochs": None}, "eval": {"enabled": False}}


@pytest.fixture(scope="module")
def trained(base, rows, tmp_path_factory):
    """Return what trains a run of the tiny base once, and gives a copy of it each time."""
    made = {}
    root = tmp_path_factory.mktemp("trained")

    def of(**lora):
        name = "-".join(f"{key}{value}" for key, value in sorted(lora.items())) or "plain"
        if name not in made:
            made[name] = root / name
            spec = MedTuner.from_defaults(
                model=str(base), data={"source": "rows", "validation_fraction": 0.2}, quant={"scheme": "none"}, lora={"r": 4, **lora},
                output_dir=str(made[name]), **QUICK,
            ).spec  # fmt: skip
            MedTuner(spec, rows=rows).train()
        return made[name]

    return of


@pytest.fixture
def run_of(trained, tmp_path):
    return lambda **lora: RunFolder(shutil.copytree(trained(**lora), tmp_path / "run"))


def seal(folder):
    """Make manifest and record fit what the adapter holds now, as whoever changed it on purpose would."""
    seal_folder(folder.adapter_dir, {})
    folder.update(adapter={"manifest": file_digest(folder.adapter_dir / MANIFEST)})


def load(folder):
    return Run.open(folder.path, plugins=create_host(autoload=False)).loaded


def config(**changes):
    def damage(adapter):
        file = adapter / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return damage


def tensors(change):
    def damage(adapter):
        file = adapter / "adapter_model.safetensors"
        values = load_file(file)
        change(values)
        save_file(values, file)

    return damage


def text(name, content):
    return lambda adapter: (adapter / name).write_bytes(content)


def edited(name, change):
    def damage(adapter):
        values = json.loads((adapter / name).read_text())
        change(values)
        (adapter / name).write_text(json.dumps(values))

    return damage


def without(name):
    return lambda adapter: (adapter / name).unlink()


def linked(adapter):
    target = adapter.parent / "elsewhere.json"
    (adapter / "adapter_config.json").rename(target)
    (adapter / "adapter_config.json").symlink_to(target)


def header_too_long(adapter):
    (adapter / "adapter_model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")


def cut_short(adapter):
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])


PREFIX = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{PREFIX}.lora_A.weight", f"{PREFIX}.lora_B.weight"


def set_first(value):
    def change(values):
        values[A].flat[0] = value

    return change


def lower_rank(values):
    values[B] = np.ascontiguousarray(values[B][:, :2])


def add(name, shape):
    return lambda values: values.update({name: np.ones(shape, np.float32)})


def other_width(values):
    """Fits its rank, and not the base."""
    values[A] = np.ones((4, 48), np.float32)


def exchange(vocabulary, one, other):
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]


def whole_layer_gone(adapter):
    """Gone from tensors and targets alike, so that only the base can tell."""
    tensors(lambda values: (values.pop(A), values.pop(B)))(adapter)
    edited("adapter_config.json", lambda c: c["target_modules"].remove("model.layers.0.self_attn.q_proj"))(adapter)


BROKEN = {
    "a link": ("links", linked),
    "a pickle instead": ("code", lambda a: (a / "adapter_model.safetensors").rename(a / "adapter_model.bin")),
    "a pickle beside": ("code", text("adapter_model.bin", b"\x80\x04.")),
    "a module beside": ("code", text("modeling_own.py", b"import os")),
    "no configuration": ("files", without("adapter_config.json")),
    "a configuration that is a list": ("files", text("adapter_config.json", b"[]")),
    "a configuration nested without end": ("files", text("adapter_config.json", b"[" * 100_000)),
    "no tensors": ("files", without("adapter_model.safetensors")),
    "tensors cut short": ("files", cut_short),
    "a header without end": ("files", header_too_long),
    "no tokenizer": ("files", without("tokenizer.json")),
    "attention from a repository": ("remote", config(_attn_implementation="someone/kernel")),
    "attention named without underscore": ("remote", config(corda_config={"attn_implementation": "someone/kernel"})),
    "a mapping to a class": ("remote", config(auto_mapping={"base_model_class": "Own", "parent_library": "own"})),
    "a tokenizer of its own code": (
        "remote",
        edited("tokenizer_config.json", lambda c: c.update(auto_map={"AutoTokenizer": ["own.Own", None]})),
    ),
    "another kind of adapter": ("kind", config(peft_type="IA3")),
    "an unknown kind of adapter": ("kind", config(peft_type="OWN")),
    "another base": ("base", config(base_model_name_or_path="someone/base")),
    "another rank in the configuration": ("settings", config(r=8)),
    "another scale": ("settings", config(lora_alpha=64)),
    "DoRA in the configuration alone": ("settings", config(use_dora=True)),
    "a pattern of scales": ("settings", config(alpha_pattern={"q_proj": 64})),
    "whole modules to replace": ("settings", config(modules_to_save=["lm_head"])),
    "an initialisation that changes the base": ("settings", config(init_lora_weights="pissa")),
    "targets as a pattern": ("targets", config(target_modules=".*")),
    "a target without tensors": ("targets", edited("adapter_config.json", lambda c: c["target_modules"].append("lm_head"))),
    "a weight of the base": ("tensors", tensors(add("base_model.model.lm_head.weight", (258, 64)))),
    "a norm of the base": ("tensors", tensors(add("base_model.model.model.norm.weight", (64,)))),
    "a bias that was not trained": ("tensors", tensors(add(f"{PREFIX}.base_layer.bias", (64,)))),
    "a factor missing": ("tensors", tensors(lambda values: values.pop(B))),
    "a factor of a lower rank": ("ranks", tensors(lower_rank)),
    "a value that is not a number": ("values", tensors(set_first(np.nan))),
    "an infinite value": ("values", tensors(set_first(-np.inf))),
    "values that are integers": ("values", tensors(lambda values: values.update({A: values[A].astype(np.int32)}))),
    "no contract": ("contract", without("prompt_contract.json")),
    "a contract of no form": ("contract", text("prompt_contract.json", b'{"format": 9}')),
    "another template": ("prompt", edited("prompt_contract.json", lambda c: c.update(template_sha256="0" * 64))),
    "another stop id": ("prompt", edited("prompt_contract.json", lambda c: c.update(stop_ids=[*c["stop_ids"], 7]))),
    "a stop id less": ("prompt", edited("prompt_contract.json", lambda c: c.update(stop_ids=[]))),
    "another pad token": ("prompt", edited("prompt_contract.json", lambda c: c["special_tokens"].update(pad=["x", 3]))),
    "another sample": ("prompt", edited("prompt_contract.json", lambda c: c["samples"][0]["input_ids"].append(3))),
    "a tokenizer with another vocabulary": (
        "tokenizer",
        edited("tokenizer.json", lambda t: exchange(t["model"]["vocab"], "a", "b")),
    ),
    "a tokenizer with another template": ("tokenizer", text("chat_template.jinja", b"{{ messages[0]['content'] }}<end>")),
    "a tokenizer that is none": ("tokenizer", text("tokenizer.json", b'{"model": {}}')),
    "a layer that is not adapted": ("names", whole_layer_gone),
    "a factor that fits no layer": ("shapes", tensors(other_width)),
}  # fmt: skip


def found(folder, *, in_memory=True):
    """Return what refuses a run, None for a run that is opened."""
    try:
        if in_memory:
            load(folder)
        else:
            opening.check_adapter(folder, folder.read(), Run.open(folder.path).spec)
    except UnsafeAdapterError as error:
        assert error.exit_code == 4
        return error.check
    return None


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_adapter_is_refused_by_the_check_meant_for_it(run_of, name):
    check, damage = BROKEN[name]
    folder = run_of()
    damage(folder.adapter_dir)
    if check != "links":  # which cannot be sealed
        seal(folder)
    else:
        (folder.adapter_dir / MANIFEST).unlink()
        folder.update(adapter={})
    assert found(folder, in_memory=check not in adapter_files.FILE_CHECKS) == check


@pytest.mark.parametrize("check", adapter_files.FILE_CHECKS)
def test_without_a_check_what_it_is_for_gets_past_it(run_of, monkeypatch, check):
    cases = [damage for meant, damage in BROKEN.values() if meant == check]
    others = {name: made for name, made in adapter_files.FILE_CHECKS.items() if name != check}
    folder = run_of()
    cases[0](folder.adapter_dir)
    spec = Run.open(folder.path).spec
    with pytest.raises(UnsafeAdapterError) as caught:
        opening.check_files(folder.adapter_dir, spec)
    assert caught.value.check == check
    monkeypatch.setattr(adapter_files, "FILE_CHECKS", others)
    try:
        opening.check_files(folder.adapter_dir, spec)
    except UnsafeAdapterError as error:
        assert check == "files" or error.check != check  # a later one may see it too


@pytest.mark.parametrize(
    ("where", "part", "name"),
    [
        (opening, "check_contract", "another template"),
        (opening, "check_tokenizer", "a tokenizer with another template"),
        (attached, "_require_names", "a layer that is not adapted"),
    ],
)
def test_without_the_comparison_what_it_is_for_gets_past(run_of, monkeypatch, where, part, name):
    folder = run_of()
    check, damage = BROKEN[name]
    damage(folder.adapter_dir)
    seal(folder)
    assert found(folder) == check
    monkeypatch.setattr(where, part, lambda *_: [])
    assert found(folder) is None


def test_without_the_manifest_a_changed_card_gets_past(run_of, monkeypatch):
    folder = run_of()
    (folder.adapter_dir / "README.md").write_text("other")
    with pytest.raises(DamagedArtifactError, match="README"):
        found(folder, in_memory=False)
    monkeypatch.setattr(opening, "verify_adapter", lambda *_: [])
    assert found(folder, in_memory=False) is None


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "README.md", "prompt_contract.json", "tokenizer.json"])
def test_a_flipped_byte_is_refused_by_the_manifest(run_of, name):
    folder = run_of()
    content = bytearray((folder.adapter_dir / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder.adapter_dir / name).write_bytes(content)
    with pytest.raises(DamagedArtifactError, match=f"'{name}' was changed"):
        load(folder)


def test_a_manifest_that_was_made_anew_is_not_the_one_that_the_run_recorded(run_of):
    folder = run_of()
    config(lora_dropout=0.9)(folder.adapter_dir)
    seal_folder(folder.adapter_dir, {})
    with pytest.raises(DamagedArtifactError, match="is not the one that the run recorded"):
        load(folder)


def test_an_adapter_folder_that_is_a_link_is_refused(run_of):
    folder = run_of()
    folder.adapter_dir.rename(folder.path / "elsewhere")
    folder.adapter_dir.symlink_to(folder.path / "elsewhere")
    with pytest.raises(UnsafeArtifactError, match="is a link"):
        load(folder)


def test_another_base_in_the_same_place_is_refused(run_of, base, tmp_path, monkeypatch):
    folder = run_of()
    other = shutil.copytree(base, tmp_path / "other")
    spec = folder.read()["spec"]
    folder.update(spec={**spec, "model": {**spec["model"], "path": str(other)}})
    assert found(folder) is None
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(UnsafeArtifactError, match="trained on another base"):
        load(folder)
    monkeypatch.setattr(opening, "check_base", lambda *_: None)
    assert found(folder) is None


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_dora": True},
        {"init": "olora", "use_rslora": True},
        {"bias": "all"},
        *(
            pytest.param(lora, marks=pytest.mark.proof)
            for lora in (
                {"use_rslora": True},
                {"init": "pissa"},
                {"init": "gaussian", "target_modules": ("q_proj", "v_proj")},
                {"init": "orthogonal", "alpha": 7.5},
                {"bias": "lora_only", "dropout": 0},
            )
        ),
    ],
    ids=str,
)
def test_a_whole_run_is_opened_and_nothing_is_said(run_of, caplog, lora):
    with caplog.at_level(logging.WARNING, "medtune"):
        assert found(run_of(**lora)) is None
    assert [r.message for r in caplog.records if "earlier medtune" in r.message] == []


@pytest.mark.parametrize("kept", ["no record of the manifest", "no manifest", "a contract of format 1"])
def test_a_run_of_an_earlier_medtune_is_opened_and_what_was_not_checked_is_said(run_of, caplog, kept):
    folder = run_of()
    if kept == "a contract of format 1":
        edited("prompt_contract.json", lambda c: (c.pop("special_tokens"), c.update(format=1)))(folder.adapter_dir)
        seal(folder)
    else:
        folder.update(adapter={})
    if kept == "no manifest":
        (folder.adapter_dir / MANIFEST).unlink()
    with caplog.at_level(logging.WARNING, "medtune"):
        assert found(folder) is None
    said = [record.getMessage() for record in caplog.records if "earlier medtune" in record.getMessage()]
    assert len(said) == 1
    assert {
        "no manifest": "no list",
        "no record of the manifest": "does not name it",
        "a contract of format 1": "special",
    }[kept] in said[0]


def test_a_run_without_an_adapter_says_so(run_of):
    folder = run_of()
    shutil.rmtree(folder.adapter_dir)
    folder.update("interrupted")
    with pytest.raises(StorageError, match="is interrupted and has no adapter yet"):
        load(folder)


def test_a_base_that_was_moved_is_found_by_its_contents_wherever_it_lies(trained, base, tmp_path, monkeypatch):
    folder = RunFolder(shutil.copytree(trained(), tmp_path / "run"))
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copytree(base, tmp_path / "elsewhere" / "base")
    record = folder.read()
    record["spec"]["model"] = {**record["spec"]["model"], "path": "models/base", "name": "models/base"}
    folder.update(**record)
    config(base_model_name_or_path="models/base")(folder.adapter_dir)  # as made by a relative path
    seal(folder)
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(BaseUnsuitedError, match=r"'models/base' is no folder; .*--base FOLDER"):
        _ = Run.open(folder.path).loaded
    Run.open(folder.path).report()
    asked = [{"role": "user", "content": "Sentence 1: a\nSentence 2: b"}]
    answers = {Run.open(folder.path, base=where).generate(asked, 4) for where in (moved, "base")}
    assert len(answers) == 1
    shutil.copy(base / "config.json", moved)
    (moved / "config.json").write_text((base / "config.json").read_text() + " ")
    with pytest.raises(UnsafeArtifactError, match="its config differ"):
        _ = Run.open(folder.path, base=moved).loaded
