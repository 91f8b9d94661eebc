"""Which models, adapters and specs the fast path takes: each rule once, on values that a config and a spec state.

The trainer and the decoder ask about the model they were given, the planner about a config.json whose model is not loaded.
What only a loaded model can tell is refused by the reader besides. Nothing here imports torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from medtune.specs import RunSpec

__all__ = [
    "FIXED_ROTATIONS",
    "BaseTraits",
    "bias_refusal",
    "biased_layers",
    "decoding_refusal",
    "run_refusal",
    "spec_refusal",
    "training_refusal",
]

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary angles that do not depend on how long a sequence has become."""

_FAMILIES = ("mistral", "llama", "qwen2", "qwen3")
_SCHEMES = ("nf4", "fp4", "fp8", "none")
_LAYER_TYPES = ("full_attention", "sliding_attention")
_SCALES = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "attn_logit_softcapping",
    "query_pre_attn_scalar",
    "attention_multiplier",
    "embedding_multiplier",
    "residual_multiplier",
)
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_LORA = {
    "use_dora": "its adapter is DoRA",
    "lora_bias": "its adapter has trained biases",
    "modules_to_save": "its adapter has further trained modules",
    "trainable_token_indices": "its adapter has further trained modules",
    "rank_pattern": "its adapters differ in rank, factor or dropout",
    "alpha_pattern": "its adapters differ in rank, factor or dropout",
    "layer_replication": "its adapter repeats layers",
    "target_parameters": "its adapter has targets that are no layers",
}
"""Fields of a LoRA config under peft's names, and what they say when they are set."""


@dataclass(frozen=True, slots=True)
class BaseTraits:
    """What decides, of a base, whether its layers can be run otherwise than by transformers.

    Attributes:
        model_type: family, as transformers names it; empty when the config does not say.
        activation: of the MLP.
        attention_dropout: probability in training.
        rotations: kinds of its rotary angles, several where layers differ.
        rotated: share of a head that is rotated.
        biased: linear layers of a block that have a bias.
        layer_types: kinds of attention, where the config names them.
        window: tokens that a sliding window spans, None where the config names none.
        scales: names of fields that scale or cap values on their way.
        has_experts: whether its MLPs are mixtures.
    """

    model_type: str = ""
    activation: str = "silu"
    attention_dropout: float = 0.0
    rotations: tuple[str, ...] = ("default",)
    rotated: float = 1.0
    biased: tuple[str, ...] = ()
    layer_types: tuple[str, ...] = ()
    window: int | None = None
    scales: tuple[str, ...] = ()
    has_experts: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Read a config.json, or what ``to_dict`` of a loaded config gives.

        Raises:
            TypeError: a field is of another type than transformers takes.
            ValueError: as above.
        """
        rotations = list(_rotations(config))
        return cls(
            model_type=_loaded_as(config),
            activation=str(config.get("hidden_act") or "silu"),
            attention_dropout=float(config.get("attention_dropout") or 0.0),
            rotations=tuple(sorted({kind for kind, _share in rotations})) or ("default",),
            rotated=min((share for _kind, share in rotations), default=_share(config)),
            biased=biased_layers(config),
            layer_types=tuple(sorted(set(config.get("layer_types") or ()))),
            window=_window(config),
            scales=tuple(name for name in _SCALES if config.get(name) not in (None, 1, False)),
            has_experts=any(config.get(name) for name in _EXPERTS),
        )


def biased_layers(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which linear layers of a block have a bias, as the families build them: not all of them read both fields."""
    family = config.get("model_type")
    names: list[str] = []
    if family == "qwen2":
        names += LINEARS[:3]
    elif config.get("attention_bias") and family != "mistral":
        names += LINEARS[:4]
    if config.get("mlp_bias") and family not in ("mistral", "qwen2", "qwen3"):
        names += LINEARS[4:]
    return tuple(names)


