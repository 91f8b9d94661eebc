"""The peak of a run: the largest of its phases, each the sum of what exists at its worst moment."""

from collections.abc import Mapping
from dataclasses import dataclass

from medtune.accel.train.logit_rows import rows_at_once
from medtune.planning.memory.activations import DEQUANTIZED, fast_bytes, plain_bytes, plain_layer_bytes
from medtune.planning.memory.setting import Setting
from medtune.planning.memory.shape import Shape
from medtune.planning.memory.weights import base_bytes, gathered_bytes, optimizer_bytes

__all__ = ["Memory", "estimate_memory"]

_GIB = 1024**3
_FP32 = 4
_CONTEXT_GIB = 0.75
"""CUDA's context and the libraries' kernels, which torch does not count."""
_WORKSPACE, _BIG_WORKSPACE = 8_519_680, 2**25
"""What torch reserves for matrix products: 8.1 MiB, from capability 9.0 on 32 MiB."""
_LOADED_AT_ONCE = 4
"""Tensors that transformers has on the device in 16 bits while it quantizes, from as many threads."""
_ANSWER = 128
"""Longest answer in tokens where the task decides."""


@dataclass(frozen=True, slots=True)
class Memory:
    """GiB by phase ("load", "training", "optimizer", "evaluation", "held_out", "save") and part."""

    phases: Mapping[str, Mapping[str, float]]

    @property
    def worst(self) -> str:
        """Name of the phase with the peak."""
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def parts(self) -> dict[str, float]:
        """GiB by part in the worst phase."""
        return dict(self.phases[self.worst])

    @property
    def peak(self) -> float:
        """GiB that the device must have free."""
        return sum(self.parts.values())

    def of(self, phase: str) -> float:
        """Return the GiB of a phase, 0 when the run has none of that name."""
        return sum(self.phases.get(phase, {}).values())

    def allocated(self, phase: str) -> float:
        """Return the GiB of a phase as ``torch.cuda.max_memory_allocated`` counts.

        That is without the context, paged states, and what is reserved without being used.
        """
        beside = ("context", "paged", "unused")
        return sum(gib for name, gib in self.phases.get(phase, {}).items() if name not in beside)


def estimate_memory(shape: Shape, setting: Setting) -> Memory:
    """Return the estimate for a model and a setting.

    - load: the base, and while it is quantized four weights in 16 bits;
    - training: base, fp32 adapter, its gradient, optimizer state that is not paged, and the path's activations; 4-bit
      weights that stay dequantized lie beside the base, and do so until the model is scored;
    - optimizer: all of the state, and one more fp32 copy of the gradient, which the unfused arithmetic takes;
    - evaluation: base, adapter, optimizer state, key-value cache of a batch of prompts of max_length tokens, and the
      widest moment of reading them: four MLP widths and four hidden states, norms in fp32;
    - held_out: where the loss of validation rows is measured, a micro-batch without a backward pass: one eager block's values,
      three hidden states, and logits of as many tokens as exist at once;
    - save: what training leaves on the device; values are copied to the host one by one.
    """
    base = base_bytes(shape, setting)
    fixed, paged = optimizer_bytes(shape, setting)
    values = float(shape.adapter_parameters(setting.spec) * _FP32)
    workspace = float(_BIG_WORKSPACE if setting.big_workspace else _WORKSPACE) if setting.on_gpu else 0.0
    state = {**base, "adapter": values, "optimizer": fixed, "workspace": workspace}
    whole = {"gathered": gathered_bytes(shape, setting)} if setting.shards > 1 else {}
    added = fast_bytes(shape, setting) if setting.path == "fast" else plain_bytes(shape, setting)
    beside = (
        {"dequantized_weights": float(shape.linear_parameters * setting.width)} if setting.keeps_dequantized else {}
    )
    phases: dict[str, dict[str, float]] = {
        "load": {**base, "quantizing": _quantizing(shape, setting)},
        "training": {**state, **beside, "gradients": values, **whole, **added},
        "optimizer": {**state, **beside, "gradients": 2 * values, "paged": paged},
        "save": {**state, **beside},
    }
    if setting.eval_batch:
        phases["evaluation"] = {**state, **whole, **_evaluation(shape, setting)}
        if setting.spec.eval.loss:
            phases["held_out"] = {**state, **whole, **_held_out(shape, setting)}
    context = _CONTEXT_GIB if setting.on_gpu else 0.0
    return Memory({name: {**_gib(parts), "context": context} for name, parts in phases.items()})


def _gib(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: value / _GIB for name, value in parts.items()}


def _quantizing(shape: Shape, setting: Setting) -> float:
    if setting.spec.quant.scheme == "none":
        return 0.0
    return float(_LOADED_AT_ONCE * max(i * o for i, o in shape.linears.values()) * setting.width)


def _held_out(shape: Shape, setting: Setting) -> dict[str, float]:
    at_once = min(rows_at_once(shape.vocab_size), setting.supervised_tokens)
    per_token = plain_layer_bytes(shape, setting) + 3 * shape.hidden_size * setting.width
    dequantizes = setting.spec.quant.scheme != "none"
    return {
        "activations": float(setting.tokens * per_token),
        "logits": float(at_once * shape.vocab_size * (setting.width + 2 * _FP32)),
        DEQUANTIZED: float(max(i * o for i, o in shape.linears.values()) * setting.width) if dequantizes else 0.0,
    }


def _evaluation(shape: Shape, setting: Setting) -> dict[str, float]:
    wanted, width = setting.spec.eval.max_new_tokens, setting.width
    answer = _ANSWER if wanted == "auto" else wanted
    prompts = setting.eval_batch * setting.spec.train.max_length
    tokens = prompts + setting.eval_batch * answer
    per_layer = 2 * shape.keys * width * tokens
    reading = 4 * (shape.intermediate_size + shape.hidden_size) * width + 2 * _FP32 * shape.hidden_size
    dequantizes = setting.spec.quant.scheme != "none"
    return {
        "cache": float((shape.num_hidden_layers + 1) * per_layer),  # one layer's is copied as it grows
        "activations": float(prompts * reading),
        "logits": float(setting.eval_batch * shape.vocab_size * (width + _FP32)),
        DEQUANTIZED: float(max(i * o for i, o in shape.linears.values()) * width) if dequantizes else 0.0,
    }
