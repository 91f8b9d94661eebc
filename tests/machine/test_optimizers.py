"""A paged optimizer pages only what is worth it."""

import pytest

from medtune.machine.optimizers import runs_as


@pytest.mark.parametrize(
    ("optim", "trained", "on_gpu", "runs"),
    [
        ("paged_adamw_32bit", 21_000_000, True, "adamw_torch_fused"),
        ("paged_adamw_32bit", 2**27, True, "paged_adamw_32bit"),  # 1 GiB of state
        ("paged_adamw_32bit", 21_000_000, False, "paged_adamw_32bit"),
        ("paged_adamw_8bit", 21_000_000, True, "paged_adamw_8bit"),
        ("adafactor", 10, True, "adafactor"),
    ],
)
def test_what_runs_for_a_name(optim, trained, on_gpu, runs):
    assert runs_as(optim, trained, on_gpu=on_gpu) == runs
