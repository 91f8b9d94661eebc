"""Every Triton kernel equals its stock form: compiled where there is a GPU, else interpreted on the CPU."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from medtune.kernels import stock, triton_adapters, triton_rows, triton_tiles
from medtune.kernels.dropout import Dropout
from medtune.kernels.heads import HeadNorms, Heads

# the interpreter itself uses what NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DROPOUT = Dropout(0.3, 12345, (7, 2**31 - 1, 99), first_row=5)


# the interpreter takes bf16 operands of a dot product for integers
HALF = torch.bfloat16 if torch.cuda.is_available() else torch.float16


@pytest.fixture(params=[torch.float32, HALF], ids=["fp32", "half"])
def draw(request):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape, dtype=request.param):
        return torch.randn(*shape, generator=generator).to(DEVICE, dtype)

    return normal


@pytest.fixture
def assert_close(request):
    allowed = 2e-6 if "fp32" in request.node.callspec.id else 1e-2

    def check(found, wanted):
        error = (found.float() - wanted.float()).norm() / wanted.float().norm().clamp(min=1e-30)
        assert error < allowed, float(error)

    return check


@pytest.mark.parametrize("with_pending", [True, False])
def test_norm_and_its_gradient(draw, assert_close, with_pending):
    x, pending, weight = draw(5, 48), draw(5, 48) if with_pending else None, draw(48)
    found, wanted = (m.norm(x, pending, weight, 1e-5) for m in (triton_rows, stock))
    for f, w in zip(found, wanted, strict=True):
        assert_close(f, w)
    gradient, residual = draw(5, 48), draw(5, 48) if with_pending else None
    arguments = (gradient, wanted[0], wanted[2], weight, residual)
    assert_close(triton_rows.norm_backward(*arguments), stock.norm_backward(*arguments))


def test_loss_over_a_vocabulary_wider_than_a_block(draw, assert_close):
    logits = draw(3, 4999) * 5
    targets = torch.tensor([0, 4998, 4097], device=DEVICE)
    other = logits.clone()
    found, wanted = triton_rows.cross_entropy(logits, targets), stock.cross_entropy(other, targets)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert_close(logits, other)


@pytest.mark.parametrize("scaled", [True, False])
def test_rounding_rows_to_fp8(draw, scaled):
    x = draw(4, 100)
    columns = draw(100, dtype=torch.float32).abs() + 0.5 if scaled else None
    (found, found_scale), (wanted, wanted_scale) = (m.quantize_rows(x, columns) for m in (triton_rows, stock))
    torch.testing.assert_close(found_scale, wanted_scale)
    if DEVICE == "cuda":  # the interpreter rounds up to a power of two wrongly
        torch.testing.assert_close(found.float(), wanted.float(), rtol=1 / 8, atol=2**-8)
    assert (found.float() == wanted.float()).float().mean() > 0.95


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("width", [16, 24])
def test_rotation_and_its_gradient(draw, assert_close, normed, width):
    heads, rows = Heads(4, 2, width), 37
    qkv = draw(rows, heads.total)
    angle = draw(rows, width // 2, dtype=torch.float32)
    norms = HeadNorms((draw(width), draw(width)), 1e-5) if normed else None
    found, wanted = (m.rotate(qkv.clone(), angle.cos(), angle.sin(), heads, norms) for m in (triton_tiles, stock))
    assert_close(found, wanted)
    gradients = (draw(rows, 4, width), draw(rows, 2, width), draw(rows, 2, width))
    before = (qkv, norms) if norms else None
    arguments = (gradients, angle.cos(), angle.sin(), heads, before)
    assert_close(triton_tiles.rotate_backward(*arguments), stock.rotate_backward(*arguments))


@pytest.mark.parametrize("rank", [0, 8, 20])
@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["whole", "dropped"])
def test_gated_activation_and_its_gradient(draw, assert_close, rank, dropout):
    rows, width = 37, 136
    gate_up, gradient = draw(rows, 2 * width), draw(rows, width)
    adapter = (draw(rows, 2 * rank), draw(2 * width, rank)) if rank else None
    down = (draw(rows, rank), draw(rank, width)) if rank else None
    low, up = adapter or (None, None)
    assert_close(triton_tiles.swiglu(gate_up, low, up), stock.swiglu(gate_up, low, up))
    results = []
    for module in (triton_tiles, stock):
        results.append((gate_up.clone(), gradient.clone()))
        module.swiglu_backward(*results[-1], adapter, down, dropout)
    for found, wanted in zip(*results, strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["whole", "dropped"])
@pytest.mark.parametrize(("members", "rank"), [(3, 8), (2, 5), (1, 33)])
def test_thin_products_over_a_shared_input(draw, assert_close, dropout, members, rank):
    rows, width = 39, 144
    x, down, low, y = draw(rows, width), draw(members * rank, width), draw(rows, members * rank), draw(rows, width)
    assert_close(triton_adapters.project(x, down, members, 0.5, dropout), stock.project(x, down, members, 0.5, dropout))
    normed = (draw(rows, dtype=torch.float32).abs(), draw(width))
    for norm in (None, normed):
        arguments = (x, low, members, dropout, norm)
        assert_close(triton_adapters.weight_gradient(*arguments), stock.weight_gradient(*arguments))
    other = y.clone()
    triton_adapters.add_projected(y, low, down, members, dropout)
    stock.add_projected(other, low, down, members, dropout)
    assert_close(y, other)


@pytest.mark.parametrize("bounds", [(0, 64, 96, 128), (0, 64, 128), (0, 128)])
@pytest.mark.parametrize("rows", [39, 1100])
def test_thin_products_over_blocks_of_columns(draw, assert_close, bounds, rows):
    x, up, low = draw(rows, 128), draw(128, 8), draw(rows, 8 * (len(bounds) - 1))
    assert_close(triton_adapters.project_blocks(x, up, bounds, 2.0), stock.project_blocks(x, up, bounds, 2.0))
    assert_close(triton_adapters.weight_gradient_blocks(x, low, bounds), stock.weight_gradient_blocks(x, low, bounds))
