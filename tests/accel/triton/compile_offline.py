"""Compiles the Triton kernels of a pass for Hopper, without such a GPU, and prints what came of it as JSON."""

import json
import logging
import sys
import threading
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))
from tiny_models import build_model, draw_with_prefixes
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from medtune.accel import train as kernels
from medtune.accel.train import attention, recognize, steps
from medtune.accel.triton import device as triton_device
from medtune.accel.triton import tiles as triton_tiles
from medtune.accel.triton import use as triton_use

HOPPER = 9
ATTENTION = ("_attend", "_query_gradients", "_key_gradients")
SIZES = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "num_hidden_layers": 4,
}


class Absent:
    """A driver that names a GPU; a launch would fail."""

    def __init__(self):
        self.launchers = []

    def launcher_cls(self, _source, _metadata):
        self.launchers.append(threading.current_thread())

    def get_current_target(self):
        return GPUTarget("cuda", 10 * HOPPER, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, _device):
        return 0


def main():
    """Rehearse a pass twice."""
    absent = Absent()
    driver.set_active(absent)
    triton_device.generation = lambda _x: HOPPER
    recognize.choose_steps = lambda *_: steps.triton_steps()
    attention._form_of = lambda _q, _k: "triton"
    triton_tiles._FEWEST_PIECES = 1  # so that a small batch is compiled for its own number
    asked, compiling = [], JITFunction._do_compile

    def note(self, *given):
        asked.append(self)
        return compiling(self, *given)

    JITFunction._do_compile = note
    model = build_model("Mistral", dtype=torch.bfloat16, lora={"lora_dropout": 0.1}, **SIZES)
    stack = kernels.enable(model, cuda_graphs=False)._stack
    counts = []
    for _ in range(2):
        with triton_use.compiled_together():
            stack.rehearse(kernels.lay_out(*draw_with_prefixes(), longest_shared=40), torch.zeros(1, dtype=torch.int64))
        counts.append(len(asked))
    kernels_of = {f.fn.__name__: list(f.device_caches[0][0].values()) for f in set(asked)}
    made = [kernel for several in kernels_of.values() for kernel in several]
    found = {
        "names": sorted(kernels_of),
        "attention": [len(kernels_of[name]) for name in ATTENTION],
        "asked": counts,
        "made": len(made),
        "most_shared": max(kernel.metadata.shared for kernel in made),
        "launchers": sum(thread is not threading.main_thread() for thread in absent.launchers),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
