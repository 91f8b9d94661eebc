"""Recognises a peft model that the fast path can train, and makes a network of its parts; says why when it cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from medtune.accel.model.eligibility import bias_refusal, training_refusal
from medtune.accel.model.proof import prove
from medtune.accel.model.reader import BaseParts, LayerParts, Projection, joint_bias, read_parts, traits_of
from medtune.accel.model.unsupported import UnsupportedError, surprises_refused
from medtune.accel.train.adapters import Adapters, Member
from medtune.accel.train.attention_half import AttentionHalf
from medtune.accel.train.block import Block
from medtune.accel.train.frozen import Frozen, Scratch, freeze
from medtune.accel.train.mlp_half import MlpHalf
from medtune.accel.train.stack import Network
from medtune.accel.train.steps import Steps, choose_steps

__all__ = ["recognize"]


@dataclass(frozen=True, slots=True)
class _Settings:
    """Rank, factor and dropout of an adapter."""

    rank: int
    factor: float
    dropout: float


def recognize(model: Any, dtype: torch.dtype | None, *, keep_dequantized: bool = False) -> Network:
    """Take a peft model apart; joined weights move into shared memory, values stay the same.

    Args:
        model: a causal model that peft wrapped with a LoRA adapter.
        dtype: compute type, None for that of the embedding.
        keep_dequantized: whether 4-bit weights stay dequantized.

    Raises:
        UnsupportedError: the fast path cannot run it.
    """
    with surprises_refused():
        name, lora = _only_adapter(model)
        base = model.get_base_model()
        kind: torch.dtype = dtype or base.get_input_embeddings().weight.dtype
        refusal = training_refusal(traits_of(base), lora)
        if refusal is not None:
            raise UnsupportedError(refusal)
        parts = read_parts(base)
        _check_layers(parts, kind)
        settings = _common_settings(parts, name)
        prove(parts, training=True)
        network = _network(model, parts, _Builder(parts, name, settings, kind, keep_dequantized=keep_dequantized))
        _check_trained(model, network.adapters)
    return network


def _network(model: Any, parts: BaseParts, build: "_Builder") -> Network:
    return Network(
        embedding=parts.embedding,
        blocks=tuple(build.block(layer) for layer in parts.layers),
        norm=parts.norm,
        head=parts.head,
        angles=parts.angles,
        adapters=build.adapters,
        dropout=build.dropout,
        steps=build.steps,
        dtype=build.dtype,
        scratches=tuple(build.scratches),
        scale=torch.ones(1, device=parts.embedding.device) if build.dtype == torch.float16 else None,
        is_training=lambda: model.training,
    )


class _Builder:
    """Builds blocks out of the layers of a model."""

    def __init__(
        self, parts: BaseParts, adapter: str, settings: _Settings, dtype: torch.dtype, *, keep_dequantized: bool
    ) -> None:
        self._heads, self._adapter, self._keep_dequantized = parts.heads, adapter, keep_dequantized
        self.dtype, self.dropout = dtype, settings.dropout
        self.adapters = Adapters(settings.rank, settings.factor, dtype)
        self.steps: Steps = choose_steps(parts.embedding.device, settings.rank, dtype)
        self.scratches = [] if keep_dequantized else [Scratch(), Scratch()]

    def block(self, layer: LayerParts) -> Block:
        """Return the block of a decoder layer."""
        qkv, o, gate_up, down = (self._group(parts) for parts in layer.products)
        half = AttentionHalf(
            heads=self._heads,
            window=layer.window,
            norm=layer.norm,
            qkv=self._freeze(layer.qkv),
            bias=joint_bias(layer.qkv, self.dtype),
            head_norms=layer.head_norms,
            o=self._freeze([layer.o]),
            qkv_group=qkv,
            o_group=o,
        )
        mlp = MlpHalf(
            norm=layer.mlp_norm,
            gate_up=self._freeze(layer.gate_up, 1),  # apart: MLPs worked on in parts use both weights in turn
            down=self._freeze([layer.down]),
            gate_up_group=gate_up,
            down_group=down,
        )
        return Block(half, mlp)

    def _group(self, parts: Sequence[Projection]) -> int | None:
        members = [_member(part, self._adapter) for part in parts]
        return self.adapters.add(members, parts[0].inputs, [part.outputs for part in parts])

    def _freeze(self, parts: Sequence[Projection], scratch: int = 0) -> Frozen:
        if self._keep_dequantized:
            self.scratches.append(Scratch(keeps=True))
        place = self.scratches[-1 if self._keep_dequantized else scratch]
        frozen = freeze([part.base for part in parts], self.dtype, place, self.steps)
        if isinstance(frozen, str):
            raise UnsupportedError(frozen)
        return frozen


def _only_adapter(model: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of a model's one active LoRA adapter, and the fields of its config."""
    configs: dict[str, Any] = getattr(model, "peft_config", {})
    active = getattr(model, "active_adapters", None)  # transformers' own model has a method of that name
    if len(configs) != 1 or active != list(configs):
        raise UnsupportedError("it does not have exactly one adapter, and that one active")
    name, lora = next(iter(configs.items()))
    if str(getattr(lora.peft_type, "value", lora.peft_type)) != "LORA":
        raise UnsupportedError(f"its adapter is {lora.peft_type}, not LoRA")
    return name, vars(lora)


def _check_layers(parts: BaseParts, dtype: torch.dtype) -> None:
    refusal = bias_refusal([part.name for layer in parts.layers for part in layer.projections if part.bias is not None])
    if refusal is not None:
        raise UnsupportedError(refusal)
    if parts.embedding.dtype != dtype or parts.head.dtype != dtype:
        raise UnsupportedError(f"its embedding is stored in {parts.embedding.dtype} and computes in {dtype}")


def _common_settings(parts: BaseParts, adapter: str) -> _Settings:
    """Return what all adapters have in common."""
    layers = [part.module for layer in parts.layers for part in layer.projections]
    found = {_settings(module, adapter) for module in layers if hasattr(module, "lora_A") and adapter in module.lora_A}
    if len(found) != 1:
        raise UnsupportedError("its adapters differ in rank, factor or dropout" if found else "it has no adapter")
    return found.pop()


def _settings(module: Any, adapter: str) -> _Settings:
    if type(module).__name__ not in ("Linear", "Linear4bit"):
        raise UnsupportedError(f"its adapter layers are {type(module).__name__}")
    if adapter in getattr(module, "lora_variant", {}) or module.merged or module.disable_adapters:
        raise UnsupportedError("its adapter is merged, disabled or of a special variant")
    dropout = float(getattr(module.lora_dropout[adapter], "p", 0.0))
    return _Settings(int(module.r[adapter]), float(module.scaling[adapter]), dropout)


def _member(part: Projection, adapter: str) -> Member | None:
    module: Any = part.module
    if not hasattr(module, "lora_A") or adapter not in module.lora_A:
        return None
    down: nn.Parameter = module.lora_A[adapter].weight
    return Member(down, module.lora_B[adapter].weight)


def _check_trained(model: Any, adapters: Adapters) -> None:
    known = {id(parameter) for parameter in adapters.parameters}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad != (id(parameter) in known):
            raise UnsupportedError(f"'{name}' is {'trained' if parameter.requires_grad else 'not trained'}")
