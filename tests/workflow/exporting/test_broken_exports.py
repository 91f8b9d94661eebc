"""Artifacts that were broken on purpose after they were written: the proof catches every one of them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from medtune.errors import SpecError, UnsafeArtifactError
from medtune.export.llama_cpp import adapter, families, metadata, vocabulary
from medtune.workflow.exporting import export
from medtune.workflow.exporting.judge import judge
from medtune.workflow.exporting.readings import read_again
from medtune.workflow.exporting.refusal import RefusedExportError


@pytest.fixture(scope="module")
def whole(trained, near, tmp_path_factory):
    """A merged artifact that is right, and what it is compared with."""
    kept, ask = {}, export._ask

    def remember(*arguments):
        kept["reference"], scores = ask(*arguments)
        return kept["reference"], scores

    with pytest.MonkeyPatch.context() as patch:
        near(patch)
        patch.setattr(export, "_ask", remember)
        exported = trained().export("merged", tmp_path_factory.mktemp("whole") / "out")
    return exported, kept["reference"]


def tensors(change):
    def damage(folder):
        values = load_file(folder / "model.safetensors")
        save_file(change(values) or values, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def settings(name, **changes):
    def damage(folder):
        values = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return damage


def rename(values):
    return {name.replace("model.", "base.", 1): value for name, value in values.items()}


def change(name, function):
    def changed(values):
        values[name] = function(values[name]).contiguous()

    return tensors(changed)


def swap(values):
    one, other = (f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1))
    values[one], values[other] = values[other].clone(), values[one].clone()


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def template(folder):
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("<end>", ""))


def other_ids(folder):
    file = folder / "tokenizer.json"
    values = json.loads(file.read_text())
    known = values["model"]["vocab"]
    known["a"], known["e"] = known["e"], known["a"]
    file.write_text(json.dumps(values))


def paired(value):
    return value.reshape(4, 2, 8, -1).swapaxes(1, 2).reshape(value.shape)


Q, DOWN = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"
BROKEN = {
    "names under another prefix": tensors(rename),
    "a layer in another's place": tensors(swap),
    "rows in another order": change(Q, paired),
    "a weight that is not a number": change(DOWN, lambda value: value * torch.nan),
    "a weight of zeros": change(DOWN, torch.zeros_like),
    "a weight at twice its size": change(DOWN, lambda value: value * 2),
    "another turn of positions": settings("config.json", rope_parameters={"rope_theta": 100.0, "rope_type": "default"}),
    "another epsilon of norms": settings("config.json", rms_norm_eps=0.1),
    "other heads": settings("config.json", num_attention_heads=8, head_dim=8),
    "a vocabulary of another size": settings("config.json", vocab_size=300),
    "a layer less": settings("config.json", num_hidden_layers=1),
    "no id that ends an answer": settings("generation_config.json", eos_token_id=None),
    "another id that ends an answer": settings("generation_config.json", eos_token_id=[9]),
    "a file cut short": cut,
    "a template without its end of turn": template,
    "a tokenizer with other ids": other_ids,
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
@pytest.mark.filterwarnings("ignore")
def test_a_broken_merge_is_caught(whole, here, tmp_path, damage):
    exported, reference = whole
    folder = shutil.copytree(exported.path, tmp_path / "broken")
    damage(folder)
    try:
        verdict = judge(reference, read_again(exported, folder, reference), ["fp32", "fp32"])
    except UnsafeArtifactError as error:
        assert "cannot be loaded" in str(error)
        return
    assert verdict.problems


def test_the_artifact_that_was_broken_is_right_before(whole, here):
    exported, reference = whole
    assert judge(reference, read_again(exported, exported.path, reference), ["fp32"]).problems == ()


def unpaired(patch):
    patch.setattr(families.Layout, "paired", lambda _self, _name, value: value)


def other_base(patch):
    rope = metadata._rope
    patch.setattr(metadata, "_rope", lambda config: {**rope(config), "rope_theta": 100.0})


def other_end(patch):
    special = vocabulary._special
    patch.setattr(vocabulary, "_special", lambda tokenizer, _ids: {**special(tokenizer, ()), "eos": 40})


def other_template(patch):
    read = vocabulary.read_vocabulary
    from medtune.export.llama_cpp import exporters

    def changed(*arguments):
        found = read(*arguments)
        return type(found)(**{key: getattr(found, key) for key in found.__slots__} | {"template": found.template.replace(": ", " ")})  # fmt: skip

    patch.setattr(exporters, "read_vocabulary", changed)


def half(patch):
    from medtune.export.llama_cpp import exporters

    def halved(file, delta, layout):
        adapter.write_adapter(file, type(delta)(delta.layers, delta.biases, delta.r, delta.alpha / 2, delta.rslora, delta.dora), layout)  # fmt: skip

    patch.setattr(exporters, "write_adapter", halved)


@pytest.mark.parametrize(
    ("to", "damage"),
    [("gguf", unpaired), ("gguf", other_base), ("gguf", other_end), ("gguf", other_template), ("gguf-adapter", unpaired), ("gguf-adapter", half)],
)  # fmt: skip
def test_a_broken_gguf_file_is_caught(trained, here, tmp_path, monkeypatch, to, damage):
    pytest.importorskip("xllamacpp")
    run = trained()
    damage(monkeypatch)
    with pytest.raises(RefusedExportError):
        run.export(to, tmp_path / "out")


@pytest.mark.parametrize("lora", [{"use_dora": True}, {"bias": "all", "use_dora": True}])
@pytest.mark.parametrize("to", ["vllm", "sglang", "gguf-adapter"])
def test_an_adapter_that_an_engine_would_apply_in_part_is_refused(trained, tmp_path, to, lora):
    with pytest.raises(SpecError, match="export to"):
        trained("none" if lora.get("bias") is None else "nf4", **lora).export(to, tmp_path / "out")
