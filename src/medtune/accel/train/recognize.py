"""Recognises a peft model that the fast path can run, and takes it apart; says why when it cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medtune.accel.model.heads import Heads, Norm, reach
from medtune.accel.steps.head_norms import HeadNorms
from medtune.accel.train.adapters import Adapters, Member
from medtune.accel.train.attention import Window
from medtune.accel.train.attention_half import AttentionHalf
from medtune.accel.train.block import Block
from medtune.accel.train.frozen import Frozen, Scratch, freeze
from medtune.accel.train.mlp_half import MlpHalf
from medtune.accel.train.stack import Network
from medtune.accel.train.steps import Steps, choose_steps

__all__ = ["UnsupportedError", "recognize"]

_FAMILIES = {
    "mistral": "MistralForCausalLM",
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary angles that do not depend on the length of the batch."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class UnsupportedError(Exception):
    """The fast path cannot run this model; the message says why."""


@dataclass(frozen=True, slots=True)
class _Adapted:
    """A layer of the model: its frozen part, and its adapter if it has one."""

    base: nn.Module
    member: Member | None
    settings: tuple[int, float, float] | None  # rank, factor, dropout


def recognize(model: Any, dtype: torch.dtype | None, *, keep_dequantized: bool = False) -> Network:
    """Take a peft model apart; joined weights move into shared memory, values stay the same.

    Args:
        model: a causal model that peft wrapped with a LoRA adapter.
        dtype: compute type, None for that of the embedding.
        keep_dequantized: whether 4-bit weights stay restored.

    Raises:
        UnsupportedError: the fast path cannot run it.
    """
    base, name = _checked_base(model)
    decoder, config = base.model, base.config
    _check_shape(base, config)
    embedding, head = decoder.embed_tokens.weight, base.lm_head.weight
    kind: torch.dtype = dtype or embedding.dtype
    if embedding.dtype != kind or head.dtype != kind:
        raise UnsupportedError(f"its embedding is stored in {embedding.dtype} and computes in {kind}")
    if kind == torch.float16:
        raise UnsupportedError("it computes in fp16, whose gradients need the scaler's scale from the loss on")
    layers = [_layers_of(layer, name) for layer in decoder.layers]
    found = {part.settings for parts in layers for part in parts.values() if part.settings is not None}
    if len(found) != 1:
        raise UnsupportedError("its adapters differ in rank, factor or dropout" if found else "it has no adapter")
    (rank, alpha, dropout) = found.pop()
    adapters = Adapters(rank, alpha, kind)
    steps = choose_steps(embedding.device, rank, kind)
    build = _Builder(config, kind, adapters, steps, keep_dequantized=keep_dequantized)
    blocks = tuple(build.block(layer, parts) for layer, parts in zip(decoder.layers, layers, strict=True))
    _check_trained(model, adapters)
    norm = Norm(decoder.norm.weight.data, float(decoder.norm.variance_epsilon))
    return Network(
        embedding=embedding.data,
        blocks=blocks,
        norm=norm,
        head=head.data,
        rotary=decoder.rotary_emb,
        adapters=adapters,
        dropout=dropout,
        steps=steps,
        dtype=kind,
        scratches=tuple(build.scratches),
        is_training=lambda: model.training,
    )


class _Builder:
    """Builds blocks out of the layers of a model."""

    def __init__(
        self, config: Any, dtype: torch.dtype, adapters: Adapters, steps: Steps, *, keep_dequantized: bool
    ) -> None:
        self._config, self._dtype = config, dtype
        self._adapters, self._steps = adapters, steps
        self.scratches = [] if keep_dequantized else [Scratch(), Scratch()]
        self._keep_dequantized = keep_dequantized

    def block(self, layer: Any, parts: dict[str, _Adapted]) -> Block:
        """Return the block of a decoder layer."""
        attention = layer.self_attn
        qkv = [parts[name] for name in ("q_proj", "k_proj", "v_proj")]
        wide, down, o = [parts["gate_proj"], parts["up_proj"]], [parts["down_proj"]], [parts["o_proj"]]
        groups = [self._group(g) for g in (qkv, o, wide, down)]
        width = int(attention.head_dim)
        half = AttentionHalf(
            heads=Heads(_outputs(qkv[0].base) // width, _outputs(qkv[1].base) // width, width),
            window=Window(float(attention.scaling), reach(attention, self._config)),
            norm=_norm(layer.input_layernorm),
            qkv=self._freeze(qkv),
            bias=_joint_bias(qkv, self._dtype),
            head_norms=_head_norms(attention),
            o=self._freeze(o),
            groups=(groups[0], groups[1]),
        )
        mlp = MlpHalf(
            norm=_norm(layer.post_attention_layernorm),
            gate_up=self._freeze(wide, 1),  # apart: MLPs worked on in parts use both weights in turn
            down=self._freeze(down),
            groups=(groups[2], groups[3]),
        )
        return Block(half, mlp)

    def _group(self, parts: Sequence[_Adapted]) -> int | None:
        return self._adapters.add([p.member for p in parts], _inputs(parts[0].base), [_outputs(p.base) for p in parts])

    def _freeze(self, parts: Sequence[_Adapted], scratch: int = 0) -> Frozen:
        if self._keep_dequantized:
            self.scratches.append(Scratch(keeps=True))
        place = self.scratches[-1 if self._keep_dequantized else scratch]
        frozen = freeze([p.base for p in parts], self._dtype, place, self._steps)
        if isinstance(frozen, str):
            raise UnsupportedError(frozen)
        return frozen


def _checked_base(model: Any) -> tuple[Any, str]:
    """Return the base model and the name of its one active LoRA adapter."""
    configs: dict[str, Any] = getattr(model, "peft_config", {})
    active = getattr(model, "active_adapters", None)  # transformers' own model has a method of that name
    if len(configs) != 1 or active != list(configs):
        raise UnsupportedError("it does not have exactly one adapter, and that one active")
    (name, lora), base = next(iter(configs.items())), model.get_base_model()
    if str(getattr(lora.peft_type, "value", lora.peft_type)) != "LORA":
        raise UnsupportedError(f"its adapter is {lora.peft_type}, not LoRA")
    reasons = {
        "DoRA": getattr(lora, "use_dora", False),
        "trained biases": lora.bias != "none" or getattr(lora, "lora_bias", False),
        "further trained modules": bool(lora.modules_to_save) or bool(getattr(lora, "trainable_token_indices", None)),
    }
    for what, found in reasons.items():
        if found:
            raise UnsupportedError(f"its adapter has {what}" if what != "DoRA" else "its adapter is DoRA")
    family = _FAMILIES.get(base.config.model_type)
    if type(base).__name__ != family or not type(base).__module__.startswith("transformers.models."):
        raise UnsupportedError(f"it is a {type(base).__name__}; known are {', '.join(_FAMILIES.values())}")
    return base, name


def _check_shape(base: Any, config: Any) -> None:
    if config.hidden_act != "silu":
        raise UnsupportedError(f"its activation is {config.hidden_act}, not silu")
    if getattr(config, "attention_dropout", 0.0):
        raise UnsupportedError("it drops attention weights")
    if base.lm_head.bias is not None or type(base.lm_head) is not nn.Linear:
        raise UnsupportedError("its head is not a plain linear layer without bias")
    rotary = base.model.rotary_emb
    if getattr(rotary, "rope_type", None) not in _FIXED_ROTATIONS:
        raise UnsupportedError(f"its rotary angles are of type '{getattr(rotary, 'rope_type', None)}'")
    if 2 * rotary.inv_freq.numel() != base.model.layers[0].self_attn.head_dim:
        raise UnsupportedError("it rotates a part of each head only")
    for name, module in base.named_modules():
        if any(getattr(module, hooks, None) for hooks in _HOOKS) or hasattr(module, "_hf_hook"):
            raise UnsupportedError(f"a hook is registered on '{name or type(base).__name__}'")
    devices = {parameter.device for parameter in base.parameters()}
    if len(devices) != 1:
        raise UnsupportedError("it is spread over several devices")


def _layers_of(layer: Any, adapter: str) -> dict[str, _Adapted]:
    """Return the linear layers of a decoder layer by name."""
    places = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
    found = {
        name: _adapted(getattr(getattr(layer, part), name), adapter) for part, names in places.items() for name in names
    }
    biased = [
        n for n in ("o_proj", "gate_proj", "up_proj", "down_proj") if getattr(found[n].base, "bias", None) is not None
    ]
    if biased:
        raise UnsupportedError(f"its {biased[0]} has a bias")
    return found


def _adapted(module: Any, adapter: str) -> _Adapted:
    if not hasattr(module, "lora_A"):
        return _Adapted(module, None, None)
    if type(module).__name__ not in ("Linear", "Linear4bit"):
        raise UnsupportedError(f"its adapter layers are {type(module).__name__}")
    if adapter not in module.lora_A:
        return _Adapted(module.base_layer, None, None)
    if adapter in getattr(module, "lora_variant", {}) or module.merged or module.disable_adapters:
        raise UnsupportedError("its adapter is merged, disabled or of a special variant")
    down, up = module.lora_A[adapter].weight, module.lora_B[adapter].weight
    drop = module.lora_dropout[adapter]
    settings = (int(module.r[adapter]), float(module.scaling[adapter]), float(getattr(drop, "p", 0.0)))
    return _Adapted(module.base_layer, Member(down, up), settings)


def _check_trained(model: Any, adapters: Adapters) -> None:
    known = {id(parameter) for parameter in adapters.parameters}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad != (id(parameter) in known):
            raise UnsupportedError(f"'{name}' is {'trained' if parameter.requires_grad else 'not trained'}")


def _norm(module: Any) -> Norm:
    return Norm(module.weight.data, float(module.variance_epsilon))


def _head_norms(attention: Any) -> HeadNorms | None:
    query, key = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
    if query is None or key is None:
        return None
    return HeadNorms((query.weight.data, key.weight.data), float(query.variance_epsilon))


def _joint_bias(parts: Sequence[_Adapted], dtype: torch.dtype) -> Tensor | None:
    """Return the biases side by side, zeros for a layer without one."""
    biases: list[Any] = [getattr(part.base, "bias", None) for part in parts]
    if all(bias is None for bias in biases):
        return None
    device = next(bias.device for bias in biases if bias is not None)
    blanks = [torch.zeros(_outputs(part.base), dtype=dtype, device=device) for part in parts]
    return torch.cat([b if bias is None else bias.data.to(dtype) for b, bias in zip(blanks, biases, strict=True)])


def _inputs(layer: Any) -> int:
    return int(layer.in_features)


def _outputs(layer: Any) -> int:
    return int(layer.out_features)
