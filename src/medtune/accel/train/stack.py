"""All blocks of a model between embedding and loss: runs them forward and back under a recompute policy."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from medtune.accel.model.heads import Norm
from medtune.accel.steps.dropout import DropoutKeys
from medtune.accel.train.adapters import Adapters
from medtune.accel.train.attention import may_share
from medtune.accel.train.block import Block, Keep, Trace
from medtune.accel.train.frozen import Scratch
from medtune.accel.train.head import head_loss
from medtune.accel.train.host_offload import HostOffload
from medtune.accel.train.layout import PackedBatch
from medtune.accel.train.step_context import Pending, StepContext
from medtune.accel.train.steps import Steps

__all__ = ["Network", "Recompute", "Stack"]

Recompute = Literal["none", "selective", "all", "offload"]
"""What the backward pass computes again: nothing, the wide values of the MLPs, all but the blocks' inputs, or the same
with these inputs in the host's memory."""

_KEEP: dict[str, Keep] = {"none": "everything", "selective": "narrow", "all": "input", "offload": "input"}
_PASSING = 2
"""Values of the size of a block's input that come and go beside those that are kept."""
_MLP_ROWS = 4096
"""Rows of an MLP at once where memory is short; a matrix product of this height is as fast as a higher one."""


@dataclass(frozen=True, slots=True)
class Network:
    """A model as the fast path runs it.

    Attributes:
        embedding: [vocabulary, width].
        blocks: in order.
        norm: after the last block.
        head: [vocabulary, width].
        angles: positions [n] -> cosines and sines, fp32 [n, head width / 2] each.
        adapters: of all blocks.
        dropout: probability.
        steps: the form of the fused steps.
        dtype: compute type.
        scratches: where 4-bit weights are dequantized: shared, or one for each product, which keeps them.
        scale: factor that gradients have on their way, fp32 [1], read anew by every pass; None where the type spans enough.
        is_training: says whether inputs are dropped now.
    """

    embedding: Tensor
    blocks: tuple[Block, ...]
    norm: Norm
    head: Tensor
    angles: Callable[[Tensor], tuple[Tensor, Tensor]]
    adapters: Adapters
    dropout: float
    steps: Steps
    dtype: torch.dtype
    scratches: tuple[Scratch, ...]
    scale: Tensor | None
    is_training: Callable[[], bool]


