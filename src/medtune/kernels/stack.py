"""All blocks of a model between embedding and loss: runs them forward and back under a recompute policy."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from medtune.kernels.adapters import Adapters
from medtune.kernels.block import Block, Keep, Trace
from medtune.kernels.dropout import DropoutSeeds
from medtune.kernels.head import head_loss
from medtune.kernels.layout import PackedBatch
from medtune.kernels.passing import Norm, Pass
from medtune.kernels.shelf import Shelf
from medtune.kernels.steps import Steps

__all__ = ["Network", "Recompute", "Stack", "Tape"]

Recompute = Literal["none", "selective", "all", "offload"]
"""What the backward pass computes again: nothing, the wide values of the MLPs, all but the blocks' inputs, or the same
with these inputs in the host's memory."""

_KEEP: dict[str, Keep] = {"none": "everything", "selective": "narrow", "all": "input", "offload": "input"}
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
        rotary: the model's own module of rotary angles.
        adapters: of all blocks.
        dropout: probability.
        steps: the form of the fused steps.
        dtype: compute type.
        is_training: says whether inputs are dropped now.
    """

    embedding: Tensor
    blocks: tuple[Block, ...]
    norm: Norm
    head: Tensor
    rotary: Any
    adapters: Adapters
    dropout: float
    steps: Steps
    dtype: torch.dtype
    is_training: Any


@dataclass(slots=True)
class Tape:
    """What the backward pass needs: the pass, the blocks' traces, and the gradient that enters the last block."""

    during: Pass
    traces: list[Trace]
    gradient: Tensor


class Stack:
    """Runs a network.

    Args:
        network: the model.
        recompute: the policy.
    """

    def __init__(self, network: Network, recompute: Recompute) -> None:
        self.network, self._recompute = network, recompute
        self._shelf = Shelf()

    def forward(self, batch: PackedBatch, *, keep: bool) -> tuple[Tensor, Tape | None]:
        """Return the summed loss of the batch, fp32 [], and the tape if one is kept."""
        net = self.network
        during = self._begin(batch, with_gradients=keep)
        x: Tensor = torch.nn.functional.embedding(batch.ids, net.embedding)
        pending: Tensor | None = None
        traces: list[Trace] = []
        last = len(net.blocks) - 1
        for index, block in enumerate(net.blocks):
            policy: Keep = _KEEP[self._recompute] if keep else "input"
            x, pending, trace = block.forward(x, pending, during, policy, batch.chosen if index == last else None)
            if not keep:
                continue
            if self._recompute == "offload" and index < last and trace.x is not None:
                self._shelf.put(index, trace.x)
                trace.x = None
            traces.append(trace)
            del trace
        x, hidden, scale = net.steps.norm(x, pending, net.norm.weight, net.norm.eps)
        del pending
        loss = head_loss(hidden, net.head, batch.targets, net.steps, with_gradient=keep)
        if not keep:
            return loss, None
        return loss, Tape(during, traces, net.steps.norm_backward(hidden, x, scale, net.norm.weight, None))

    def backward(self, tape: Tape, factor: Tensor) -> list[Tensor]:
        """Return ``factor`` times the gradient of the loss for each of the adapters' parameters, fp32."""
        during, device = tape.during, tape.gradient.device
        gradient = tape.gradient * factor.to(tape.gradient.dtype)
        tape.gradient = gradient.new_empty(0)
        last = len(self.network.blocks) - 1
        for index in range(last, -1, -1):
            trace = tape.traces.pop()
            if self._recompute == "offload":
                if index < last:
                    trace.x = self._shelf.take(index, device)
                if index > 0:
                    self._shelf.fetch(index - 1, device)
            rows = during.batch.chosen if index == last else None
            before = self.network.blocks[index].backward(gradient, trace, during, rows, to_input=index > 0)
            if before is not None:
                gradient = before
        return self.network.adapters.gradients(during.groups)

    def drop(self) -> None:
        """Free what is kept between passes."""
        self._shelf.drop()

    def _begin(self, batch: PackedBatch, *, with_gradients: bool) -> Pass:
        net = self.network
        flag = torch.empty(1, dtype=torch.float32, device=net.embedding.device)  # the angles come in its type
        cos, sin = net.rotary(flag, batch.positions[None])
        half = cos.shape[-1] // 2
        dropping = net.dropout > 0 and net.is_training()
        # drawn on the host from torch's generator: checkpoints hold its state, and no device is waited for
        seed = int(torch.randint(2**31, ()).item()) if dropping else 0
        short_of_memory = self._recompute in ("all", "offload")
        return Pass(
            steps=net.steps,
            batch=batch,
            cos=cos[0, :, :half].contiguous(),
            sin=sin[0, :, :half].contiguous(),
            groups=net.adapters.copy(with_gradients=with_gradients),
            seeds=DropoutSeeds(net.dropout if dropping else 0.0, seed),
            alpha=net.adapters.alpha,
            mlp_rows=_MLP_ROWS if short_of_memory else None,
        )
