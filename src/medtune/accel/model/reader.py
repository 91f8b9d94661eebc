"""Takes a causal model of transformers, perhaps wrapped by peft, apart into its layers, norms, head and angles."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from medtune.accel.model.eligibility import FIXED_ROTATIONS, BaseTraits
from medtune.accel.model.heads import HeadNorms, Heads, Norm, Window
from medtune.accel.model.unsupported import UnsupportedError

__all__ = ["BaseParts", "LayerParts", "Projection", "joint_bias", "layers_of", "read_parts", "traits_of", "unwrapped"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HARMLESS_HOOK = "make_inputs_require_grad"
"""Begin of the name of the hook that training with recomputation leaves on the embedding; it changes no value."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear layer of a block.

    Attributes:
        name: such as "q_proj".
        module: as it stands in the model, perhaps with peft's adapters around it.
        base: the frozen layer.
        inputs: width of its input.
        outputs: width of its output.
    """

    name: str
    module: Any
    base: Any
    inputs: int
    outputs: int

    @property
    def bias(self) -> Tensor | None:
        """The frozen layer's bias [outputs]."""
        found: Any = getattr(self.base, "bias", None)
        return None if found is None else found.data


@dataclass(frozen=True, slots=True)
class LayerParts:
    """One layer of a decoder.

    Attributes:
        module: the layer as it stands in the model.
        norm: before attention.
        qkv: projections to queries, keys and values.
        head_norms: of queries and keys, None where there are none.
        window: scale and sliding window of attention.
        o: projection after attention.
        mlp_norm: before the MLP.
        gate_up: projections before the activation.
        down: projection after it.
    """

    module: Any
    norm: Norm
    qkv: tuple[Projection, Projection, Projection]
    head_norms: HeadNorms | None
    window: Window
    o: Projection
    mlp_norm: Norm
    gate_up: tuple[Projection, Projection]
    down: Projection

    @property
    def projections(self) -> tuple[Projection, ...]:
        """All linear layers, in the order of the computation."""
        return *self.qkv, self.o, *self.gate_up, self.down

    @property
    def products(self) -> tuple[tuple[Projection, ...], ...]:
        """The linear layers by the products that they join in: those that read the same input."""
        return self.qkv, (self.o,), self.gate_up, (self.down,)


