"""Which weights of a model an adapter can change, and how many of them a spec's targets reach; the model may hold no values.

Imported inside functions only: it loads torch and transformers.
"""

import copy
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from medtune.machine.libraries import quiet_libraries
from medtune.specs import LoraSpec

__all__ = [
    "expert_targets",
    "expert_weights",
    "fused_target",
    "linear_layers",
    "reach",
    "reached_layers",
    "routers",
    "transposed_target",
    "unknown_target",
]

_STACKED = 3  # dimensions of the weights of several experts in one parameter


def linear_layers(model: Any) -> Mapping[str, Any]:
    """Return the layers that get an adapter under "all-linear" by name: linear ones and GPT-2's Conv1D, not the head."""
    head = model.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds) and layer is not head}


def expert_weights(model: Any) -> Mapping[str, Any]:
    """Return the parameters that stack the weights of several experts, by name; a convolution's are none."""
    convolutions = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    held = ((name, module) for name, module in model.named_modules() if not isinstance(module, convolutions))
    return {
        f"{name}.{own}": parameter
        for name, module in held
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == _STACKED
    }


def routers(model: Any) -> tuple[str, ...]:
    """Return the linear layers that choose among experts, by name: beside experts, and with as few outputs as these."""
    experts = expert_weights(model)
    counts = {name.rpartition(".")[0].rpartition(".")[0]: len(parameter) for name, parameter in experts.items()}
    return tuple(
        name
        for name, layer in linear_layers(model).items()
        if (count := counts.get(name.rpartition(".")[0])) and getattr(layer, "out_features", 0) in (1, count)
    )


def expert_targets(model: Any, lora: LoraSpec) -> tuple[str, ...]:
    """Return the names in ``lora.target_modules`` that stand for experts' weights instead of layers."""
    names = () if lora.target_modules == "all-linear" else lora.target_modules
    experts = expert_weights(model)
    return tuple(target for target in names if any(_is_end(target, name) for name in experts))


def unknown_target(model: Any, lora: LoraSpec) -> str:
    """Return what is wrong with the first of ``lora.target_modules`` that no weight has; empty when all have one."""
    names: Sequence[str] = () if lora.target_modules == "all-linear" else lora.target_modules
    known = [*linear_layers(model), *expert_weights(model)]
    for target in names:
        if not any(_is_end(target, name) for name in known):
            return _nearest(target, known)
    return ""


def transposed_target(model: Any, lora: LoraSpec) -> str:
    """Return the first layer that keeps its weight transposed where peft's initialisation takes it as it lies; else empty."""
    if lora.init != "olora":  # peft turns the weight round for the others
        return ""
    return next((name for name, layer in reached_layers(model, lora).items() if isinstance(layer, Conv1D)), "")


def fused_target(model: Any, lora: LoraSpec) -> str:
    """Return what is wrong with a target that a fused kernel would pass by, and which targets work; empty when none is.

    peft knows such layers, so it is asked, on a copy: only of a model that has convolutions beside its linear layers, as
    state space models do, since loading peft takes seconds.
    """
    beside = {name.rpartition(".")[0] for name, layer in model.named_modules() if isinstance(layer, torch.nn.Conv1d)}
    reached = reached_layers(model, lora)
    if not any(name.rpartition(".")[0] in beside for name in reached):
        return ""
    ends = sorted({name.rpartition(".")[2] for name in reached})
    refused = [end for end in ends if not _peft_takes(model, end)]
    if not refused:
        return ""
    others = {name.rpartition(".")[2] for name in linear_layers(model)} - set(refused)
    working = ", ".join(sorted(end for end in others if end in ends or _peft_takes(model, end)))
    return f"a fused kernel computes with the weight of '{refused[0]}' and would pass its adapter by; these work: {working}"


@quiet_libraries()
def _peft_takes(model: Any, end: str) -> bool:
    """Whether peft puts an adapter on the layers whose names end so."""
    from peft import LoraConfig, inject_adapter_in_model

    try:
        inject_adapter_in_model(LoraConfig(r=1, target_modules=[end]), copy.deepcopy(model), low_cpu_mem_usage=True)
    except ValueError:
        return False
    return True


def reached_layers(model: Any, lora: LoraSpec) -> Mapping[str, Any]:
    """Return the linear layers that the targets reach, by name."""
    linear = linear_layers(model)
    if lora.target_modules == "all-linear":
        left_out = set(routers(model))
        return {name: layer for name, layer in linear.items() if name not in left_out}
    wanted = lora.target_modules
    return {name: layer for name, layer in linear.items() if any(_is_end(target, name) for target in wanted)}


def reach(model: Any, lora: LoraSpec) -> tuple[int, int]:
    """Return how many weights of the blocks the targets reach, and how many there are in linear layers and experts."""
    sizes = {name: layer.weight.numel() for name, layer in linear_layers(model).items()}
    stacked = {name: parameter.numel() for name, parameter in expert_weights(model).items()}
    reached = sum(layer.weight.numel() for layer in reached_layers(model, lora).values())
    names: Sequence[str] = () if lora.target_modules == "all-linear" else lora.target_modules
    reached += sum(size for name, size in stacked.items() if any(_is_end(target, name) for target in names))
    return reached, sum(sizes.values()) + sum(stacked.values())


def _is_end(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _nearest(target: str, known: Sequence[str]) -> str:
    ends = sorted({name.rpartition(".")[2] for name in known})
    close = difflib.get_close_matches(target, ends, n=3, cutoff=0.4)
    nearest = " or ".join(f"'{name}'" for name in close)
    asked = f"did you mean {nearest}? " if nearest else ""
    return f"lora.target_modules: '{target}' is no linear layer of this model; {asked}it has: {', '.join(ends)}"
