"""The Triton kernels are chosen where their tiles fit the GPU."""

import pytest
import torch

from medtune.accel.train.steps import choose_steps, highest_rank

H200, RTX_4090 = 232448, 101376  # bytes of shared memory that a program may take, as CUDA names them


@pytest.mark.parametrize(
    ("memory", "dtype", "rank"),
    [
        (H200, torch.bfloat16, 128),
        (H200, torch.float32, 64),
        (RTX_4090, torch.bfloat16, 64),
        (RTX_4090, torch.float16, 64),
        (RTX_4090, torch.float32, 0),
    ],
)
def test_small_cards_take_lower_ranks(memory, dtype, rank):
    assert highest_rank(memory, dtype) == rank


def test_a_cpu_takes_the_reference():
    assert choose_steps(torch.device("cpu"), 8, torch.bfloat16).name == "reference"