def decoding_refusal(base: BaseTraits) -> str | None:
    """Return why medtune's own decoder cannot run a base, as the end of a sentence about it; None where it can."""
    wrong = [kind for kind in base.rotations if kind not in FIXED_ROTATIONS]
    others = [kind for kind in base.layer_types if kind not in _LAYER_TYPES]
    reasons = {
        f"its model type is '{base.model_type}'; known are {', '.join(_FAMILIES)}": base.model_type not in _FAMILIES,
        "its MLPs are mixtures of experts": base.has_experts,
        f"its activation is {base.activation}, not silu": base.activation != "silu",
        f"its rotary angles are of type {' and '.join(map(repr, wrong))}": wrong,
        "it rotates a part of each head only": base.rotated != 1.0,
        f"it has layers of type {' and '.join(map(repr, others))}": others,
        f"its config sets {' and '.join(base.scales)}": base.scales,
        f"its sliding window is {base.window}": base.window is not None and base.window < 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def training_refusal(base: BaseTraits, lora: Mapping[str, Any]) -> str | None:
    """Return why the fast path cannot train a model, as the end of a sentence about it; None where it can.

    Args:
        base: its traits.
        lora: the adapter's fields under peft's names; those that are absent are as peft sets them.
    """
    reason = decoding_refusal(base)
    if reason is not None:
        return reason
    if base.attention_dropout:
        return "it drops attention weights"
    refusal = bias_refusal(base.biased)
    if refusal is not None:
        return refusal
    if lora.get("bias", "none") != "none":
        return "its adapter has trained biases"
    return next((reason for field, reason in _LORA.items() if lora.get(field)), _untargeted(lora))


def bias_refusal(biased: Sequence[str]) -> str | None:
    """Return which of the linear layers that have a bias may have none where they are trained, as ``training_refusal`` does."""
    wrong = [name for name in biased if name not in LINEARS[:3]]
    return f"its {wrong[0]} has a bias" if wrong else None


def run_refusal(base: BaseTraits, spec: RunSpec, dtype: str) -> str | None:
    """Return why a run would not take the fast path, as the end of a sentence about it; None where it would.

    Args:
        base: traits of the base.
        spec: of the run, its scheme decided.
        dtype: compute type, "bf16", "fp16" or "fp32".
    """
    return spec_refusal(spec, spec.quant.scheme, dtype) or training_refusal(base, spec.lora.model_dump())


def spec_refusal(spec: RunSpec, scheme: str, dtype: str) -> str | None:
    """Return what of a spec alone keeps a run off the fast path, whatever its model; None where nothing does.

    Args:
        spec: of the run.
        scheme: how the base is stored; the spec may leave that open.
        dtype: compute type, as in ``run_refusal``.
    """
    train, lora = spec.train, spec.lora
    reasons = {
        "train.fast_path is off": train.fast_path != "auto",
        "train.parallel is fsdp, so that no process holds whole layers": train.parallel == "fsdp",
        f"train.backend is {train.backend}, not trl": train.backend != "trl",
        f"lora.backend is {lora.backend}, not peft": lora.backend != "peft",
        f"train.precision is {train.precision} and the base computes in {dtype}": train.precision
        not in ("auto", dtype),
        f"quant.scheme is {scheme}": scheme not in _SCHEMES,
        "fp8 products give bf16, and it computes in fp16": scheme == "fp8" and dtype == "fp16",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _loaded_as(config: Mapping[str, Any]) -> str:
    """Return the family that transformers makes of a config: a Mistral with kinds of layers is loaded as a Ministral."""
    family = str(config.get("model_type") or "")
    return "ministral" if family == "mistral" and "layer_types" in config else family


def _window(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens the config says that a layer sees, where its family reads that."""
    reads = config.get("model_type") == "mistral" or config.get("use_sliding_window")
    return config.get("sliding_window") if reads else None


def _untargeted(lora: Mapping[str, Any]) -> str | None:
    """Return why targets named one by one cannot be run; a pattern is left to the reader."""
    targets = lora.get("target_modules")
    if targets is None or isinstance(targets, str):
        return None
    ends = {str(target).rpartition(".")[2] for target in targets}
    others = sorted(ends - set(LINEARS))
    return f"its adapter changes {others[0]}" if others else None


def _rotations(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield kind and share of the rotary angles, of each kind of layer where these differ."""
    found = config.get("rope_scaling") or config.get(
        "rope_parameters"
    )  # where both are there, transformers takes the first
    if isinstance(found, Mapping):
        values = cast("Mapping[str, Any]", found)
        nested = [cast("Mapping[str, Any]", value) for value in values.values() if isinstance(value, Mapping)]
        for each in nested or [values]:
            yield str(each.get("rope_type") or each.get("type") or "default"), _share(each, _share(config))


def _share(values: Mapping[str, Any], default: float = 1.0) -> float:
    share = values.get("partial_rotary_factor")
    return default if share is None else float(share)