class Stack:
    """Runs a network forward and back in one go: the gradient is linear in what flows in, so it can be scaled later.

    Args:
        network: the model.
        recompute: the policy.
    """

    def __init__(self, network: Network, recompute: Recompute) -> None:
        self.network = network
        self._recompute: Recompute = recompute
        self._offload = HostOffload()

    def longest_shared(self) -> int:
        """Return the tokens of the longest sample that may share its prefix; 0 where that would not be faster."""
        halves = [block.attention for block in self.network.blocks]
        if not all(may_share(heads, self.network.embedding) for heads in {half.heads for half in halves}):
            return 0
        return min(sys.maxsize if half.window.tokens is None else half.window.tokens for half in halves)

    def loss(self, batch: PackedBatch) -> Tensor:
        """Return the loss of every supervised token of the batch, fp32 [supervised]."""
        net = self.network
        step = self._begin(batch, None, None)
        x: Tensor = torch.nn.functional.embedding(batch.ids, net.embedding)
        pending: Pending | None = None
        for block in net.blocks:
            rows = batch.supervised if block is net.blocks[-1] else None
            x, pending, _trace = block.forward(x, pending, step, "input", rows)
        _x, hidden, _scale = step.normalise(x, pending, net.norm)
        return head_loss(hidden, net.head, batch.targets, net.steps, with_gradient=False)

    def loss_and_gradient(self, batch: PackedBatch, seed: Tensor | None, flat: Tensor) -> Tensor:
        """Return the loss of every supervised token, fp32 [supervised]; leave their sum's gradient in ``flat``, times the scale.

        Args:
            batch: the tokens.
            seed: int64 [1] of dropout, None for no dropout.
            flat: from ``network.adapters.memory``.
        """
        net = self.network
        step = self._begin(batch, seed, flat)
        x: Tensor = torch.nn.functional.embedding(batch.ids, net.embedding)
        self._set_aside(x)
        x, pending, traces = self._forward(x, step)
        x, hidden, scale = step.normalise(x, pending, net.norm)
        del pending
        loss = head_loss(hidden, net.head, batch.targets, net.steps, with_gradient=True, scale=net.scale)
        gradient = net.steps.norm_backward(hidden, None, x, (scale, net.norm.weight), None)
        del x, hidden, scale
        self._backward(gradient, traces, step)
        return loss

    def prepare(self, batch: PackedBatch) -> None:
        """Take the host memory that a pass over ``batch`` needs, before it is captured."""
        if self._recompute == "offload":
            net = self.network
            for index in range(len(net.blocks) - 1):
                self._offload.reserve(index, len(batch.ids) * net.embedding.shape[1], net.dtype)

    def rehearse(self, batch: PackedBatch, seed: Tensor | None) -> None:
        """Launch what a pass launches, over the first block, one in the middle and the last; the results are not kept.

        And once more for twice as many pieces: attention is compiled for a number of them, and a later batch may have more.
        """
        net = self.network
        kinds = sorted({0, len(net.blocks) // 2, len(net.blocks) - 1})
        few = Stack(replace(net, blocks=tuple(net.blocks[kind] for kind in kinds)), self._recompute)
        try:
            for each in (batch, batch.blank(len(batch.ids), len(batch.supervised))):
                few.prepare(each)
                few.loss_and_gradient(each, seed, net.adapters.memory())
        finally:
            few.drop()
            for scratch in net.scratches:  # what was dequantized counts for nothing either
                scratch.drop()

    def drop(self) -> None:
        """Free what is kept between passes."""
        self._offload.drop()

    def _set_aside(self, x: Tensor) -> None:
        """Have the allocator hold pieces of the size of the blocks' inputs, where these are what is kept.

        Else they are cut out of larger pieces as those come free, and the rest of each is too small to be used again.
        """
        if self._recompute == "all" and x.device.type != "cpu":
            pieces = [torch.empty_like(x) for _ in range(len(self.network.blocks) + _PASSING)]
            del pieces

    def _forward(self, x: Tensor, step: StepContext) -> tuple[Tensor, Pending | None, list[Trace]]:
        blocks, pending = self.network.blocks, None
        traces: list[Trace] = []
        for index, block in enumerate(blocks):
            is_last = index == len(blocks) - 1
            rows = step.batch.supervised if is_last else None
            x, pending, trace = block.forward(x, pending, step, _KEEP[self._recompute], rows)
            if self._recompute == "offload" and not is_last and trace.x is not None:
                self._offload.put(index, trace.x)
                trace.x = None
            traces.append(trace)
        self._offload.settle()
        return x, pending, traces

    def _backward(self, gradient: Tensor, traces: list[Trace], step: StepContext) -> None:
        blocks, device = self.network.blocks, gradient.device
        for index in range(len(blocks) - 1, -1, -1):
            is_last, trace = index == len(blocks) - 1, traces.pop()
            if self._recompute == "offload":
                if not is_last:
                    trace.x = self._offload.take(index, device)
                self._offload.fetch(index - 1, device)
            rows = step.batch.supervised if is_last else None
            before = blocks[index].backward(gradient, trace, step, rows, to_input=index > 0)
            if before is not None:
                gradient = before

    def _begin(self, batch: PackedBatch, seed: Tensor | None, flat: Tensor | None) -> StepContext:
        net = self.network
        for scratch in net.scratches:
            scratch.begin()
        short_of_memory = self._recompute in ("all", "offload")
        return StepContext(
            steps=net.steps,
            batch=batch,
            angles=net.angles(batch.positions),
            groups=net.adapters.begin(flat),
            keys=DropoutKeys(0.0, batch.keys) if seed is None else DropoutKeys.drawn(net.dropout, batch.keys, seed),
            alpha=net.adapters.alpha,
            mlp_rows=_MLP_ROWS if short_of_memory else None,
        )
