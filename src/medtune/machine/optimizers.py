"""Which optimizers there are, what each needs and reads, and which one does what a spec's name says on the device that trains."""

import difflib
from collections.abc import Collection
from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["ADAM", "NOT_OFFERED", "OFFERED", "Optimizer", "optimizer_refusal", "runs_as"]

_PAGED = "paged_adamw_32bit"
_WORTH_PAGING = 2**30
"""Bytes of optimizer state from which it may leave the device; the adapters of the defaults take 0.16 GiB."""
_MOMENTS, _FP32 = 2, 4
_BETAS, ADAM = ("adam_beta1", "adam_beta2"), ("adam_beta1", "adam_beta2", "adam_epsilon")


class Optimizer(NamedTuple):
    """An optimizer by transformers' name.

    Attributes:
        module: what has to be installed besides torch and transformers; empty for nothing.
        package: by what name pip knows it.
        reads: those of ``train.adam_*`` that reach it.
    """

    module: str = ""
    package: str = ""
    reads: tuple[str, ...] = ()


_BITSANDBYTES = ("bitsandbytes", "bitsandbytes")
OFFERED = {
    "adamw_torch": Optimizer(reads=ADAM),
    "adamw_torch_fused": Optimizer(reads=ADAM),
    "adafactor": Optimizer(),
    "adagrad": Optimizer(),
    "rmsprop": Optimizer(),
    "sgd": Optimizer(),
    **{
        name: Optimizer(*_BITSANDBYTES, ADAM)
        for name in (
            *("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_32bit", "paged_adamw_8bit"),
            *("ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"),
        )
    },
    **{
        name: Optimizer(*_BITSANDBYTES, _BETAS)
        for name in ("lion_32bit", "lion_8bit", "paged_lion_32bit", "paged_lion_8bit")
    },
    **{name: Optimizer(*_BITSANDBYTES) for name in ("rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit")},
    "adamw_torch_4bit": Optimizer("torchao", "torchao", ADAM),
    "adamw_torch_8bit": Optimizer("torchao", "torchao", ADAM),
    "grokadamw": Optimizer("grokadamw", "grokadamw"),
    "stable_adamw": Optimizer("optimi", "torch-optimi", ADAM),
}
"""What ``train.optim`` may name."""

_PROJECTS = "it projects the gradients of whole weight matrices, of which an adapter trains none"
_INSIDE = "it updates inside of the backward pass, before gradients are clipped and checked"
_AVERAGES = "it trains other weights than those that it means to save, which a checkpoint does not hold"
NOT_OFFERED = {
    **dict.fromkeys(("galore_adamw", "galore_adamw_8bit", "galore_adafactor", "apollo_adamw"), _PROJECTS),
    **dict.fromkeys(
        (
            *("lomo", "adalomo", "galore_adamw_layerwise", "galore_adamw_8bit_layerwise"),
            *("galore_adafactor_layerwise", "apollo_adamw_layerwise"),
        ),
        _INSIDE,
    ),
    **dict.fromkeys(("schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd"), _AVERAGES),
    "adamw_torch_xla": "it is for TPUs",
    "adamw_torch_npu_fused": "it is for Ascend NPUs",
    "adamw_anyprecision": "its library, torchdistx, is no longer maintained",
}
"""Names that transformers knows and ``train.optim`` may not be, each with the reason."""


def optimizer_refusal(name: str, asked: Collection[str] = ()) -> str | None:
    """Return why an optimizer cannot be had as asked, as a sentence; None where it can. Imports nothing.

    Args:
        name: as the spec says.
        asked: those of ``train.adam_*`` that are set to other values than their defaults.
    """
    if name in NOT_OFFERED:
        return f"train.optim={name} is not offered: {NOT_OFFERED[name]}; take adamw_torch or paged_adamw_32bit"
    found = OFFERED.get(name)
    if found is None:
        close = difflib.get_close_matches(name, OFFERED, n=1, cutoff=0.5)
        nearest = f"did you mean '{close[0]}'? " if close else ""
        return f"train.optim names no optimizer: '{name}'; {nearest}it is one of {', '.join(sorted(OFFERED))}"
    if found.module and find_spec(found.module) is None:
        return f"train.optim={name} needs {found.package}, which is not installed: pip install {found.package}, or take adamw_torch"
    unread = [field for field in asked if field not in found.reads]
    return f"train.optim={name} does not read train.{unread[0]}; leave it out, or take an AdamW" if unread else None


def runs_as(optim: str, trained: int, *, on_gpu: bool) -> str:
    """Return transformers' name of the optimizer that runs.

    A paged AdamW in 32 bits pages only a state that is worth it. A smaller one stays on the GPU under torch's fused AdamW:
    the same arithmetic in one launch instead of one per tensor, and an update that is not finite is left out by the device
    itself, so that no step waits for the host.

    Args:
        optim: as the spec says.
        trained: values of the adapter.
        on_gpu: whether a CUDA GPU trains.
    """
    is_small = trained * _MOMENTS * _FP32 < _WORTH_PAGING
    return "adamw_torch_fused" if on_gpu and is_small and optim == _PAGED else optim
