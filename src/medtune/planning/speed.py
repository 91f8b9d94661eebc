"""How long a run takes: the work of a token, counted, over the share of a GPU's speed that was measured."""

from dataclasses import dataclass

from medtune.machine.gpus import Gpu
from medtune.machine.probes import product_speed
from medtune.planning.memory import Setting, Shape
from medtune.specs.model import QUANT_SCHEMES

__all__ = ["Speed", "cpu_speed", "estimate_speed", "useful_work"]

_UTILIZATION = {"fast": 0.59, "plain": 0.33}
"""Share of a GPU's dense 16-bit speed that its arithmetic reaches, recomputing included. Measured on an H200 at 4,096
and 8,192 tokens per micro-batch with isolated samples: the fast path's steps 0.58 to 0.61, peft's eager layers with
masked attention 0.30 to 0.37."""
_FP8_UTILIZATION = 0.45
"""The same in fp8 on the fast path: products run at twice the speed, everything else does not."""
_CPU_SHARE = 0.55
"""Of the speed of fp32 products of the base's widths, on one core with the demo's base: 6,700 tokens a second of CPU time."""
_SAVED = 0.8
"""Share of the time of tokens that are computed once for several samples that this saves: 0.7 to 0.9 on an H200."""
_LAYER_SECONDS, _LAYER_AGAIN = {"fast": 0.0008, "plain": 0.009}, 1.6
"""Seconds that a layer takes at least, forward and back, and how much longer when it is computed again: what Python takes
to start the kernels of the plain path; on the fast path, which a CUDA graph starts, what kernels take that are too small
for the GPU, and what the host does for a micro-batch meanwhile (0.8 ms with SmolLM2-135M and r 8 on an H200, 0.9 with r 64)."""
_HELD_UP = {"fast": "its kernels being too small for this GPU", "plain": "Python's starting of kernels"}
_HALF_WIDTH = 640
"""Width of the hidden states at which the fast path's products reach half of what they would on endless ones: with 2,048
(Llama-3.2-1B) 0.88 of what they reach with 4,096."""
_MEASURED_WIDTH = 4096
_DEQUANTIZED_BYTES = 2.5  # read half a byte, write two, per weight and time


@dataclass(frozen=True, slots=True)
class Speed:
    """An estimate: tokens per second, and in words what it rests on."""

    tokens_per_second: float
    basis: str


def useful_work(shape: Shape, setting: Setting) -> float:
    """Return the floating point operations that a token is worth; recomputing is none.

    The frozen linear weights N are multiplied forward and back, 4 N; the head likewise on the supervised share; attention
    is causal within a sample, twice its width per pair, forward once and back twice; adapters 6 per parameter. Where
    the samples' lengths are unknown they are taken as long as a row, as they are for the plain path, which computes every
    pair of a row and hides those of different samples.
    """
    is_known = setting.path == "fast" and setting.sample_tokens > 0
    length = setting.sample_tokens if is_known else setting.spec.train.max_length
    head = shape.hidden_size * shape.vocab_size
    attention = 2 * shape.num_hidden_layers * shape.queries * length  # 4 q per pair, half of the pairs
    adapter = shape.adapter_parameters(setting.spec)
    return 4.0 * shape.linear_parameters + 4.0 * head * setting.supervised + 3.0 * attention + 6.0 * adapter


def estimate_speed(shape: Shape, setting: Setting, gpu: Gpu | None) -> Speed | None:
    """Return the estimate for a GPU; None without one, or when its speed, or that of the storage, is unknown.

    A micro-batch takes the larger of two times: its arithmetic (useful work, forward once more when recomputing, less what
    samples have in common) at the utilization of the path plus reading (and dequantizing) the weights in every pass, or
    the least that its layers take.
    """
    if gpu is None or not gpu.tflops or setting.spec.quant.scheme not in QUANT_SCHEMES:
        return None
    is_fp8 = setting.spec.quant.scheme == "fp8" and setting.path == "fast"
    peak = (gpu.fp8_tflops or gpu.tflops) if is_fp8 else gpu.tflops
    share = _utilization(shape, setting, is_fp8=is_fp8)
    again = _again(shape, setting)
    work = useful_work(shape, setting)
    common = setting.common if setting.path == "fast" else 0.0
    seconds = work * (1 + again) * (1 - _SAVED * common) * setting.tokens / (share * peak * 1e12)
    moved = 1.0 if is_fp8 else float(setting.width)
    dequantizes = setting.spec.quant.scheme in ("nf4", "fp4", "int8") and not setting.keeps_dequantized
    moved += _DEQUANTIZED_BYTES if dequantizes else 0.0
    seconds += (3 if again else 2) * shape.linear_parameters * moved / (gpu.bandwidth_gbs * 1e9)
    least = _LAYER_SECONDS[setting.path] * shape.num_hidden_layers * (_LAYER_AGAIN if again else 1.0)
    once = f", {common:.1%} of the tokens computed once for several samples" if common else ""
    bound = "" if seconds >= least else f", held up by {_HELD_UP[setting.path]}"
    basis = (
        f"{work / 1e9:.1f} GFLOP of useful work per token, {peak:g} TFLOP/s dense by the data sheet, "
        f"of which the {setting.path} path reaches {share:.0%} on an H200{once}{bound}"
    )
    return Speed(setting.tokens / max(seconds, least), basis)


def cpu_speed(shape: Shape, setting: Setting) -> Speed | None:
    """Return the estimate for this machine's CPU, by a short measurement of its products; None for what was never compared with one.

    The share of that speed that training reaches was measured on the fast path with a base of 2 million parameters.
    """
    if setting.on_gpu or setting.path != "fast" or setting.spec.quant.scheme not in ("none", "nf4", "fp4"):
        return None
    products = product_speed(shape.hidden_size, shape.intermediate_size)
    work = useful_work(shape, setting) * (1 + _again(shape, setting)) * (1 - _SAVED * setting.common)
    basis = (
        f"{work / 1e6:,.0f} MFLOP per token, {products / 1e9:,.0f} GFLOP/s of products, measured on this CPU just now, of "
        f"which training reaches {_CPU_SHARE:.0%}"
    )
    return Speed(_CPU_SHARE * products / work, basis)


def _utilization(shape: Shape, setting: Setting, *, is_fp8: bool) -> float:
    if setting.path == "plain":
        return _UTILIZATION["plain"]
    width = shape.hidden_size
    narrow = width / (width + _HALF_WIDTH) * (_MEASURED_WIDTH + _HALF_WIDTH) / _MEASURED_WIDTH
    return (_FP8_UTILIZATION if is_fp8 else _UTILIZATION["fast"]) * min(1.0, narrow)


def _again(shape: Shape, setting: Setting) -> float:
    """Return the work of recomputing as a share of the useful work, of which the forward pass is half.

    The fast path's backward pass needs no result of ``down`` again, and with "selective" only those of gate and up.
    """
    gate, down = (i * o for i, o in (shape.linears["gate_proj"], shape.linears["down_proj"]))
    block = sum(i * o for i, o in shape.linears.values())
    if setting.recompute == "none":
        return 0.0
    if setting.recompute == "selective":
        return gate / block
    return (block - down) / block / 2 if setting.path == "fast" else 0.5
