"""What a process holds of a base that is sharded over several."""

from dataclasses import replace

from medtune import QuantSpec, RunSpec
from medtune.planning.memory import Setting, Shape, estimate_memory, sharded_memory

LLAMA_70B = Shape(8192, 80, 64, 8, 128, 28672, 128_256, tied=False)
BLOCK = 2 * (8192 * (8192 + 2 * 1024) + 8192 * 8192 + 3 * 8192 * 28672)
GIB = 1024**3


def setting(scheme="none", **values):
    spec = RunSpec(quant=QuantSpec(scheme=scheme, backend="fp8" if scheme == "fp8" else "bitsandbytes"))
    return Setting(spec, "bf16", "all", **values)


def test_layers_are_shared_and_three_of_them_gathered():
    parts = sharded_memory(LLAMA_70B, setting(), 8).phases["training"]
    assert parts["base"] * GIB == 80 * BLOCK / 8
    assert parts["gathered"] * GIB == 3 * BLOCK
    whole = estimate_memory(LLAMA_70B, setting()).phases["training"]
    assert "gathered" not in whole
    same = ("embeddings", "adapter", "optimizer", "gradients", "activations")
    assert [parts[name] for name in same] == [whole[name] for name in same]


def test_70b_in_16_bits_fits_four_cards_of_80_gib_and_not_one():
    assert estimate_memory(LLAMA_70B, setting()).peak > 130
    assert sharded_memory(LLAMA_70B, setting(), 4).peak < 0.94 * 80
    assert sharded_memory(LLAMA_70B, setting("fp8"), 2).peak < 0.94 * 80


def test_rows_that_do_not_divide_are_padded():
    odd = Shape(10, 1, 2, 2, 5, 7, 64, tied=False)
    rows = 4 * 10 * 4 + 2 * 10 * 3 + 7 * 4  # of 3 processes' 10 or 7 outputs
    assert sharded_memory(odd, setting(), 3).phases["training"]["base"] * GIB == 2 * rows


def test_a_sharded_base_is_planned_on_the_path_that_it_takes():
    fast = setting(path="fast", keeps_dequantized=True)
    assert sharded_memory(LLAMA_70B, fast, 4) == sharded_memory(LLAMA_70B, setting(), 4)
    selective = replace(setting(), recompute="selective")
    assert sharded_memory(LLAMA_70B, selective, 4) == sharded_memory(LLAMA_70B, setting(), 4)
