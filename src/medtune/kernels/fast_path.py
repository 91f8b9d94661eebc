"""Switches the fast path on for a peft model: the same loss and gradients, faster and in less memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medtune.kernels.frozen import Scratch
from medtune.kernels.layout import PackedBatch, lay_out
from medtune.kernels.recognize import UnsupportedError, recognize
from medtune.kernels.stack import Recompute, Stack, Tape

__all__ = ["FastPath", "Refusal", "enable"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the fast path does not apply to a model, as the end of a sentence about it."""

    reason: str

    def __str__(self) -> str:
        return f"the fast path is off: {self.reason}"


class FastPath:
    """Computes the loss of packed rows through a peft model, without its forward.

    Its parameters, hooks of DDP and checkpoints stay the model's own: gradients arrive by ``backward`` as usual.
    """

    def __init__(self, stack: Stack, scratch: Scratch) -> None:
        self._stack, self._scratch = stack, scratch
        self._parameters = stack.network.adapters.parameters

    @property
    def steps(self) -> str:
        """The form of the fused steps: "triton" or "stock"."""
        return self._stack.network.steps.name

    def loss_sum(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> Tensor:
        """Return the summed cross entropy of the supervised tokens in nats, fp32 [].

        Rows that lie on the device already are looked at on the host first, which waits for the device; lay them out
        where they are made (``lay_out``) and call ``loss_of`` to avoid that.

        Args:
            input_ids: [rows, length] ids.
            position_ids: [rows, length], restarting at 0 with each sample, which isolates samples.
            labels: [rows, length], -100 where a token carries no loss.
        """
        return self.loss_of(lay_out(input_ids, position_ids, labels))

    def loss_of(self, batch: PackedBatch) -> Tensor:
        """Return the summed cross entropy of a batch that is laid out already, wherever it lies."""
        device = self._stack.network.embedding.device
        if batch.ids.device != device:
            batch = batch.to(device)
        with torch.autocast(device.type, enabled=False):
            if not batch.longest:
                return sum((p.sum() * 0.0 for p in self._parameters), torch.zeros((), device=device))
            if not torch.is_grad_enabled():
                return self._stack.forward(batch, keep=False)[0]
            loss: Tensor = _Loss.apply(self._stack, batch, *self._parameters)
            return loss

    def disable(self) -> None:
        """Free the memory that the fast path holds; the model works as before, on the same values."""
        self._stack.drop()
        self._scratch.drop()


class _Loss(torch.autograd.Function):
    """The whole model as one node: what happens between its passes is the stack's own business."""

    @staticmethod
    def forward(ctx: Any, stack: Stack, batch: PackedBatch, *_parameters: Tensor) -> Tensor:
        loss, ctx.tape = stack.forward(batch, keep=True)
        ctx.stack = stack
        ctx.types = [parameter.dtype for parameter in _parameters]
        return loss

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        tape: Tape | None = ctx.tape
        if tape is None:
            raise RuntimeError("the fast path's backward pass can run only once")
        ctx.tape = None
        with torch.autocast(gradient.device.type, enabled=False):
            gradients = ctx.stack.backward(tape, gradient)
        return None, None, *(g.to(kind) for g, kind in zip(gradients, ctx.types, strict=True))


def enable(model: Any, *, recompute: Recompute = "none", dtype: torch.dtype | None = None) -> FastPath | Refusal:
    """Switch the fast path on for a model, or say why it does not apply; a refused model is left unchanged.

    Plain weights of layers that read the same input move into one tensor each; the layers look into it, with the same
    values. Everything else, adapters too, stays where it is.

    Args:
        model: a Mistral, Llama, Qwen2 or Qwen3 causal model with a LoRA adapter of peft.
        recompute: what the backward pass computes again.
        dtype: compute type, None for that of the embedding.
    """
    scratch = Scratch()
    try:
        network = recognize(model, dtype, scratch)
    except UnsupportedError as error:
        return Refusal(str(error))
    return FastPath(Stack(network, recompute), scratch)
