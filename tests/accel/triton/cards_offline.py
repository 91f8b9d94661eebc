"""Compiles every Triton kernel for a GPU that is not here, and prints what each takes of it as JSON.

Arguments: compute capability such as 75, and "each" kernel once or "all" that a plan may choose there. ``ptxas``, which comes with Triton, says registers and spills.
"""

import io
import json
import logging
import math
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from medtune.accel.model.heads import HeadNorms, Heads, Norm, Window
from medtune.accel.steps.dropout import Dropout
from medtune.accel.steps.gate import AfterGate, BeforeGate
from medtune.accel.train.steps import highest_rank
from medtune.accel.triton import (
    adapters,
    attention,
    attention_backward,
    blocks,
    decode_attention,
    decode_steps,
    device,
    four_bit,
    gate,
    rotary,
    rows,
    use,
)
from medtune.accel.triton.dropout import drop

SHARED = {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227}
"""KiB of shared memory that a program may take, by compute capability: CUDA C++ Programming Guide, "Compute Capabilities"."""
TOKENS = 48
FP8_FROM, BF16_FROM = 89, 80


@dataclass(frozen=True)
class Shape:
    """What kernels are compiled for in a base."""

    name: str
    width: int
    inner: int
    heads: Heads
    vocabulary: int


STARLING = Shape("Starling-LM-7B", 4096, 14336, Heads(32, 8, 128), 32002)
SHAPES = {
    "each": (STARLING,),
    "all": (
        STARLING,
        Shape("SmolLM2-135M", 576, 1536, Heads(9, 3, 64), 49152),
        Shape("Llama-3.2-1B", 2048, 8192, Heads(32, 8, 64), 128256),
        Shape("Qwen2.5-7B", 3584, 18944, Heads(28, 4, 128), 152064),
        Shape("Llama-3-70B", 8192, 28672, Heads(64, 8, 128), 128256),
        Shape("narrow heads", 256, 512, Heads(4, 4, 16), 300),
    ),
}
RANKS = {"each": (8,), "all": (8, 16, 32, 64, 128)}


class Card:
    """A driver that names a GPU; a launch would fail."""

    def __init__(self, capability):
        self._target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        return self._target

    def get_current_device(self):
        return 0

    def get_current_stream(self, _device):
        return 0


def empty(*shape, dtype):
    return torch.empty(*shape, dtype=dtype)


