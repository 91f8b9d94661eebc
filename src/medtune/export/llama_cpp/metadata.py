"""Writes what a GGUF file says of the model: sizes, positions, attention."""

import math
from typing import Any

from medtune.errors import SpecError
from medtune.export.llama_cpp.families import Layout

__all__ = ["add_sizes", "rope_factors"]

_PLAIN = ("default", "linear", "llama3", "yarn")


def add_sizes(writer: Any, layout: Layout, vocabulary: int) -> None:
    """Add the sizes of a model.

    Args:
        writer: gguf's writer.
        layout: the base.
        vocabulary: rows of the embedding.
    """
    config, window = layout.config, _window(layout.config)
    heads, width = int(config.num_attention_heads), _head_dim(layout.config)
    longest = int(config.max_position_embeddings)
    if layout.family.architecture in ("llama", "qwen2", "qwen3") and window:
        longest = min(longest, window)  # llama.cpp looks at all tokens in these families: no longer than is the same
    writer.add_context_length(longest)
    writer.add_embedding_length(int(config.hidden_size))
    writer.add_block_count(int(config.num_hidden_layers))
    writer.add_feed_forward_length(int(config.intermediate_size))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.num_key_value_heads))
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(float(config.rms_norm_eps))
    writer.add_vocab_size(vocabulary)
    if layout.family.architecture == "llama":
        writer.add_rope_dimension_count(width)
    if layout.family.architecture in ("gemma2", "gemma3") and window:
        writer.add_sliding_window(window)
    _add_gemma(writer, layout, width)
    _add_positions(writer, layout)


def rope_factors(layout: Layout) -> Any:
    """Return the divisors of Llama 3's frequencies [half a head], None where the base has plain ones."""
    import torch

    rope = _rope(layout.config)
    if rope.get("rope_type") != "llama3":
        return None
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(rope["original_max_position_embeddings"])
    width = _head_dim(layout.config)
    found = list[float]()
    for place in range(0, width, 2):
        length = 2 * math.pi * float(rope["rope_theta"]) ** (place / width)
        if length < original / high:
            found.append(1.0)
        elif length > original / low:
            found.append(factor)
        else:
            smooth = (original / length - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(found)


def _add_positions(writer: Any, layout: Layout) -> None:
    import gguf

    rope = _rope(layout.config)
    kind = rope.get("rope_type", "default")
    if kind not in _PLAIN:
        raise SpecError(f"positions of type '{kind}' are not written to GGUF; export to merged")
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rope["factor"]))
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))


def _add_gemma(writer: Any, layout: Layout, width: int) -> None:
    config = layout.config
    for key, field in (layout.family.scales or {}).items():
        value = getattr(config, field, None)
        if value is not None:
            getattr(writer, f"add_{key}")(float(value))
    scale = getattr(config, "query_pre_attn_scalar", None)
    if scale is not None and layout.family.architecture in ("gemma2", "gemma3") and float(scale) != width:
        raise SpecError(
            f"this base scales queries by {scale} instead of its heads' {width} dimensions, which GGUF has no key for; export "
            "to merged"
        )


def _rope(config: Any) -> dict[str, Any]:
    found: dict[str, Any] = dict(config.rope_parameters)
    if "full_attention" in found:  # one for each kind of layer
        inner, local = found["full_attention"], found["sliding_attention"]
        if config.model_type == "gemma3_text" and float(local["rope_theta"]) != 10_000:  # noqa: PLR2004 - fixed in llama.cpp
            raise SpecError("llama.cpp turns Gemma 3's local layers at base 10,000, and this base does otherwise")
        found = dict(inner)
    return found


def _window(config: Any) -> int | None:
    used = getattr(config, "use_sliding_window", True)
    window = getattr(config, "sliding_window", None)
    return int(window) if window and used else None


def _head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
