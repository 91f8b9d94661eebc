"""A decoder of the Llama kind as generation runs it: packed prompts, and one token for each of many sequences."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medtune.accel.decode.products import Product
from medtune.accel.decode.steps import Steps
from medtune.accel.model.heads import HeadNorms, Heads, Norm, Window
from medtune.accel.model.weights import logits_memory, write_logits

__all__ = ["Attend", "Decoder", "DecoderLayer"]

Attend = Callable[[int, Tensor], Tensor]
"""Number of the layer and its rotated [rows, heads.total] queries, keys and values -> [rows, queries * width]."""


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """One layer: attention half and gated MLP half."""

    norm: Norm
    qkv: Product
    head_norms: HeadNorms | None
    window: Window
    o: Product
    mlp_norm: Norm
    gate_up: Product
    down: Product


@dataclass(frozen=True, slots=True)
class Decoder:
    """A whole model.

    Attributes:
        embedding: [vocabulary, width].
        layers: in order.
        heads: how a joint product of queries, keys and values divides.
        norm: after the last layer.
        head: [vocabulary, width].
        angles: positions [n] -> cosines and sines, fp32 [n, head width / 2] each.
        steps: the form of the fused steps.
    """

    embedding: Tensor
    layers: tuple[DecoderLayer, ...]
    heads: Heads
    norm: Norm
    head: Tensor
    angles: Callable[[Tensor], tuple[Tensor, Tensor]]
    steps: Steps

    def next_ids(
        self,
        ids: Tensor,
        angles: tuple[Tensor, Tensor],
        attend: Attend,
        rows: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """Run tokens through the model and return the most probable next id of each wanted one, int64.

        Args:
            ids: [tokens] int64.
            angles: cosines and sines of the tokens' positions.
            attend: attention of a layer; it also keeps keys and values.
            rows: tokens whose successor is wanted, None for all.
            allowed: [wanted, n] int64, the only ids that may follow each wanted one; None for all.
        """
        x: Tensor = torch.nn.functional.embedding(ids, self.embedding)
        pending: Tensor | None = None
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            x, normed = self.steps.norm(x, pending, layer.norm)
            qkv = layer.qkv(normed)
            self.steps.rotate(qkv, angles, self.heads, layer.head_norms)
            context = attend(index, qkv)
            if index == last and rows is not None:
                context, x = context.index_select(0, rows), x.index_select(0, rows)
            x, normed = self.steps.norm(x, layer.o(context), layer.mlp_norm)
            pending = layer.down(self._activated(layer.gate_up, normed))
        _, hidden = self.steps.norm(x, pending, self.norm)
        logits = logits_memory(len(hidden), len(self.head), hidden)
        write_logits(hidden, self.head, logits)
        if allowed is None:
            return logits.argmax(-1)
        return allowed.gather(1, logits.gather(1, allowed).argmax(-1, keepdim=True))[:, 0]

    def _activated(self, gate_up: Product, x: Tensor) -> Tensor:
        """Return ``silu(gate) * up``, the adapters added inside the fused step where they have its shape."""
        adapters = gate_up.adapters
        if adapters is None or adapters.narrow is None or gate_up.bias is not None:
            return self.steps.gate(gate_up(x), None)
        return self.steps.gate(gate_up.weight.product(x), (torch.mm(x, adapters.down.t()), adapters.narrow))
