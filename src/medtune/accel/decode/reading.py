"""Reads a causal model of a known family, with or without peft's adapters, as a decoder; says why when it cannot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medtune.accel.decode.model import Decoder, DecoderLayer
from medtune.accel.decode.products import LowRank, Product, Scratch, bytes_when_restored, store
from medtune.accel.decode.steps import choose_steps
from medtune.accel.model.heads import Heads, Norm, reach
from medtune.accel.model.shape import HeadNorms, Window

__all__ = ["Unread", "UnreadableError", "read_decoder", "survey"]

_FAMILIES = {
    "mistral": "MistralForCausalLM",
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary angles that do not depend on how long a sequence has become."""
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")


class UnreadableError(Exception):
    """The model cannot be read as a decoder; the message says why, as the end of a sentence about it."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A model that can be read: what a plan needs to know before memory is taken.

    Attributes:
        base: the model without peft around it.
        heads: how queries, keys and values divide.
        layers: number of them.
        width: of the residual stream.
        mlp_width: of the MLP inside.
        restored_bytes: memory that compressed weights take once they are restored.
        largest_bytes: memory of the largest joint product's weights, restored.
        adapter_bytes: memory of the adapters' copies in the compute type.
    """

    base: Any
    heads: Heads
    layers: int
    width: int
    mlp_width: int
    restored_bytes: int
    largest_bytes: int
    adapter_bytes: int


