"""How llama.cpp wants the families of models that it shares with transformers: names, sizes, and the order of rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medtune.errors import SpecError

__all__ = ["FAMILIES", "Family", "Layout", "layout_of"]


@dataclass(frozen=True, slots=True)
class Family:
    """A family.

    Attributes:
        architecture: llama.cpp's name.
        pairs_rows: rotary halves of q and k are interleaved, so their rows are reordered.
        shifts_norms: norms multiply by 1 + weight, which is written out.
        scales: metadata of its own: key -> field of the config.
    """

    architecture: str
    pairs_rows: bool = False
    shifts_norms: bool = False
    scales: Mapping[str, str] | None = None


FAMILIES: Mapping[str, Family] = {
    "llama": Family("llama", pairs_rows=True),
    "mistral": Family("llama", pairs_rows=True),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3"),
    "gemma": Family("gemma", shifts_norms=True),
    "gemma2": Family(
        "gemma2",
        shifts_norms=True,
        scales={
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
        },
    ),
    "gemma3_text": Family("gemma3", shifts_norms=True),
}
"""transformers' model_type -> how llama.cpp has it. Each is proved on a tiny model in the tests."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A base as llama.cpp will have it.

    Attributes:
        family: its family.
        config: transformers' config.
        names: name of a tensor of transformers -> llama.cpp's, None where it has none.
    """

    family: Family
    config: Any
    names: Callable[[str], str | None]

    def arranged(self, name: str, value: Any) -> Any:
        """Return a tensor as llama.cpp wants it."""
        if self.family.pairs_rows and name.rpartition(".")[0].endswith(("q_proj", "k_proj")):
            return self.paired(name, value)
        if self.family.shifts_norms and "norm" in name:
            return value.float() + 1
        return value

    def paired(self, name: str, value: Any) -> Any:
        """Return the rows of a q or k projection, or of what is added to it, in llama.cpp's order."""
        heads = self.config.num_attention_heads if "q_proj" in name else self.config.num_key_value_heads
        half = value.shape[0] // heads // 2
        return value.reshape(heads, 2, half, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def layout_of(base_dir: Any) -> Layout:
    """Return how llama.cpp will have a base.

    Raises:
        SpecError: its family, its positions or an attention of its own cannot be written.
    """
    import gguf
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(str(base_dir), trust_remote_code=False)
    kind = str(config.model_type)
    if kind not in FAMILIES:
        raise SpecError(
            f"GGUF files of model type '{kind}' are not written; medtune proves {', '.join(FAMILIES)}: export to merged, and "
            "convert it with llama.cpp's own script"
        )
    family = FAMILIES[kind]
    wanted = family.architecture
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == wanted)
    table = gguf.get_tensor_name_map(architecture, int(config.num_hidden_layers))
    return Layout(family, config, lambda name: table.get_name(name, try_suffixes=(".weight", ".bias")))
