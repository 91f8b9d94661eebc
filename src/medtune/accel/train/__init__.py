"""The fast path: trains LoRA adapters of known model families with fewer passes over memory, equal in result."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medtune.accel.train.fast_path import FastPath, Refusal, enable
    from medtune.accel.train.layout import PackedBatch, lay_out
    from medtune.accel.train.update_masks import UpdateMasks

__all__ = ["FastPath", "PackedBatch", "Refusal", "UpdateMasks", "enable", "lay_out"]

_HOMES = {
    "FastPath": "fast_path",
    "PackedBatch": "layout",
    "Refusal": "fast_path",
    "UpdateMasks": "update_masks",
    "enable": "fast_path",
    "lay_out": "layout",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for; torch loads only then."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
