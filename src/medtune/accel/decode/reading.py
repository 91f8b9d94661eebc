"""Reads a causal model, with or without peft's adapters, as a decoder; says why when it cannot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtune.accel.decode.model import Decoder, DecoderLayer
from medtune.accel.decode.products import LowRank, Product, Scratch, bytes_dequantized, store
from medtune.accel.decode.steps import choose_steps
from medtune.accel.model.eligibility import decoding_refusal
from medtune.accel.model.heads import Heads
from medtune.accel.model.proof import prove
from medtune.accel.model.reader import BaseParts, LayerParts, Projection, joint_bias, read_parts, traits_of, unwrapped
from medtune.accel.model.unsupported import UnsupportedError, surprises_refused

__all__ = ["Unread", "read_decoder", "survey"]


@dataclass(frozen=True, slots=True)
class Unread:
    """A model that can be read: what a plan needs to know before memory is taken.

    Attributes:
        parts: of the model without peft around it.
        dequantized_bytes: memory that compressed weights take once they are dequantized.
        largest_bytes: memory of the largest joint product's weights, dequantized.
        adapter_bytes: memory of the adapters' copies in the compute type.
    """

    parts: BaseParts
    dequantized_bytes: int
    largest_bytes: int
    adapter_bytes: int

    @property
    def heads(self) -> Heads:
        """How queries, keys and values divide."""
        return self.parts.heads

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.parts.layers)


def survey(model: Any, dtype: torch.dtype) -> Unread:
    """Look at a model without taking memory.

    Raises:
        UnsupportedError: it is of no known family, has parts that the decoder lacks, or computes something else.
    """
    with surprises_refused():
        kinds = {str(getattr(c.peft_type, "value", c.peft_type)) for c in getattr(model, "peft_config", {}).values()}
        if kinds - {"LORA"}:
            raise UnsupportedError(f"its adapter is {', '.join(sorted(kinds - {'LORA'}))}, not LoRA")
        base = unwrapped(model)
        refusal = decoding_refusal(traits_of(base))
        if refusal is not None:
            raise UnsupportedError(refusal)
        parts = read_parts(base)
        stored = {parts.embedding.dtype, parts.head.dtype}
        if stored != {dtype}:
            raise UnsupportedError(f"it is stored in {', '.join(sorted(map(str, stored)))} and computes in {dtype}")
        products = [product for layer in parts.layers for product in layer.products]
        adapter_values = sum(_adapter_values(product) for product in products)
        prove(parts, training=False)
        return Unread(
            parts,
            sum(bytes_dequantized(_bases(product), dtype) for product in products),
            bytes_dequantized(_bases(parts.layers[0].gate_up), dtype),
            dtype.itemsize * adapter_values,
        )


def read_decoder(found: Unread, dtype: torch.dtype, *, dequantize: bool) -> Decoder:
    """Return the decoder of a surveyed model; its adapters count as they are now: active, disabled or merged.

    Args:
        found: from ``survey``.
        dtype: compute type.
        dequantize: whether compressed weights are dequantized once, into memory of their own, or anew for every product.

    Raises:
        UnsupportedError: an adapter or a layer is of a kind that the decoder lacks.
    """
    parts, scratch = found.parts, None if dequantize else Scratch()
    with surprises_refused():
        return Decoder(
            embedding=parts.embedding,
            layers=tuple(_layer(layer, dtype, scratch) for layer in parts.layers),
            heads=parts.heads,
            norm=parts.norm,
            head=parts.head,
            angles=parts.angles,
            steps=choose_steps(parts.embedding.device),
        )


def _layer(layer: LayerParts, dtype: torch.dtype, scratch: Scratch | None) -> DecoderLayer:
    return DecoderLayer(
        norm=layer.norm,
        qkv=_product(layer.qkv, dtype, scratch),
        head_norms=layer.head_norms,
        window=layer.window,
        o=_product([layer.o], dtype, scratch),
        mlp_norm=layer.mlp_norm,
        gate_up=_product(layer.gate_up, dtype, scratch, is_joint=False),
        down=_product([layer.down], dtype, scratch),
    )


def _adapter_values(parts: Sequence[Projection]) -> int:
    """Return how many values ``_low_rank`` keeps of the adapters of joint layers."""
    downs = [down for part in parts for down, _, _ in _active(part.module)]
    ranks, outputs = [int(down.shape[0]) for down in downs], sum(part.outputs for part in parts)
    return sum(ranks) * outputs + max(ranks, default=0) * outputs + sum(down.numel() for down in downs)


def _bases(parts: Sequence[Projection]) -> list[Any]:
    return [part.base for part in parts]


def _product(
    parts: Sequence[Projection], dtype: torch.dtype, scratch: Scratch | None, *, is_joint: bool = True
) -> Product:
    weight = store(_bases(parts), dtype, scratch, is_joint=is_joint)
    if isinstance(weight, str):
        raise UnsupportedError(weight)
    return Product(weight, joint_bias(parts, dtype), _low_rank(parts, dtype))


def _low_rank(parts: Sequence[Projection], dtype: torch.dtype) -> LowRank | None:
    """Join the active adapters of layers, each beside the outputs of its own layer."""
    found = [list(_active(part.module)) for part in parts]
    if not any(found):
        return None
    ranks = [down.shape[0] for adapters in found for down, _, _ in adapters]
    down = torch.cat([d.detach().to(dtype) for adapters in found for d, _, _ in adapters])
    outputs = sum(part.outputs for part in parts)
    wide = torch.zeros(outputs, sum(ranks), dtype=dtype, device=parts[0].base.weight.device)
    output = rank = 0
    for adapters, part in zip(found, parts, strict=True):
        for _, up, factor in adapters:
            wide[output : output + part.outputs, rank : rank + up.shape[1]] = up.detach() * factor
            rank += up.shape[1]
        output += part.outputs
    alike = all(len(adapters) == 1 for adapters in found) and len(set(ranks)) == 1
    narrow = torch.cat([up.detach() * factor for ((_, up, factor),) in found]).to(dtype) if alike else None
    return LowRank(down, wide, narrow)


def _active(module: Any) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield both factors and the scale of each adapter that takes part; a merged one is in the weights already."""
    if not hasattr(module, "lora_A") or module.disable_adapters or module.merged:
        return
    if type(module).__name__ not in ("Linear", "Linear4bit"):
        raise UnsupportedError(f"its adapter layers are {type(module).__name__}")
    for name in module.active_adapters:
        if name not in module.lora_A:
            continue
        down, up = module.lora_A[name], module.lora_B[name]
        if name in getattr(module, "lora_variant", {}) or down.bias is not None or up.bias is not None:
            raise UnsupportedError("its adapter is of a special kind, such as DoRA")
        yield down.weight, up.weight, float(module.scaling[name])
