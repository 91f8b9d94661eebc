"""Switches the fast path on for a peft model: the same loss and gradients, faster and in less memory."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medtune.accel.model.unsupported import UnsupportedError
from medtune.accel.train.cuda_graphs import CudaGraphs
from medtune.accel.train.layout import PackedBatch, lay_out
from medtune.accel.train.padding import Grain, grain_of
from medtune.accel.train.recognize import recognize
from medtune.accel.train.stack import Recompute, Stack
from medtune.accel.triton.use import compiled_together, give_up_triton

__all__ = ["FastPath", "Refusal", "enable"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the fast path does not apply to a model, as the end of a sentence about it."""

    reason: str

    def __str__(self) -> str:
        return f"the fast path is off: {self.reason}"


class FastPath:
    """Computes the loss of packed rows through a peft model, without its forward.

    Gradients arrive at the model's own parameters by ``backward`` as usual, so optimizers, DDP and checkpoints are the
    model's own.

    Attributes:
        token_losses: loss of every supervised token of the last pass in nats, fp32, in the order of ``supervised`` of its
            batch; what exceeds them is padding.
        mask_seed: what dropout is drawn by, from ``update_seed``; None to draw one from torch's generator for every pass.
    """

    def __init__(self, build: Callable[[], Stack], *, cuda_graphs: bool, share: bool, most_tokens: int = 0) -> None:
        self._build, self._uses_graphs, self._share, self._most_tokens = build, cuda_graphs, share, most_tokens
        self._is_proven = False
        self.mask_seed: int | None = None
        self._take(build())
        self._device = self._stack.network.embedding.device
        self.token_losses: Tensor = torch.zeros(0, device=self._device)

    @property
    def steps(self) -> str:
        """The form of the fused steps: "triton" or "reference"."""
        return self._stack.network.steps.name

    @property
    def shares(self) -> bool:
        """Whether a prefix that samples share is computed once."""
        return self._longest_shared > 0

    @property
    def grain(self) -> Grain:
        """What the sizes of captured passes are rounded up to."""
        return grain_of(self._stack.network.embedding.shape[1])

    @property
    def failure(self) -> str | None:
        """Why passes are not captured on this GPU, None where they are or need not be."""
        return None if self._graphs is None else self._graphs.failure

    def loss_sum(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> Tensor:
        """Return the summed cross entropy of the supervised tokens in nats, fp32 [].

        Rows that lie on the device already are looked at on the host first, which waits for the device; lay them out
        where they are made (``lay_out``) and call ``loss_of`` to avoid that.

        Args:
            input_ids: [rows, length] ids.
            position_ids: [rows, length], restarting at 0 with each sample, which isolates samples.
            labels: [rows, length], -100 where a token carries no loss.
        """
        return self.loss_of(self.lay_out(input_ids, position_ids, labels))

    def scale_gradients(self, scale: Tensor) -> None:
        """Have the passes to come compute gradients ``scale`` times as large, fp32 []: what fp16 could not hold otherwise.

        The gradients that arrive are not changed by that, unless they exceed fp16 on their way: then they are not finite. A
        gradient scaler's own factor is meant. Types that span enough leave it.
        """
        own = self._stack.network.scale
        if own is not None:
            own.copy_(scale.detach())

    def lay_out(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> PackedBatch:
        """Lay out rows as in ``loss_sum``, for ``loss_of``: with prefixes that samples share there once, if that is on."""
        return lay_out(input_ids, position_ids, labels, self._longest_shared)

    def loss_of(self, batch: PackedBatch) -> Tensor:
        """Return the summed cross entropy of a batch that is laid out already, wherever it lies."""
        with torch.autocast(self._device.type, enabled=False):
            if not batch.longest:
                self.token_losses = torch.zeros(0, device=self._device)
                return sum((p.sum() * 0.0 for p in self._parameters), torch.zeros((), device=self._device))
            if not torch.is_grad_enabled():
                self.token_losses = self._stack.loss(batch.to(self._device))
                return self.token_losses.sum()
            loss: Tensor = _Loss.apply(self, batch, *self._parameters)  # type: ignore[no-untyped-call]
            return loss

    def loss_and_gradients(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Return the loss of every token and their sum's gradient for all adapters in flat memory, fp32, times ``scale``."""
        net = self._stack.network
        seed: Tensor | None = None
        if net.dropout > 0 and net.is_training():
            # on the host, where no device is waited for
            seed = torch.randint(2**31, (1,)) if self.mask_seed is None else torch.tensor([self.mask_seed])
            seed = seed.pin_memory() if self._device.type == "cuda" else seed
        if not self._is_proven and self.steps == "triton":
            self._compile(batch, seed)
        try:
            found = self._pass(batch, seed)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if self._is_proven or self.steps != "triton":
                raise
            failure = f"{type(error).__name__}: {error}".partition("\n")[0]
        else:
            self._is_proven = True
            return found
        self._go_on_without_triton(failure)  # outside the handler, whose error holds the failed pass's memory
        return self._pass(batch, seed)

    @property
    def scale(self) -> Tensor | None:
        """A copy of the factor that the last pass left on its gradients, None for none."""
        own = self._stack.network.scale
        return None if own is None else own.clone()

    def _compile(self, batch: PackedBatch, seed: Tensor | None) -> None:
        """Have the kernels of a first pass compiled side by side: one after the other they take seconds."""
        batch = batch.to(self._device)
        batch = batch if self._graphs is None else batch.padded(self.grain)
        seed = None if seed is None else seed.to(self._device)
        # what goes wrong here goes wrong in the pass itself, and is told there
        with suppress(Exception), compiled_together():
            self._stack.rehearse(batch, seed)

    def _pass(self, batch: PackedBatch, seed: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._graphs is not None:
            return self._graphs(batch, seed, self._device)
        flat = self._stack.network.adapters.memory()
        seed = None if seed is None else seed.to(self._device, non_blocking=True)
        return self._stack.loss_and_gradient(batch.to(self._device), seed, flat), flat

    def _go_on_without_triton(self, failure: str) -> None:
        """Build the stack anew from reference steps: a C compiler is missing, say, or a GPU lacks what a kernel asks for."""
        logging.getLogger(__name__).warning("the fast path goes on without Triton kernels, slower: %s", failure)
        give_up_triton(failure)
        self.disable()
        del self._stack, self._graphs  # what they hold goes before it is made again
        self._take(self._build())

    def _take(self, stack: Stack) -> None:
        self._stack = stack
        self._longest_shared = stack.longest_shared() if self._share else 0
        self._parameters = stack.network.adapters.parameters
        self._graphs: CudaGraphs | None = None
        if self._uses_graphs and stack.network.embedding.device.type == "cuda":
            adapters = stack.network.adapters
            self._graphs = CudaGraphs(stack.loss_and_gradient, stack.prepare, adapters, self.grain, self._most_tokens)

    def divide(self, flat: Tensor) -> list[Tensor]:
        """Return the gradients of the parameters as views of their flat memory."""
        return self._stack.network.adapters.gradients(flat)

    def disable(self) -> None:
        """Free the memory that the fast path holds between passes; the model works as before, on the same values.

        A later pass takes the memory again, and passes are captured anew.
        """
        if self._graphs is not None:
            self._graphs.drop()
        self._stack.drop()
        for scratch in self._stack.network.scratches:
            scratch.drop()


class _Loss(torch.autograd.Function):
    """The whole model as one node, whose gradient is there as soon as its value is."""

    @staticmethod
    def forward(ctx: Any, path: FastPath, batch: PackedBatch, *parameters: Tensor) -> Tensor:
        path.token_losses, ctx.gradient = path.loss_and_gradients(batch)
        ctx.path, ctx.scale, ctx.types = path, path.scale, [parameter.dtype for parameter in parameters]
        return path.token_losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        flat, ctx.gradient = ctx.gradient, None  # scaled in place: it is large
        if flat is None:
            raise RuntimeError("the fast path's backward pass can run only once")
        parts = ctx.path.divide(flat.mul_(gradient if ctx.scale is None else gradient / ctx.scale))
        return None, None, *(part.to(kind) for part, kind in zip(parts, ctx.types, strict=True))


def enable(  # noqa: PLR0913 - all but the model by name
    model: Any,
    *,
    recompute: Recompute = "none",
    keep_dequantized: bool = False,
    dtype: torch.dtype | None = None,
    cuda_graphs: bool = True,
    share: bool = False,
    most_tokens: int = 0,
) -> FastPath | Refusal:
    """Switch the fast path on for a model, or say why it does not apply; a refused model keeps its values.

    Plain weights of layers that read the same input move into one tensor each; the layers look into it, with the same
    values. Everything else, adapters too, stays where it is.

    Args:
        model: a Mistral, Llama, Qwen2 or Qwen3 causal model with a LoRA adapter of peft.
        recompute: what the backward pass computes again.
        keep_dequantized: whether the weights of a 4-bit base are dequantized once and lie there in the compute type besides,
            instead of being dequantized whenever a pass needs them; the same numbers, faster.
        dtype: compute type, None for that of the embedding.
        cuda_graphs: whether passes are captured in CUDA graphs on a GPU and launched from them, which hides the time that Python takes.
        share: whether a prefix that samples of a batch share is computed once; the same loss and
            gradients, and the same dropout.
        most_tokens: tokens of the largest batch to come, whose memory captured passes take at once; 0 where that is not
            known, which costs new graphs whenever a larger one comes.
    """

    def build() -> Stack:
        return Stack(recognize(model, dtype, keep_dequantized=keep_dequantized), recompute)

    try:
        return FastPath(build, cuda_graphs=cuda_graphs, share=share, most_tokens=most_tokens)
    except UnsupportedError as error:
        return Refusal(str(error))