def survey(model: Any, dtype: torch.dtype) -> Unread:
    """Look at a model without taking memory.

    Raises:
        UnreadableError: it is of no known family, or has parts that the decoder lacks.
    """
    kinds = {str(getattr(c.peft_type, "value", c.peft_type)) for c in getattr(model, "peft_config", {}).values()}
    if kinds - {"LORA"}:
        raise UnreadableError(f"its adapter is {', '.join(sorted(kinds - {'LORA'}))}, not LoRA")
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    _check_family(base)
    _check_plain(base, dtype)
    layers = base.model.layers
    linears = [[_frozen(m) for m in _linears(layer)] for layer in layers]
    attention, config = layers[0].self_attn, base.config
    width = int(attention.head_dim)
    heads = Heads(_outputs(linears[0][0]) // width, _outputs(linears[0][1]) // width, width)
    gate_up = linears[0][4:6]
    return Unread(
        base,
        heads,
        len(layers),
        int(config.hidden_size),
        int(config.intermediate_size),
        sum(bytes_when_restored(each, dtype) for each in linears),
        bytes_when_restored(gate_up, dtype),
        dtype.itemsize * sum(_adapter_values(modules) for layer in layers for modules in _products(layer)),
    )


def read_decoder(found: Unread, dtype: torch.dtype, *, restore: bool) -> Decoder:
    """Return the decoder of a surveyed model; its adapters count as they are now: active, disabled or merged.

    Args:
        found: from ``survey``.
        dtype: compute type.
        restore: whether compressed weights are restored once, into memory of their own, or anew for every product.

    Raises:
        UnreadableError: an adapter or a layer is of a kind that the decoder lacks.
    """
    base, decoder = found.base, found.base.model
    scratch = None if restore else Scratch()
    rotary = decoder.rotary_emb
    flag = torch.empty(1, dtype=torch.float32, device=base.lm_head.weight.device)  # the angles come in its type

    def angles(positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = rotary(flag, positions[None])
        half = cos.shape[-1] // 2
        return cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous()

    return Decoder(
        embedding=decoder.embed_tokens.weight.data,
        layers=tuple(_layer(layer, base.config, dtype, scratch) for layer in decoder.layers),
        heads=found.heads,
        norm=_norm(decoder.norm),
        head=base.lm_head.weight.data,
        angles=angles,
        steps=choose_steps(flag.device),
    )


def _layer(layer: Any, config: Any, dtype: torch.dtype, scratch: Scratch | None) -> DecoderLayer:
    attention, (qkv, o, gate_up, down) = layer.self_attn, _products(layer)
    norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    head_norms = None
    if norms[0] is not None and norms[1] is not None:
        head_norms = HeadNorms(_norm(norms[0]), _norm(norms[1]))
    return DecoderLayer(
        norm=_norm(layer.input_layernorm),
        qkv=_product(qkv, dtype, scratch),
        head_norms=head_norms,
        window=Window(float(attention.scaling), reach(attention, config)),
        o=_product(o, dtype, scratch),
        mlp_norm=_norm(layer.post_attention_layernorm),
        gate_up=_product(gate_up, dtype, scratch, is_joint=False),
        down=_product(down, dtype, scratch),
    )


def _check_family(base: Any) -> None:
    family = _FAMILIES.get(getattr(getattr(base, "config", None), "model_type", ""))
    # The module's name is looked at because code shipped with a model may give its class the same name.
    if type(base).__name__ != family or not type(base).__module__.startswith("transformers.models."):
        raise UnreadableError(f"the model is a {type(base).__name__}; known are {', '.join(_FAMILIES.values())}")


def _check_plain(base: Any, dtype: torch.dtype) -> None:
    rotary: Any = base.model.rotary_emb
    head: Any = base.lm_head
    kind = getattr(rotary, "rope_type", None)
    devices = {parameter.device for parameter in base.parameters()}
    kept = {base.model.embed_tokens.weight.dtype, getattr(head, "weight", base.model.norm.weight).dtype}
    reasons = {
        f"its activation is {base.config.hidden_act}, not silu": base.config.hidden_act != "silu",
        f"its rotary angles are of type '{kind}'": kind not in _FIXED_ROTATIONS,
        "it rotates a part of each head only": 2 * rotary.inv_freq.numel() != base.model.layers[0].self_attn.head_dim,
        "its head is not a plain linear layer without bias": type(head) is not nn.Linear
        or getattr(head, "bias", None) is not None,
        "its embedding is not a plain one": type(base.model.embed_tokens) is not nn.Embedding,
        "it is spread over several devices": len(devices) != 1,
        f"it is stored in {', '.join(sorted(map(str, kept)))} and computes in {dtype}": kept != {dtype},
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnreadableError(reason)
    for name, module in base.named_modules():
        if _acting_hooks(module) or hasattr(module, "_hf_hook"):
            raise UnreadableError(f"a hook is registered on '{name or type(base).__name__}'")


def _acting_hooks(module: Any) -> list[Any]:
    """Return hooks that may change what a forward pass gives.

    Training with recomputation leaves one behind that only marks the embedding's output for the backward pass.
    """
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]  # noqa: SLF001 - no other way
    return [hook for hook in hooks if not getattr(hook, "__name__", "").startswith("make_inputs_require_grad")]


def _linears(layer: Any) -> list[Any]:
    """Return the linear modules of a layer, perhaps wrapped by peft: q, k, v, o, gate, up, down."""
    return [getattr(layer.self_attn, n) for n in _ATTENTION] + [getattr(layer.mlp, n) for n in _MLP]


def _products(layer: Any) -> tuple[list[Any], ...]:
    """Return the linear modules of a layer by the products that they join in: qkv, o, gate and up, down."""
    q, k, v, o, gate, up, down = _linears(layer)
    return [q, k, v], [o], [gate, up], [down]


def _adapter_values(modules: Sequence[Any]) -> int:
    """Return how many values ``_low_rank`` keeps of the adapters of joint layers."""
    downs = [down for module in modules for down, _, _ in _active(module)]
    ranks, outputs = [int(down.shape[0]) for down in downs], sum(_outputs(_frozen(module)) for module in modules)
    return sum(ranks) * outputs + max(ranks, default=0) * outputs + sum(down.numel() for down in downs)


def _frozen(module: Any) -> Any:
    return module.base_layer if hasattr(module, "lora_A") else module


def _product(modules: Sequence[Any], dtype: torch.dtype, scratch: Scratch | None, *, is_joint: bool = True) -> Product:
    layers = [_frozen(module) for module in modules]
    weight = store(layers, dtype, scratch, is_joint=is_joint)
    if isinstance(weight, str):
        raise UnreadableError(weight)
    biases: list[Any] = [getattr(layer, "bias", None) for layer in layers]
    bias = None
    if any(b is not None for b in biases):
        blanks = [torch.zeros(_outputs(layer), dtype=dtype, device=layer.weight.device) for layer in layers]
        bias = torch.cat([z if b is None else b.data.to(dtype) for z, b in zip(blanks, biases, strict=True)])
    return Product(weight, bias, _low_rank(modules, layers, dtype))


def _low_rank(modules: Sequence[Any], layers: Sequence[Any], dtype: torch.dtype) -> LowRank | None:
    """Join the active adapters of layers, each beside the outputs of its own layer."""
    found = [list(_active(module)) for module in modules]
    if not any(found):
        return None
    outputs = [_outputs(layer) for layer in layers]
    ranks = [down.shape[0] for adapters in found for down, _, _ in adapters]
    device = layers[0].weight.device
    down = torch.cat([d.detach().to(dtype) for adapters in found for d, _, _ in adapters])
    wide = torch.zeros(sum(outputs), sum(ranks), dtype=dtype, device=device)
    output = rank = 0
    for adapters, height in zip(found, outputs, strict=True):
        for _, up, factor in adapters:
            wide[output : output + height, rank : rank + up.shape[1]] = up.detach() * factor
            rank += up.shape[1]
        output += height
    alike = all(len(adapters) == 1 for adapters in found) and len(set(ranks)) == 1
    narrow = torch.cat([up.detach() * factor for ((_, up, factor),) in found]).to(dtype) if alike else None
    return LowRank(down, wide, narrow)


def _active(module: Any) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield both factors and the scale of each adapter that takes part; a merged one is in the weights already."""
    if not hasattr(module, "lora_A") or module.disable_adapters or module.merged:
        return
    if type(module).__name__ not in ("Linear", "Linear4bit"):
        raise UnreadableError(f"its adapter layers are {type(module).__name__}")
    for name in module.active_adapters:
        if name not in module.lora_A:
            continue
        down, up = module.lora_A[name], module.lora_B[name]
        if name in getattr(module, "lora_variant", {}) or down.bias is not None or up.bias is not None:
            raise UnreadableError("its adapter is of a special kind, such as DoRA")
        yield down.weight, up.weight, float(module.scaling[name])


def _norm(module: Any) -> Norm:
    return Norm(module.weight.data, float(module.variance_epsilon))


def _outputs(layer: Any) -> int:
    return int(layer.out_features)
