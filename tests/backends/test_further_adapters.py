"""Several adapters on one base: each answers as it does by itself, and the base as without any."""

import pytest
import torch

from medtune import LoraSpec
from medtune.backends.peft import PeftAdapter
from medtune.errors import SpecError, UnsafeAdapterError
from medtune.testing.tiny import tiny_base

IDS = torch.arange(2, 22)[None]
SPECS = {"first": LoraSpec(r=4), "wide": LoraSpec(r=16, use_rslora=True), "narrow": LoraSpec(r=2, target_modules=["q_proj"]), "dora": LoraSpec(r=4, use_dora=True)}  # fmt: skip


def logits(loaded):
    with torch.no_grad():
        return loaded.model(input_ids=IDS).logits


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The base's folder; name -> folder of an adapter; name -> its logits by itself."""
    root = tmp_path_factory.mktemp("adapters")
    alone = {}
    for seed, (name, spec) in enumerate(SPECS.items()):
        torch.manual_seed(seed)
        loaded = PeftAdapter().attach(tiny_base(root / "base"), spec)
        for parameter_name, parameter in loaded.model.named_parameters():
            if "lora_B" in parameter_name:
                parameter.data.normal_(0, 0.1)
        loaded.save_adapter(root / name)
        fresh = PeftAdapter().attach(tiny_base(root / "base"), spec)
        fresh.load_adapter(root / name)
        alone[name] = logits(fresh)
    return root, alone


@pytest.fixture
def loaded(saved):
    root, _alone = saved
    found = PeftAdapter().attach(tiny_base(root / "base"), SPECS["first"])
    found.load_adapter(root / "first")
    return found


def test_each_adapter_answers_as_it_does_by_itself_in_any_order(saved, loaded):
    root, alone = saved
    for name in ("wide", "narrow", "dora"):
        loaded.adapters.add(name, root / name, SPECS[name])
        assert torch.equal(logits(loaded), alone["first"])  # the one in use stays so
    for name in ("narrow", "wide", None, "dora", "narrow"):
        loaded.adapters.use(name)
        assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
        assert torch.equal(logits(loaded), alone[name or "first"])
        with loaded.base_only():
            assert torch.equal(logits(loaded), logits(tiny_base(root / "base")))


def test_a_removed_adapter_leaves_memory_and_the_others_answer_as_before(saved, loaded):
    root, alone = saved
    before = sum(parameter.numel() for parameter in loaded.model.parameters())
    for name in ("wide", "narrow"):
        loaded.adapters.add(name, root / name, SPECS[name])
    loaded.adapters.use("wide")
    loaded.adapters.remove("wide")
    assert torch.equal(logits(loaded), alone["first"])
    loaded.adapters.use("narrow")
    assert torch.equal(logits(loaded), alone["narrow"])
    loaded.adapters.remove("narrow")
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) == before


def test_an_adapter_whose_tensors_do_not_fit_is_refused_and_nothing_of_it_stays(saved, loaded, tmp_path):
    root, alone = saved
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "damaged"
    folder.mkdir()
    tensors = load_file(root / "wide" / "adapter_model.safetensors")
    del tensors[next(iter(tensors))]
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes((root / "wide" / "adapter_config.json").read_bytes())
    with pytest.raises(UnsafeAdapterError, match="lacks 1 tensors"):
        loaded.adapters.add("wide", folder, SPECS["wide"])
    assert set(loaded.model.peft_config) == {"default"}
    assert torch.equal(logits(loaded), alone["first"])


def test_trained_biases_are_refused_beside_others(saved, loaded):
    root, _alone = saved
    with pytest.raises(SpecError, match="by itself"):
        loaded.adapters.add("biased", root / "wide", LoraSpec(bias="all"))
