"""The Triton kernels of decoding equal the reference steps: compiled where there is a GPU, else interpreted on the CPU."""

import math

import pytest
import torch

from medtune.accel.decode.cache import Block, SlotCache
from medtune.accel.decode.plan import SlotSize
from medtune.accel.decode.steps import REFERENCE
from medtune.accel.model.heads import HeadNorms, Heads, Norm, Window

pytest.importorskip("triton", reason="needs Triton")

from medtune.accel.triton import decode_attention, decode_steps

# the interpreter itself uses what NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def draw(*shape):
    return torch.randn(*shape, device=DEVICE)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("pending", [True, False])
def test_the_norm_adds_and_normalises_like_the_reference(pending):
    x, more, norm = draw(5, 48), draw(5, 48) if pending else None, Norm(draw(48), 1e-5)
    for fused, reference in zip(decode_steps.norm(x, more, norm), REFERENCE.norm(x, more, norm), strict=True):
        close(fused, reference)


@pytest.mark.parametrize("normed", [True, False])
def test_heads_are_rotated_like_the_reference(normed):
    heads = Heads(4, 2, 24)
    norms = HeadNorms(Norm(draw(24), 1e-5), Norm(draw(24), 1e-3)) if normed else None
    fused = draw(11, heads.total)
    reference = fused.clone()
    angles = draw(11, 12).cos(), draw(11, 12).sin()
    decode_steps.rotate(fused, angles, heads, norms)
    REFERENCE.rotate(reference, angles, heads, norms)
    close(fused, reference)


@pytest.mark.parametrize("rank", [0, 3, 65])
def test_the_gate_adds_adapters_like_the_reference(rank):
    gate_up = draw(35, 2 * 130)
    adapters = (draw(35, 2 * rank), draw(2 * 130, rank)) if rank else None
    close(decode_steps.gate(gate_up.clone(), adapters), REFERENCE.gate(gate_up, adapters))


@pytest.mark.parametrize(
    ("rows", "heads", "window"),
    [
        *((3, Heads(4, 2, 16), window) for window in (None, 40)),
        *((1, Heads(8, 1, 32), window) for window in (None, 40)),
        (300, Heads(2, 2, 16), None),
        pytest.param(300, Heads(2, 2, 16), 40, marks=pytest.mark.proof),
    ],
)
def test_a_token_attends_to_its_slot_like_the_reference(rows, heads, window):
    capacity = 256
    lengths = torch.randint(0, capacity, (rows,), dtype=torch.int32, device=DEVICE)
    lengths[0] = 0
    cache = SlotCache(1, heads, SlotSize(rows + 1, capacity), torch.float32, DEVICE)
    cache._data.normal_()
    kept = cache._data.clone()
    qkv = draw(rows, heads.total)
    sliding_window = Window(1 / math.sqrt(heads.width), window)
    fused = decode_attention.attend(qkv, (kept[0, 0], kept[0, 1]), lengths, heads, sliding_window)
    cache._fused = False
    close(fused, cache.attend(0, qkv, lengths, sliding_window))
    close(kept, cache._data)


@pytest.mark.parametrize("window", [None, 3, 40])
@pytest.mark.parametrize(
    ("rows", "heads", "new", "capacity"),
    [(3, Heads(4, 2, 16), 4, 256), (3, Heads(2, 2, 16), 2, 120), (1, Heads(8, 1, 32), 16, 256)],
)
def test_drafted_tokens_attend_to_their_slot_as_far_as_themselves_like_the_reference(
    rows, heads, new, capacity, window
):
    lengths = torch.randint(0, capacity - new + 1, (rows,), dtype=torch.int32, device=DEVICE)
    lengths[0] = 0
    lengths[-1] = capacity - new
    cache = SlotCache(1, heads, SlotSize(rows + 1, capacity), torch.float32, DEVICE)
    cache._data.normal_()
    kept = cache._data.clone()
    qkv = draw(rows * new, heads.total)
    sliding_window = Window(1 / math.sqrt(heads.width), window)
    fused = decode_attention.attend_block(qkv, (kept[0, 0], kept[0, 1]), lengths, heads, sliding_window)
    cache._fused = False
    close(fused, cache.attend_block(0, qkv, Block(lengths, new, None), sliding_window))
    close(kept, cache._data)
