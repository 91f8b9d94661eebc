"""The dimensions of a decoder-only model, and its parameters counted from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medtune.accel.model.eligibility import BaseTraits
from medtune.specs import RunSpec

__all__ = ["Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a decoder-only model, under the names of its config.json.

    Attributes:
        tied: whether embedding and head are one matrix.
        head_norms: whether queries and keys are normed head by head.
        traits: what else decides how its layers can be run, biases among them.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied: bool
    head_norms: bool = False
    traits: BaseTraits = field(default_factory=BaseTraits)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape | None":
        """Read a config.json; None when it does not describe a dense Llama-like decoder."""
        try:
            traits = BaseTraits.of(config)
            if traits.has_experts:
                return None
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
                head_norms=traits.model_type.startswith("qwen3"),
                traits=traits,
            )
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def queries(self) -> int:
        """Width of all query heads."""
        return self.num_attention_heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads, which is that of all value heads."""
        return self.num_key_value_heads * self.head_dim

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Input and output width of each linear layer in a block."""
        return {
            "q_proj": (self.hidden_size, self.queries),
            "k_proj": (self.hidden_size, self.keys),
            "v_proj": (self.hidden_size, self.keys),
            "o_proj": (self.queries, self.hidden_size),
            "gate_proj": (self.hidden_size, self.intermediate_size),
            "up_proj": (self.hidden_size, self.intermediate_size),
            "down_proj": (self.intermediate_size, self.hidden_size),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of all blocks' linear layers, without biases."""
        return self.num_hidden_layers * sum(i * o for i, o in self.linears.values())

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and, when it is not the same matrix, the head."""
        return self.hidden_size * self.vocab_size * (1 if self.tied else 2)

    @property
    def small_parameters(self) -> int:
        """Parameters of norms and biases."""
        per_block = 2 * self.hidden_size + sum(self.linears[name][1] for name in self.traits.biased)
        per_block += 2 * self.head_dim if self.head_norms else 0
        return self.num_hidden_layers * per_block + self.hidden_size

    @property
    def parameters(self) -> int:
        """Parameters of the whole model."""
        return self.linear_parameters + self.embedding_parameters + self.small_parameters

    def adapted(self, spec: RunSpec) -> dict[str, tuple[int, int]]:
        """Input and output width of the linear layers of a block that get an adapter."""
        targets = spec.lora.target_modules
        names = set(self.linears) if targets == "all-linear" else {t.rpartition(".")[2] for t in targets}
        return {name: widths for name, widths in self.linears.items() if name in names}

    def adapter_tensors(self, spec: RunSpec) -> list[int]:
        """Values of each trainable tensor of one block: first and second factors, and magnitudes of DoRA."""
        widths = self.adapted(spec).values()
        factors = [spec.lora.r * width for pair in widths for width in pair]
        return [*factors, *((o for _i, o in widths) if spec.lora.use_dora else ())]

    def adapter_parameters(self, spec: RunSpec) -> int:
        """Trainable parameters of the LoRA adapter."""
        return self.num_hidden_layers * sum(self.adapter_tensors(spec))
