"""Bytes that lie on the device from load to end: the base as it is stored, the adapter, and what trains it."""

import math

from medtune.machine.optimizers import runs_as
from medtune.planning.memory.setting import Setting
from medtune.planning.memory.shape import Shape
from medtune.specs.model import QUANT_SCHEMES

__all__ = ["base_bytes", "gathered_bytes", "optimizer_bytes"]

_BLOCK, _SUPER_BLOCK = 64, 256  # weights per 4-bit scale, scales per second-level scale
_FP32 = 4
_STATE_BLOCK = 256  # values per scale of an 8-bit optimizer state
_PAGED_FROM, _ROUNDED_FROM = 100_000, 4096  # values from which bitsandbytes pages a state, and rounds it to 8 bits
_GATHERED = 3  # whole layers: the one at work, the next, and as many bytes as one on their way
_MOMENTS = {"adam": 2, "lamb": 2, "ademamix": 3, "lion": 1, "rmsprop": 1, "adagrad": 1, "sgd": 0, "adafactor": 0}


def base_bytes(shape: Shape, setting: Setting) -> dict[str, float]:
    """Return the bytes of the frozen base by part.

    Quantized are the blocks' linear weights N = layers * sum(inputs * outputs). "base" holds N / 2 bytes in 4 bits, N in
    int8, N or 2 N in fp8 (the fast path keeps a transposed copy, since fp8 products read both factors by rows), else N
    values of the compute type; in a scheme of a plugin's own it holds what that says, scales included. "scales": in 4 bits one per 64 weights, fp32, or with double quantization one byte each
    and an fp32 per 256 of them; in int8 and fp8 one fp32 per output (the fast path joins them anew: twice, and ones for
    the transposed copy). "embeddings": embedding, head, norms and biases in the compute type.

    Where layers are sharded each process holds its rows of their weights, as many as any other: the last ones are padded.
    The scales of fp8, embedding, head, norms and biases are whole on each.
    """
    scheme, width = setting.spec.quant.scheme, setting.width
    weights = shape.num_hidden_layers * sum(i * math.ceil(o / setting.shards) for i, o in shape.linears.values())
    outputs = shape.num_hidden_layers * sum(o for _i, o in shape.linears.values())
    inputs = shape.num_hidden_layers * (2 * shape.hidden_size + shape.queries + shape.intermediate_size)
    stored, scales = float(weights * width), 0.0
    if scheme in ("nf4", "fp4"):
        stored = weights / 2
        blocks = sum(math.ceil(i * o / _BLOCK) for i, o in shape.linears.values()) * shape.num_hidden_layers
        scales = blocks * (1 + _FP32 / _SUPER_BLOCK if setting.spec.quant.double_quant else _FP32)
    elif scheme in ("int8", "fp8"):
        joined = scheme == "fp8" and setting.path == "fast"
        stored = weights * (2.0 if joined else 1.0)
        scales = float(_FP32 * (2 * outputs + inputs if joined else outputs))
    elif scheme not in QUANT_SCHEMES and setting.bits is not None:
        stored = weights * setting.bits / 8
    embeddings = (shape.embedding_parameters + shape.small_parameters) * width
    return {"base": stored, "scales": scales, "embeddings": float(embeddings)}


def gathered_bytes(shape: Shape, setting: Setting) -> float:
    """Return the bytes of whole layers while a process computes, where it holds its share of them only."""
    if setting.shards == 1:
        return 0.0
    width = 1 if setting.spec.quant.scheme == "fp8" else setting.width
    return float(_GATHERED * sum(i * o for i, o in shape.linears.values()) * width)


def optimizer_bytes(shape: Shape, setting: Setting) -> tuple[float, float]:
    """Return the optimizer's state in bytes: what always lies on the device, and what may be paged to the host.

    AdamW keeps two moments per trained value: 8 bytes in fp32, 2 bytes and two fp32 scales per 256 values in 8 bits.
    bitsandbytes pages only tensors of at least 100,000 values, and rounds only those of at least 4,096: with a small rank
    most factors are smaller, so a good part of a "paged" state stays. ``optimizers`` says which one runs.
    """
    name = setting.spec.train.optim
    moments = next((count for prefix, count in _MOMENTS.items() if prefix in name), 2)
    tensors = shape.adapter_tensors(setting.spec)
    name = runs_as(name, sum(tensors) * shape.num_hidden_layers, on_gpu=setting.on_gpu)
    is_8bit, is_paged = "8bit" in name, name.startswith("paged") and setting.on_gpu
    fixed = paged = 0.0
    for values in tensors:
        per_value = 1 + _FP32 / _STATE_BLOCK if is_8bit and values >= _ROUNDED_FROM else _FP32
        state = moments * values * per_value
        if is_paged and values >= _PAGED_FROM:
            paged += state
        else:
            fixed += state
    return fixed * shape.num_hidden_layers, paged * shape.num_hidden_layers
