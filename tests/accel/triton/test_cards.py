"""Every Triton kernel is compiled for cards that are not here, and takes no more of one than it has."""

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import medtune

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton, whose compiler comes with it"),
]
SOURCES = Path(medtune.__file__).parent
REGISTERS = 65_536
"""32-bit registers of a multiprocessor, in every card since Kepler: CUDA C++ Programming Guide, "Compute Capabilities"."""
SPILLED = 1280
"""Bytes a thread that ptxas may move out of registers and back: attention's tiles, the fastest on an H200, take 744, the gradient
of a norm with masks at rank 16 takes 1,132. In fp32, whose exact products run on no tensor cores, some kernels take more."""
NOT_ON = {
    75: {
        "attention._attend",
        "attention_backward._key_gradients",
        "attention_backward._query_gradients",
        "decode_attention._attend",
        "decode_attention._combine",
        "rows._quantize",
    },
    80: {"rows._quantize"},
    86: {"rows._quantize"},
}
"""What a card does not run: fp8 before Ada, and attention by Triton where its dots do not run on tensor cores."""


def is_jitted(node):
    return isinstance(node, ast.FunctionDef) and any("triton.jit" in ast.unparse(one) for one in node.decorator_list)


def found_kernels():
    """Return module.name of every function under ``triton.jit``, and of those that another one calls."""
    jitted, called = set(), set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if is_jitted(node):
                jitted.add((path.stem, node.name))
                called |= {
                    c.func.id for c in ast.walk(node) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)
                }
    return {f"{stem}.{name}" for stem, name in jitted if name not in called}


def compiled(capability, size, folder):
    here = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("cards_offline.py")
    done = subprocess.run(
        [sys.executable, str(script), str(capability), size],
        env=here | {"TRITON_CACHE_DIR": str(folder)},
        check=False,
        timeout=3600,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def too_much(found):
    return [
        one
        for one in found["made"]
        if one["shared"] > found["limit"]
        or one["registers"] > REGISTERS
        or (one["spilled"] > SPILLED and "float32" not in one["of"])
    ]


@pytest.mark.parametrize("capability", [75, 90])
def test_each_kernel_is_compiled_for_a_card_and_fits_it(capability, tmp_path):
    found = compiled(capability, "each", tmp_path)
    assert {one["name"] for one in found["made"]} == found_kernels() - NOT_ON.get(capability, set())
    assert too_much(found) == []


@pytest.mark.proof
@pytest.mark.parametrize("capability", [75, 80, 86, 89, 90, 100])
def test_all_that_a_plan_may_choose_on_a_card_is_compiled_and_fits_it(capability, tmp_path):
    found = compiled(capability, "all", tmp_path)
    assert {one["name"] for one in found["made"]} == found_kernels() - NOT_ON.get(capability, set())
    assert too_much(found) == []
