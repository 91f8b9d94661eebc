"""The loss over the vocabulary, on supervised tokens only, in parts so that logits stay small."""

import torch
from torch import Tensor

from medtune.accel.model.weights import logits_memory, multiply_back, write_logits
from medtune.accel.train.logit_rows import rows_at_once
from medtune.accel.train.steps import Steps

__all__ = ["head_loss"]


def head_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, steps: Steps, *, with_gradient: bool, scale: Tensor | None = None
) -> Tensor:
    """Return the cross entropy of every token in nats, fp32 [supervised].

    Args:
        hidden: [supervised, width]; with a gradient it turns into it, in place.
        weight: [vocabulary, width], frozen.
        targets: [supervised] int64.
        steps: the form of the fused steps.
        with_gradient: whether ``hidden`` turns into the gradient of the sum.
        scale: factor on that gradient, fp32 [1], None for none.
    """
    vocabulary = weight.shape[0]
    rows = min(rows_at_once(vocabulary), hidden.shape[0])
    memory = logits_memory(rows, vocabulary, hidden)
    losses = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
    for start in range(0, hidden.shape[0], rows):
        part = hidden[start : start + rows]
        logits = memory[: part.shape[0]]
        write_logits(part, weight, logits)
        losses[start : start + rows] = steps.cross_entropy(logits, targets[start : start + rows], scale)
        if with_gradient:
            multiply_back(logits, weight, part)
    return losses
