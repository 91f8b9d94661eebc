"""The loss over the vocabulary, on supervised tokens only, in parts so that logits stay small."""

import torch
from torch import Tensor

from medtune.kernels.steps import Steps

__all__ = ["head_loss"]

_LOGITS = 2**25
"""Most logits that exist at once: 64 MiB in 16 bits."""
_FEWEST_ROWS = 256


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor, steps: Steps, *, with_gradient: bool) -> Tensor:
    """Return the summed cross entropy in nats, fp32 [].

    Args:
        hidden: [supervised, width]; with a gradient it turns into it, in place.
        weight: [vocabulary, width], frozen.
        targets: [supervised] int64.
        steps: the form of the fused steps.
        with_gradient: whether ``hidden`` turns into the gradient of the sum.
    """
    rows = max(_FEWEST_ROWS, _LOGITS // weight.shape[0])
    total = torch.zeros((), dtype=torch.float32, device=hidden.device)
    for start in range(0, hidden.shape[0], rows):
        part = hidden[start : start + rows]
        logits = torch.mm(part, weight.t())
        total += steps.cross_entropy(logits, targets[start : start + rows]).sum()
        if with_gradient:
            torch.mm(logits, weight, out=part)
        del logits
    return total
