"""Bytes of activations, per token and layer, counted from what each operation keeps for its backward pass."""

from medtune.accel.train.logit_rows import rows_at_once
from medtune.planning.memory.setting import Setting
from medtune.planning.memory.shape import Shape

__all__ = ["DEQUANTIZED", "fast_bytes", "plain_bytes", "plain_layer_bytes"]

_FP32 = 4
DEQUANTIZED = "restored"
"""The part that dequantized weights take, under the key it has had in plans from the beginning."""
_MLP_ROWS = 4096  # rows that the fast path's MLP works on at once when it recomputes
_IN_FLIGHT = 3  # blocks' inputs that are on their way to the host, or back
_UNUSED, _UNUSED_SHARE = 0.5 * 2**30, {"selective": 0.10, "fp8": 0.065, "any": 0.04}
"""Memory that CUDA graphs hold and cannot use: a part of their activations, and what libraries take once more. From
torch's allocator, followed over all allocations of a pass at 512 to 8,192 tokens, and 0.3 GiB that an H200 held beyond that
after several sizes had been captured; in fp8, whose rounded rows are half as large as all else, from the H200 alone."""


def plain_layer_bytes(shape: Shape, setting: Setting) -> int:
    """Return what one eager block of transformers with peft's layers keeps per token.

    With hidden width h, query width q, MLP width f and w bytes per value:

    - two norms keep their input in fp32: 2 * 4 h;
    - attention keeps queries, keys and values repeated to all heads (a mask isolates samples, and masked attention takes
      no shared heads), its result: 4 q w, a log-sum per head in fp32, and the mask's row as numbers: length * w;
    - the MLP keeps gate, its activation and up: 3 f w;
    - each adapted layer keeps its dropped input and the mask of dropping it, (w + 1) * inputs, and r low-rank values.
      Without dropout layers that read the same input share it, and the attention's result is there already;
    - int8 layers keep their input besides, and DoRA's keep two values per output.

    The frozen products keep nothing per token: their gradient needs the weight only.
    """
    width, lora, h = setting.width, setting.spec.lora, shape.hidden_size
    adapted = shape.adapted(setting.spec)
    kept = 2 * _FP32 * h + 4 * shape.queries * width + _FP32 * shape.num_attention_heads
    kept += setting.spec.train.max_length * width + 3 * shape.intermediate_size * width
    kept += sum(lora.r * width for _ in adapted)
    if lora.dropout > 0:
        kept += sum(i * (width + 1) for i, _o in adapted.values())
    else:
        for group in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("down_proj",)):
            inputs = [adapted[name][0] for name in group if name in adapted]
            kept += max(inputs, default=0) * width
    if setting.spec.quant.scheme == "int8":
        kept += (2 * h + shape.queries + shape.intermediate_size) * width
    if lora.use_dora:
        kept += sum(2 * o * width for _i, o in adapted.values())
    return kept


def plain_bytes(shape: Shape, setting: Setting) -> dict[str, float]:
    """Return the parts that the plain path adds at its worst moment.

    Kept are all blocks' values, or with recompute one hidden state per block and one block's values (as the backward
    pass is in it). On top comes the larger of two moments that exclude each other: the head's (logits in the compute
    type, their fp32 form and its log-softmax, on supervised tokens) or the last block's backward pass (gradients of the
    MLP's input of ``down``, twice, and one dequantized weight; peft's layers over a base that is not quantized by
    bitsandbytes turn their input to fp32 besides, and drop that). fp32 adapters are cast once per pass when nothing is
    recomputed.
    """
    width, tokens = setting.width, setting.tokens
    layer = plain_layer_bytes(shape, setting) * tokens
    layers = shape.num_hidden_layers
    hidden = shape.hidden_size * width * tokens
    recomputes = setting.recompute != "none"
    kept = float(layers * hidden) if recomputes else float(layers * layer)
    head = float(setting.supervised_tokens * shape.vocab_size * (width + 2 * _FP32))
    gradients = float(tokens * 2 * (shape.intermediate_size + shape.hidden_size) * width)
    if width < _FP32 and setting.spec.quant.scheme in ("none", "fp8"):
        gradients += tokens * shape.intermediate_size * _FP32 * (2 if setting.spec.lora.dropout > 0 else 1)
    dequantized = float(_largest(shape) * width) if _dequantizes(setting) else 0.0
    casts = float(shape.adapter_parameters(setting.spec) * width) if width < _FP32 else 0.0
    casts = 0.0 if recomputes else casts
    block = gradients + dequantized + (layer if recomputes else 0.0)
    if head > block:
        return {"activations": kept, "logits": head, "casts": casts}
    return {"activations": kept + block - dequantized, DEQUANTIZED: dequantized, "casts": casts}


