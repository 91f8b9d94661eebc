"""Measures how far losses and gradients are from those that they should be."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["error", "gradient_error", "scale_error", "share"]

_FAINT = 0.1
"""Share of the typical gradient of a tensor below which errors are measured against that share."""


def error(found: Tensor, wanted: Tensor) -> float:
    """Return the relative error by norm; infinite for another shape, NaN where a value is."""
    if found.shape != wanted.shape:
        return float("inf")
    return float((found.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30))


def gradient_error(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return the largest relative error of any tensor, a faint one measured against a share of the typical length."""
    if not wanted:
        return 0.0
    norms = torch.stack([gradient.double().norm() for gradient in wanted])
    apart = torch.stack([(f.double() - w.double()).norm() for f, w in zip(found, wanted, strict=True)])
    floor = _FAINT * norms.square().mean().sqrt()
    return float((apart / norms.clamp(min=floor.clamp(min=1e-30))).max())


def scale_error(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return by how much the typical tensor's gradient is too long or too short.

    Lengths, since a projection on a gradient that is rounded itself comes out too short by the square of its error; and the
    median, since rounding moves single tensors, a factor on the loss all of them.
    """
    if not wanted:
        return 0.0
    lengths = torch.stack(
        [torch.stack([f.double().norm(), w.double().norm()]) for f, w in zip(found, wanted, strict=True)]
    )
    counted = lengths[lengths[:, 1] > _FAINT * lengths[:, 1].square().mean().sqrt()]
    return float(((counted[:, 0] / counted[:, 1]).median() - 1).abs()) if len(counted) else 0.0


def share(moved: Tensor, own: Tensor) -> float:
    """Return the largest unwanted change over the typical wanted one."""
    typical = float(own.double().square().mean().sqrt())
    return float(moved) / typical if typical > 0 else float("inf")