def of_rows(shape, kind, capability, every):
    """Launch norms, the loss and the rounding to fp8, without adapters."""
    x, weight = empty(TOKENS, shape.width, dtype=kind), empty(shape.width, dtype=kind)
    scale = empty(TOKENS, dtype=torch.float32)
    if every:
        rows.norm(x, None, None, weight, 1e-5)
        rows.norm(x, x, None, weight, 1e-5)
        rows.norm_backward(x, None, x, (scale, weight), None)
        rows.norm_backward(x, None, x, (scale, weight), x)
        if capability >= FP8_FROM:
            rows.quantize_rows(x)
    factor = scale[:1] if kind == torch.float16 else None
    rows.cross_entropy(empty(TOKENS, shape.vocabulary, dtype=kind), empty(TOKENS, dtype=torch.int64), factor)
    if capability >= FP8_FROM:
        rows.quantize_rows(empty(TOKENS, shape.inner, dtype=kind), empty(shape.inner, dtype=torch.float32))
    packed = empty(shape.width * 64 // 2, 1, dtype=torch.uint8)
    inner = SimpleNamespace(code=scale, absmax=scale, blocksize=256)
    for nested in (False, True)[not every :]:
        absmax = empty(shape.width, dtype=torch.uint8 if nested else torch.float32)
        state = {
            "blocksize": 64,
            "nested": nested,
            "state2": inner,
            "absmax": absmax,
            "code": scale,
            "offset": scale[:1],
        }
        four_bit.dequantize(packed, SimpleNamespace(**state), empty(64, shape.width, dtype=kind))


def of_adapters(shape, kind, rank, drops):
    """Launch what takes adapters of a rank along."""
    x, weight, scale = (
        empty(TOKENS, shape.width, dtype=kind),
        empty(shape.width, dtype=kind),
        empty(TOKENS, dtype=torch.float32),
    )

    def dropout(members):
        seeds = (7, 9)[: (members + 1) // 2]
        return Dropout(0.1, empty(TOKENS, dtype=torch.int32), members, seeds) if drops else None

    for member in (0, 1) if drops else ():
        drop(x, dropout(2), member)
    for members, width, outputs in ((3, shape.width, shape.heads.total), (1, shape.inner, shape.width)):
        inputs, low = empty(TOKENS, width, dtype=kind), empty(TOKENS, members * rank, dtype=kind)
        down = empty(members * rank, width, dtype=kind)
        into = empty(members * rank, width, dtype=torch.float32)
        adapters.project(inputs, down, 2.0, dropout(members))
        adapters.add_projected(inputs, low, down, dropout(members))
        adapters.weight_gradient(inputs, low, dropout(members), None, into)
        adapters.weight_gradient(inputs, low, dropout(members), (scale, empty(width, dtype=kind)), into)
        bounds = shape.heads.bounds if members > 1 else (0, outputs)
        up = empty(rank, outputs, dtype=kind)
        blocks.block_gradients(
            empty(TOKENS, outputs, dtype=kind), up, low, bounds, 2.0, empty(outputs, rank, dtype=torch.float32)
        )
    low, up = empty(TOKENS, rank, dtype=kind), empty(rank, shape.width, dtype=kind)
    rows.norm(x, x, (low, up), weight, 1e-5)
    for members in (2, 3):
        through = (
            empty(TOKENS, members * rank, dtype=kind),
            empty(members * rank, shape.width, dtype=kind),
            dropout(members),
        )
        rows.norm_backward(x, through, x, (scale, weight), x)
    rotated = empty(TOKENS, 3 * rank, dtype=kind), empty(rank, shape.heads.total, dtype=kind)
    rotary.rotate(empty(TOKENS, shape.heads.total, dtype=kind), rotated, angles_of(shape), shape.heads, None)
    of_gate(shape, kind, rank, dropout(1))


def of_gate(shape, kind, rank, dropout):
    """Launch the gated activation with adapters on both sides."""
    gate_up, gradient = empty(TOKENS, 2 * shape.inner, dtype=kind), empty(TOKENS, shape.inner, dtype=kind)
    low, up = empty(TOKENS, 2 * rank, dtype=kind), empty(rank, 2 * shape.inner, dtype=kind)
    down, back = empty(rank, shape.inner, dtype=kind), empty(TOKENS, rank, dtype=kind)
    gate.swiglu(gate_up, BeforeGate(low, up, 2.0), AfterGate(down, 2.0, dropout))
    before = BeforeGate(low, up, 2.0, empty(2 * shape.inner, rank, dtype=torch.float32))
    gate.swiglu_backward(
        gate_up, gradient, before, AfterGate(down, 2.0, dropout, back, empty(rank, shape.inner, dtype=torch.float32))
    )


def angles_of(shape):
    return tuple(empty(TOKENS, shape.heads.width // 2, dtype=torch.float32) for _ in range(2))


def of_heads(shape, kind, every):
    """Launch rotations, and attention of packed samples where its kernels take the type."""
    heads, angles = shape.heads, angles_of(shape)
    joint, weight = empty(TOKENS, heads.total, dtype=kind), empty(heads.width, dtype=kind)
    norms = HeadNorms(Norm(weight, 1e-5), Norm(weight, 1e-5))
    q, k, v = heads.split(joint)
    if every:
        rotary.rotate(joint, None, angles, heads, None)
        rotary.rotate(joint, None, angles, heads, norms)
        rotary.rotate_backward((q, k, v), angles, heads, None)
    rotary.rotate_backward((q, k, v), angles, heads, (joint, norms))
    if not attention.is_fit(q, k):
        return
    offsets = torch.tensor([0, 20, TOKENS], dtype=torch.int32)
    for shared in (torch.zeros(3, 2, dtype=torch.int32), torch.zeros(3, 0, dtype=torch.int32))[: 1 + every]:
        for window in (None, 16) if not shared.shape[1] else (None,):
            given = (offsets, shared), (0.1, window)
            out, log = attention.attend(q, k, v, *given)
            for turned in (angles, None)[: 1 + every]:
                attention_backward.attend_backward(out, (q, k, v, out, log), *given, turned)


def of_decoding(shape, kind, every):
    """Launch the steps of decoding, one token at a time and drafts of 16."""
    heads, weight = shape.heads, Norm(empty(shape.width, dtype=kind), 1e-5)
    x, joint = empty(TOKENS, shape.width, dtype=kind), empty(TOKENS, heads.total, dtype=kind)
    small = Norm(empty(heads.width, dtype=kind), 1e-5)
    if every:
        decode_steps.norm(x, None, weight)
        decode_steps.rotate(joint, angles_of(shape), heads, None)
    decode_steps.norm(x, x, weight)
    decode_steps.rotate(joint, angles_of(shape), heads, HeadNorms(small, small))
    for rank in (0, 16, 64) if every else (16,):
        adapter = (empty(TOKENS, 2 * rank, dtype=kind), empty(2 * shape.inner, rank, dtype=kind)) if rank else None
        decode_steps.gate(empty(TOKENS, 2 * shape.inner, dtype=kind), adapter)
    if not device.has_fast_dots(x.device):
        return
    window = Window(1 / math.sqrt(heads.width), None)
    for slots, new in ((3, 16), (TOKENS, 1), (3, 1))[: 3 if every else 1]:
        kept = [empty(slots + 1, heads.keys, 2048, heads.width, dtype=kind) for _ in range(2)]
        lengths = torch.ones(slots, dtype=torch.int32)
        decode_attention.attend_block(empty(slots * new, heads.total, dtype=kind), tuple(kept), lengths, heads, window)


def main():
    """Compile all for one card."""
    capability, size = int(sys.argv[1]), sys.argv[2]
    memory = SHARED[capability] * 1024
    driver.set_active(Card(capability))
    device._chip = lambda _device: (capability // 10, memory)
    use._only_compiles.set(True)
    made, compiling = [], JITFunction._do_compile
    label = ""

    def note(self, *given):
        said = io.StringIO()
        with redirect_stdout(said):
            kernel = compiling(self, *given)
        log = said.getvalue()
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", log)))
        registers = int(re.findall(r"Used (\d+) registers", log)[-1])
        name = f"{self.fn.__module__.rpartition('.')[2]}.{self.fn.__name__}"
        threads = 32 * kernel.metadata.num_warps
        made.append({
            "name": name, "of": label, "shared": kernel.metadata.shared, "registers": registers * threads, "spilled": spilled
        })  # fmt: skip
        return kernel

    JITFunction._do_compile = note
    knobs.nvidia.dump_ptxas_log = True
    half = torch.bfloat16 if capability >= BF16_FROM else torch.float16
    every = size == "all"
    for kind in (half, torch.float32)[: 1 + every]:
        most = highest_rank(memory, kind)
        for shape in SHAPES[size] if kind is half else SHAPES["each"]:
            label = f"{shape.name} {kind}"
            of_decoding(shape, kind, every)
            if not most:
                continue
            of_rows(shape, kind, capability, every)
            of_heads(shape, kind, every)
            ranks = RANKS[size] if shape is STARLING else (16, most)
            for rank in (rank for rank in ranks if rank <= most):
                for drops in (True, False)[: 1 + every]:
                    label = f"{shape.name} {kind} r {rank}{' dropout' if drops else ''}"
                    of_adapters(shape, kind, rank, drops)
    json.dump({"limit": memory, "made": made}, sys.stdout)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
