"""Computes the rotary angles of a model that was built without memory: no file holds them."""

from typing import Any

import torch

__all__ = ["compute_angles"]


def compute_angles(base: Any, device: str) -> None:
    """Put modules with their angles, on ``device``, in the place of those without."""
    for parent in list(base.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "inv_freq"):
                with torch.device(device):
                    setattr(parent, name, type(child)(base.config))