@dataclass(frozen=True, slots=True)
class BaseParts:
    """A causal model without peft around it.

    Attributes:
        module: the model.
        embedding: [vocabulary, width].
        layers: in order.
        heads: how queries, keys and values of every layer divide.
        norm: after the last layer.
        head: [vocabulary, width].
        rotary: its module of rotary angles.
    """

    module: Any
    embedding: Tensor
    layers: tuple[LayerParts, ...]
    heads: Heads
    norm: Norm
    head: Tensor
    rotary: Any

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self.embedding.shape[1])

    @property
    def mlp_width(self) -> int:
        """Width of the MLP inside."""
        return self.layers[0].down.inputs

    @property
    def angles(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Positions [n] -> cosines and sines, fp32 [n, head width / 2] each; they hold the module, not this value."""
        rotary, kind = self.rotary, torch.empty(1, dtype=torch.float32, device=self.embedding.device)

        def angles(positions: Tensor) -> tuple[Tensor, Tensor]:
            cos, sin = rotary(kind, positions[None])  # the angles come in the type of its first argument
            half = cos.shape[-1] // 2
            return cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous()

        return angles


def unwrapped(model: Any) -> Any:
    """Return the model without peft around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def traits_of(base: Any) -> BaseTraits:
    """Return what the config of a loaded model says."""
    return BaseTraits.of(base.config.to_dict())


def read_parts(base: Any) -> BaseParts:
    """Take a model apart that the eligibility table lets pass.

    Args:
        base: without peft around it, though its layers may hold peft's adapters.

    Raises:
        UnsupportedError: it has parts that medtune's own forms lack.
    """
    decoder = base.model
    _check_modules(base)
    layers = layers_of(base)
    found = {_heads(layer.module.self_attn, layer) for layer in layers}
    if len(found) != 1:
        raise UnsupportedError("its layers differ in heads" if found else "it has no layers")
    heads = found.pop()
    for layer in layers:
        _check_widths(layer, int(decoder.embed_tokens.weight.shape[1]), heads)
    _check_rotary(decoder.rotary_emb, heads)
    return BaseParts(
        module=base,
        embedding=decoder.embed_tokens.weight.data,
        layers=layers,
        heads=heads,
        norm=_norm(decoder.norm),
        head=base.lm_head.weight.data,
        rotary=decoder.rotary_emb,
    )


def layers_of(base: Any) -> tuple[LayerParts, ...]:
    """Return the layers of a model's decoder, unchecked."""
    return tuple(_layer(layer, base.config) for layer in base.model.layers)


def joint_bias(parts: Sequence[Projection], dtype: torch.dtype) -> Tensor | None:
    """Return the biases of projections side by side, zeros for one without; None where none has any."""
    biases = [part.bias for part in parts]
    if all(bias is None for bias in biases):
        return None
    device = parts[0].base.weight.device
    return torch.cat(
        [
            torch.zeros(part.outputs, dtype=dtype, device=device) if bias is None else bias.to(dtype)
            for part, bias in zip(parts, biases, strict=True)
        ]
    )


def _check_modules(base: Any) -> None:
    if any(isinstance(parameter, DTensor) for parameter in base.parameters()):
        raise UnsupportedError("its layers are sharded over processes")
    head: Any = base.lm_head
    if type(head) is not nn.Linear or getattr(head, "bias", None) is not None:
        raise UnsupportedError("its head is not a plain linear layer without bias")
    if type(base.model.embed_tokens) is not nn.Embedding:
        raise UnsupportedError("its embedding is not a plain one")
    if len({parameter.device for parameter in base.parameters()}) != 1:
        raise UnsupportedError("it is spread over several devices")
    for name, module in base.named_modules():
        if any(_acting_hooks(module)) or hasattr(module, "_hf_hook"):
            raise UnsupportedError(f"a hook is registered on '{name or type(base).__name__}'")
        if module is not base and "forward" in vars(module):  # the trainer replaces that of the whole model itself
            raise UnsupportedError(f"the forward of '{name}' was replaced")


def _acting_hooks(module: Any) -> Iterator[Any]:
    """Yield the hooks that may change what a module gives, forward or backward."""
    for kind in _HOOKS:
        for hook in getattr(module, kind, {}).values():
            if not getattr(hook, "__name__", "").startswith(_HARMLESS_HOOK):
                yield hook


def _check_rotary(rotary: Any, heads: Heads) -> None:
    if rotary.rope_type not in FIXED_ROTATIONS:
        raise UnsupportedError(f"its rotary angles are of type '{rotary.rope_type}'")
    if 2 * rotary.inv_freq.numel() != heads.width:
        raise UnsupportedError("it rotates a part of each head only")


def _check_widths(layer: LayerParts, width: int, heads: Heads) -> None:
    """Refuse a layer whose parts do not fit together, such as one that was pruned by itself."""
    gate, up = layer.gate_up
    norms = [layer.norm, layer.mlp_norm]
    head_norms = [] if layer.head_norms is None else [layer.head_norms.query, layer.head_norms.key]
    fits = (
        {part.inputs for part in (*layer.qkv, gate, up)} == {width} == {layer.o.outputs, layer.down.outputs}
        and gate.outputs == up.outputs == layer.down.inputs
        and all(norm.weight.shape == (width,) for norm in norms)
        and all(norm.weight.shape == (heads.width,) for norm in head_norms)
    )
    if not fits:
        raise UnsupportedError("the widths of a layer's parts do not fit together")


def _layer(layer: Any, config: Any) -> LayerParts:
    attention, mlp = layer.self_attn, layer.mlp
    q, k, v, o = (_projection(attention, name) for name in ("q_proj", "k_proj", "v_proj", "o_proj"))
    gate, up, down = (_projection(mlp, name) for name in ("gate_proj", "up_proj", "down_proj"))
    return LayerParts(
        module=layer,
        norm=_norm(layer.input_layernorm),
        qkv=(q, k, v),
        head_norms=_head_norms(attention),
        window=Window(float(attention.scaling), _sliding_window(attention, config)),
        o=o,
        mlp_norm=_norm(layer.post_attention_layernorm),
        gate_up=(gate, up),
        down=down,
    )


def _projection(place: Any, name: str) -> Projection:
    module = getattr(place, name)
    base = module.base_layer if hasattr(module, "lora_A") else module
    return Projection(name, module, base, int(base.in_features), int(base.out_features))


def _norm(module: Any) -> Norm:
    return Norm(module.weight.data, float(module.variance_epsilon))


def _head_norms(attention: Any) -> HeadNorms | None:
    query, key = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
    if query is None and key is None:
        return None
    norms = HeadNorms(_norm(query), _norm(key))
    if norms.query.eps != norms.key.eps:
        raise UnsupportedError("the norms of its query and key heads differ in eps")
    return norms


def _sliding_window(attention: Any, config: Any) -> int | None:
    """Return how many tokens back a layer sees, None for all: Mistral says so in its config, Qwen for each layer."""
    if hasattr(attention, "sliding_window"):
        tokens = attention.sliding_window
    else:
        tokens = config.sliding_window if config.model_type == "mistral" else None
    if tokens is not None and int(tokens) < 1:
        raise UnsupportedError(f"its sliding window is {tokens}")
    return None if tokens is None else int(tokens)


def _heads(attention: Any, layer: LayerParts) -> Heads:
    width = int(attention.head_dim)
    q, k, v = (part.outputs for part in layer.qkv)
    if q % width or k % width or k != v or layer.o.inputs != q or (q // width) % (k // width):
        raise UnsupportedError("its heads do not divide its projections")
    return Heads(q // width, k // width, width)
