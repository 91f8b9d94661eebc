"""An adapter that others trained becomes a run: proved on its base, scored beside it, opened like any other; or it is refused."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from medtune import MedTuner, Run, adopt
from medtune.errors import DataError, SpecError, StorageError, UnsafeAdapterError
from medtune.machine.libraries import quiet_libraries

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture
def data(rows, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def adapter(base, tmp_path):
    """Return what saves an adapter by plain peft, as another trainer would, with values that matter."""

    @quiet_libraries()
    def save(**options):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        wanted = {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "down_proj"],
            "task_type": "CAUSAL_LM",
        } | options
        tuned = get_peft_model(model, LoraConfig(**wanted))
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in tuned.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, 0.5)
        folder = tmp_path / "theirs"
        tuned.save_pretrained(folder)
        ids = torch.arange(5, 25)[None]
        return folder, tuned.eval()(input_ids=ids).logits.detach()

    return save


def spec_of(base, data, tmp_path, **parts):
    return MedTuner.from_defaults(
        model=str(base),
        data={"source": str(data), "validation": str(data)},
        quant={"scheme": "none"},
        eval={"rows_per_source": 2, "max_new_tokens": 4},
        output_dir=str(tmp_path / "run"),
        **parts,
    ).spec


def change_config(folder, **values):
    file = folder / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


KINDS = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True},
    "dora": {"use_dora": True},
    "some layers": {"layers_to_transform": [0]},
    "a pattern": {"target_modules": r".*\.(q_proj|o_proj)"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_plain_peft_becomes_a_run_with_the_same_logits(adapter, base, data, tmp_path, kind):
    folder, wanted = adapter(**KINDS[kind])
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 7, "log_history": ["a patient's text"]}))
    (folder / "training_args.bin").write_bytes(b"a pickle")
    told = []
    run = adopt(folder, spec_of(base, data, tmp_path), on_stage=told.append)
    assert run.state == "finished"
    assert run.spec.lora.r == 4
    assert set(run.metrics["scores"]) == {"nli"}
    found = Run.open(run.path).loaded.model(input_ids=torch.arange(5, 25)[None]).logits
    assert torch.allclose(found, wanted, atol=1e-5)
    record = json.loads((run.path / "run.json").read_text())
    assert record["adopted"]["trainer_state"] == {"global_step": 7}
    assert record["adopted"]["not_read"] == ["training_args.bin"]
    assert not list(run.path.rglob("*.bin"))
    assert "a patient's text" not in (run.path / "run.json").read_text()
    assert [checked.problem for checked in run.verify()] == [""]
    assert (run.verify().state, run.verify().record.chain.lines[-1].change.command) == ("whole", "adopt")
    assert "Trained elsewhere" in (run.adapter_dir / "README.md").read_text()
    assert "trained elsewhere" in (run.path / "report.html").read_text()
    assert "scoring the adapter" in told


TRAINERS = {
    "unsloth": {
        "config": {
            "base_model_name_or_path": "unsloth/mistral-7b-bnb-4bit",
            "auto_mapping": {
                "base_model_class": "MistralForCausalLM",
                "parent_library": "transformers.models.mistral.modeling_mistral",
                "unsloth_fixed": True,
            },
            "lora_dropout": 0, "loftq_config": {}, "peft_version": "0.17.1",
        },
        "files": {"README.md": "---\ntags:\n- unsloth\n---\n", "special_tokens_map.json": "{}"},
        "pickles": ["training_args.bin"],
    },
    "Axolotl": {
        "config": {
            "base_model_name_or_path": "mistralai/Mistral-7B-v0.1", "fan_in_fan_out": None, "lora_bias": False,
            "modules_to_save": None, "layers_pattern": None, "peft_version": "0.17.0",
        },
        "files": {"README.md": "---\ntags:\n- axolotl\n---\n", "config.json": "", "runs/events.out.tfevents.1": "x"},
        "pickles": ["adapter_model.bin", "training_args.bin"],
    },
    "LLaMA-Factory": {
        "config": {
            "base_model_name_or_path": "/mnt/weights/Mistral-7B", "alpha_pattern": {}, "rank_pattern": {}, "megatron_config": None,
            "megatron_core": "megatron.core", "layer_replication": None, "exclude_modules": None,
        },
        "files": {
            "README.md": "---\ntags:\n- llama-factory\n---\n", "all_results.json": "{}", "train_results.json": "{}",
            "trainer_log.jsonl": "{}\n", "training_loss.png": "x", "llamaboard_config.yaml": "top.lang: en\n",
            "training_args.yaml": "stage: sft\n", "running_log.txt": "a patient's text", "checkpoint-7/adapter_config.json": "{}",
        },
        "pickles": ["training_args.bin"],
    },
}  # fmt: skip
"""What these trainers leave beside an adapter and write into its configuration, as their published adapters show it."""


@pytest.mark.parametrize("trainer", TRAINERS)
def test_an_adapter_as_its_trainer_leaves_it_is_adopted_and_what_lies_beside_is_named(
    adapter, base, data, tmp_path, trainer
):
    left = TRAINERS[trainer]
    folder, wanted = adapter()
    change_config(folder, **left["config"])
    for name, text in left["files"].items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text((base / name).read_text() if name == "config.json" else text)
    for name in left["pickles"]:
        (folder / name).write_bytes(b"\x80\x04a pickle that must never be opened")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)  # with chat_template.jinja
    state = {"global_step": 7, "epoch": 1.0, "log_history": [{"loss": 1.0}]}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    told = []
    run = adopt(folder, spec_of(base, data, tmp_path), on_stage=told.append)
    found = run.loaded.model(input_ids=torch.arange(5, 25)[None]).logits
    assert torch.allclose(found, wanted, atol=1e-5)
    adopted = json.loads((run.path / "run.json").read_text())["adopted"]
    assert adopted["base_model_name_or_path"] == left["config"]["base_model_name_or_path"]
    assert adopted["trainer_state"] == {"global_step": 7, "epoch": 1.0}
    assert adopted["not_read"] == sorted(left["pickles"])
    beside = {name.split("/")[0] + "/" * ("/" in name) for name in left["files"]}
    assert beside <= set(adopted["left_aside"])
    assert any(f"call its base '{left['config']['base_model_name_or_path']}'" in said for said in told)
    assert any("pickles, which are not read: " in said for said in told)
    kept = json.loads((run.adapter_dir / CONFIG).read_text())
    assert "auto_mapping" not in kept
    assert not list(run.path.rglob("*.bin"))
    assert "a patient's text" not in (run.path / "run.json").read_text()


def test_a_folder_of_checkpoints_alone_names_one(adapter, base, data, tmp_path):
    folder, _ = adapter()
    folder.rename(tmp_path / "checkpoint-7")
    folder.mkdir()
    (tmp_path / "checkpoint-7").rename(folder / "checkpoint-7")
    with pytest.raises(UnsafeAdapterError, match="name one, as 'checkpoint-7'"):
        adopt(folder, spec_of(base, data, tmp_path))


def test_the_template_beside_the_adapter_decides_the_prompts(adapter, base, data, tmp_path):
    folder, _ = adapter()
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = tokenizer.chat_template.replace("': '", "' says: '").replace(
        "assistant:", "assistant says:"
    )
    tokenizer.save_pretrained(folder)
    told = []
    run = adopt(folder, spec_of(base, data, tmp_path), on_stage=told.append)
    assert any("template that lies beside the adapter" in said for said in told)
    contract = json.loads((run.adapter_dir / "prompt_contract.json").read_text())
    assert "says:" in contract["chat_template"]
    (run.path / "chat_template.jinja").unlink()  # the adapter keeps its own
    assert isinstance(Run.open(run.path).generate([{"role": "user", "content": "Hi"}], 2), str)


def renamed(old, new):
    def damage(folder):
        tensors = load_file(folder / WEIGHTS)
        save_file({name.replace(old, new): tensor for name, tensor in tensors.items()}, folder / WEIGHTS)

    return damage


def emptied(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({n: torch.zeros_like(t) if "lora_B" in n else t for n, t in tensors.items()}, folder / WEIGHTS)


def one_lost(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file(dict(list(tensors.items())[1:]), folder / WEIGHTS)


def a_layer_lost(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({name: tensor for name, tensor in tensors.items() if "layers.1." not in name}, folder / WEIGHTS)


def overflowing(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({name: tensor * 1e30 for name, tensor in tensors.items()}, folder / WEIGHTS)


def not_a_number(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({name: tensor * float("nan") for name, tensor in tensors.items()}, folder / WEIGHTS)


REFUSED = {
    "names of a compiled model": ("names", renamed("base_model.model.", "base_model.model._orig_mod.")),
    "names without peft's prefix": ("names", renamed("base_model.model.", "")),
    "layers that the base has not": ("names", renamed("layers.1.", "layers.9.")),
    "values of nothing": ("effect", emptied),
    "a tensor lost": ("tensors", one_lost),
    "a layer lost": ("layers", a_layer_lost),
    "a layer that its configuration leaves out": ("layers", lambda f: change_config(f, layers_to_transform=[0])),
    "a module that its configuration excludes": ("layers", lambda f: change_config(f, exclude_modules=["q_proj"])),
    "a module that its configuration does not name": ("layers", lambda f: change_config(f, target_modules=["q_proj"])),
    "not finite": ("values", not_a_number),
    "values that overflow": ("effect", overflowing),
    "another rank than said": ("ranks", lambda folder: change_config(folder, r=8)),
    "weights as a pickle alone": ("files", lambda folder: (folder / WEIGHTS).rename(folder / "adapter_model.bin")),
    "cut off": ("files", lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9])),
    "no configuration": ("files", lambda folder: (folder / CONFIG).unlink()),
    "another kind": ("kind", lambda folder: change_config(folder, peft_type="IA3")),
    "an initialisation that changed the base": (
        "initialisation",
        lambda f: change_config(f, init_lora_weights="pissa"),
    ),
    "scales by layer": ("settings", lambda folder: change_config(folder, alpha_pattern={"q_proj": 32})),
    "trained embeddings": ("settings", lambda folder: change_config(folder, modules_to_save=["embed_tokens"])),
    "no scale": ("settings", lambda folder: change_config(folder, lora_alpha=None)),
    "a rank of nothing": ("settings", lambda folder: change_config(folder, r=0)),
    "a dropout in words": ("settings", lambda folder: change_config(folder, lora_dropout="some")),
    "a setting nobody knows": ("settings", lambda folder: change_config(folder, use_something_new=True)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_adapter_is_refused_by_the_check_meant_for_it(adapter, base, data, tmp_path, name):
    check, damage = REFUSED[name]
    folder, _ = adapter()
    damage(folder)
    with pytest.raises(UnsafeAdapterError) as caught:
        adopt(folder, spec_of(base, data, tmp_path))
    assert caught.value.check == check
    assert caught.value.exit_code == 4
    assert ("not finite" in str(caught.value)) == (damage in (not_a_number, overflowing))
    record = tmp_path / "run" / "run.json"
    assert not record.exists() or json.loads(record.read_text())["state"] == "failed"


def test_a_folder_that_is_none_a_run_that_is_there_and_no_rows_are_refused(adapter, base, data, tmp_path):
    with pytest.raises(StorageError, match="no folder"):
        adopt(tmp_path / "nowhere", spec_of(base, data, tmp_path))
    folder, _ = adapter()
    empty = spec_of(base, data, tmp_path, formatter="medtuned")
    empty = empty.model_copy_with(data=empty.data.model_copy_with(include_sources=("another",)))
    with pytest.raises((DataError, SpecError)):
        adopt(folder, empty)
    adopt(folder, spec_of(base, data, tmp_path).model_copy_with(output_dir=str(tmp_path / "second")))
    with pytest.raises(SpecError, match="already holds a run"):
        adopt(folder, spec_of(base, data, tmp_path).model_copy_with(output_dir=str(tmp_path / "second")))


def test_an_adapter_that_lies_where_the_run_s_would_is_not_replaced(adapter, base, data, tmp_path):
    folder, _wanted = adapter()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "own").mkdir()
    folder = folder.rename(tmp_path / "own" / "adapter")
    with pytest.raises(SpecError, match="holds 'adapter', which a run would replace"):
        adopt(folder, spec_of(base, data, tmp_path).model_copy_with(output_dir=str(folder.parent)))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_command_prints_the_scores_and_names_a_faulty_adapter(adapter, base, data, tmp_path, capsys):
    from medtune.cli.app import run

    folder, _ = adapter()
    command = ["adopt", folder, "--base", base, "--data", data, "--out", tmp_path / "run", "--json"]
    command += ["--set", "eval.rows_per_source=2", "--set", "eval.max_new_tokens=4"]
    assert run([str(word) for word in command]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["state"] == "finished"
    assert set(printed["scores"]) == {"nli"}
    change_config(folder, peft_type="IA3")
    assert run([str(word) for word in (*command, "--set", f"output_dir={tmp_path / 'second'}")]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "UnsafeAdapterError"