def fast_bytes(shape: Shape, setting: Setting) -> dict[str, float]:
    """Return the parts that the fast path adds at its worst moment.

    4-bit weights are dequantized into two shared memories, unless they stay dequantized: gate and up, and the largest of
    the rest. Logits exist in parts (``rows_at_once``). Adapters lie there once more in the compute
    type, their gradients once more.

    On a GPU memory is taken for the largest micro-batch, padded, and CUDA graphs keep it; "unused" is what they hold of
    it in pieces that nothing fits into, which torch counts as reserved and not as allocated.
    """
    width, scheme = setting.width, setting.spec.quant.scheme
    tokens, supervised = setting.largest_batch(shape.hidden_size)
    dequantizes = scheme in ("nf4", "fp4") and not setting.keeps_dequantized
    rows = min(rows_at_once(shape.vocab_size), supervised)
    activations = _fast_layers(shape, setting) + tokens * shape.head_dim * _FP32
    cut_up = "selective" if setting.recompute == "selective" else scheme
    unused = _UNUSED_SHARE.get(cut_up, _UNUSED_SHARE["any"]) * activations + _UNUSED
    return {
        "activations": activations,
        "unused": unused if setting.on_gpu else 0.0,
        "logits": float(rows * shape.vocab_size * width),
        DEQUANTIZED: float(_scratch(shape) * width) if dequantizes else 0.0,
        "casts": float(shape.adapter_parameters(setting.spec) * (width + _FP32)),
    }


def _fast_layers(shape: Shape, setting: Setting) -> float:
    """Return what the fast path's blocks keep for the backward pass, and what that has beside it in one of them.

    Per token, with key width k: a block keeps the residual stream before both halves 2 h, rotated queries, keys and
    values q + 2 k and the attention's result q, low-rank values of five groups, and the joint product of gate and up
    2 f; models with normed heads keep the joint product before rotation too. "selective" leaves gate and up out, "all"
    keeps the block's input h and the low-rank values of ``down``, "offload" keeps the former on the host. In the last
    block the MLP runs on supervised tokens only. Within a block's backward pass come the gradient of the activation f
    (in fp8 beside it a rounded row of 2 f bytes) and three hidden states; a recomputing one also holds what it computed
    again, the MLP 4,096 rows at a time.
    """
    width, h, f = setting.width, shape.hidden_size, shape.intermediate_size
    tokens, supervised = setting.largest_batch(shape.hidden_size)
    heads = shape.queries + 2 * shape.keys
    attention = (h + heads + shape.queries + (heads if shape.head_norms else 0)) * width
    attention += _FP32 * (shape.num_attention_heads + 1) + 4 * setting.spec.lora.r * width
    low = setting.spec.lora.r * width
    mlp = h * width + _FP32 + low
    wide = 2 * f * width + 2 * low
    last = supervised / tokens
    layers = shape.num_hidden_layers
    beside = max(f * width, 2 * f if setting.spec.quant.scheme == "fp8" else 0) + 3 * h * width
    if setting.recompute == "none":
        kept = layers * attention * tokens + (layers - 1 + last) * (mlp + wide) * tokens
        return kept + beside * tokens
    if setting.recompute == "selective":
        kept = layers * attention * tokens + (layers - 1 + last) * mlp * tokens
        return kept + (beside + wide) * tokens
    at_once = min(tokens, _MLP_ROWS)
    inputs = min(_IN_FLIGHT, layers) if setting.recompute == "offload" else layers
    kept = float((inputs * h * width + layers * low) * tokens)
    return kept + (attention + 4 * h * width) * tokens + (beside + wide) * at_once


def _dequantizes(setting: Setting) -> bool:
    return setting.spec.quant.scheme != "none"


def _largest(shape: Shape) -> int:
    return max(i * o for i, o in shape.linears.values())


def _scratch(shape: Shape) -> int:
    """Return the values of the two memories that 4-bit weights are dequantized into."""
    h, f = shape.hidden_size, shape.intermediate_size
    return 2 * h * f + max(h * (shape.queries + 2 * shape.keys), shape.queries * h, f * h)
