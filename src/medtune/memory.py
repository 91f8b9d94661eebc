"""Estimates the peak memory of a run from the model's dimensions and the spec, without weights and without a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medtune.specs import RunSpec

__all__ = ["Shape", "estimate_memory"]

_GIB = 1024**3
_STORED_BYTES = {"nf4": 0.5, "fp4": 0.5, "int8": 1.0, "fp8": 1.0}
_DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
_BLOCK, _SUPER_BLOCK = 64, 256  # parameters per 4-bit scale, scales per second-level scale
_OPTIMIZER_BYTES = 8  # two fp32 moments per trainable parameter
_SAVED_PER_TOKEN = 8.9e6 / (32 * (4096 + 14336))
"""Bytes kept per token, layer and unit of (hidden + MLP) width by eager peft: 8.9 MB per token on a 7B Mistral."""
_LOGIT_COPIES = 3.0  # 16-bit logits, their fp32 copy and its gradient, halves counted
_CONTEXT_GIB = 0.6


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a decoder-only model, under the names of its config.json."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape | None":
        """Read a config.json; None when it does not describe a Llama-like decoder."""
        try:
            heads = int(config["num_attention_heads"])
            hidden = int(config["hidden_size"])
            return cls(
                hidden_size=hidden,
                num_hidden_layers=int(config["num_hidden_layers"]),
                num_attention_heads=heads,
                num_key_value_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or hidden // heads),
                intermediate_size=int(config["intermediate_size"]),
                vocab_size=int(config["vocab_size"]),
                tied=bool(config.get("tie_word_embeddings", False)),
            )
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Input and output width of each linear layer in a block."""
        queries, keys = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        return {
            "q_proj": (self.hidden_size, queries),
            "k_proj": (self.hidden_size, keys),
            "v_proj": (self.hidden_size, keys),
            "o_proj": (queries, self.hidden_size),
            "gate_proj": (self.hidden_size, self.intermediate_size),
            "up_proj": (self.hidden_size, self.intermediate_size),
            "down_proj": (self.intermediate_size, self.hidden_size),
        }

    @property
    def linear_parameters(self) -> int:
        """Parameters of all blocks' linear layers."""
        return self.num_hidden_layers * sum(i * o for i, o in self.linears.values())

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and, when it is not the same matrix, the head."""
        return self.hidden_size * self.vocab_size * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Parameters of the whole model."""
        norms = (2 * self.num_hidden_layers + 1) * self.hidden_size
        return self.linear_parameters + self.embedding_parameters + norms

    def adapter_parameters(self, spec: RunSpec) -> int:
        """Trainable parameters of the LoRA adapter."""
        targets = spec.lora.target_modules
        names = self.linears if targets == "all-linear" else [t.rpartition(".")[2] for t in targets]
        widths = [self.linears[name] for name in names if name in self.linears]
        return self.num_hidden_layers * sum(spec.lora.r * (i + o) for i, o in widths)


def estimate_memory(shape: Shape, spec: RunSpec, dtype: str, *, recompute: str) -> dict[str, float]:
    """Return GiB by part; their sum is the estimated peak.

    Args:
        shape: the base model's dimensions.
        spec: the run.
        dtype: compute type, "bf16", "fp16" or "fp32".
        recompute: "none" or "all".
    """
    width = _DTYPE_BYTES[dtype]
    stored = _STORED_BYTES.get(spec.quant.scheme, width)
    if spec.quant.scheme == "fp8" and spec.train.fast_path != "off":
        stored *= 2  # the fast path's products for the gradient need the transposed weight too
    tokens = spec.train.per_device_batch_size * spec.train.max_length
    adapter = shape.adapter_parameters(spec)
    per_layer = shape.hidden_size * width * tokens
    saved = _SAVED_PER_TOKEN * (shape.hidden_size + shape.intermediate_size) * tokens * width / 2
    layers = shape.num_hidden_layers
    activations = saved * layers if recompute == "none" else saved + per_layer * layers
    parts = {
        "base": shape.linear_parameters * stored,
        "scales": _scale_bytes(shape.linear_parameters, spec),
        "embeddings": shape.embedding_parameters * width,
        "adapter": adapter * 4.0,
        "gradients": adapter * 4.0,
        "optimizer": adapter * float(_OPTIMIZER_BYTES),
        "activations": activations,
        "logits": tokens * shape.vocab_size * width * _LOGIT_COPIES,
    }
    gib = {name: value / _GIB for name, value in parts.items()}
    return {**gib, "context": _CONTEXT_GIB}


def _scale_bytes(parameters: int, spec: RunSpec) -> float:
    if spec.quant.scheme not in ("nf4", "fp4"):
        return 0.0  # one scale per output of fp8 is next to nothing
    blocks = parameters / _BLOCK
    return blocks * (1 + 4 / _SUPER_BLOCK) if spec.quant.double_quant else blocks * 4.0
