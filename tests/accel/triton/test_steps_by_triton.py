"""Every Triton kernel equals its reference form: compiled where there is a GPU, else interpreted on the CPU."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

from tiny_models import build_model, draw_batch, gradients, largest_error

from medtune.accel.model.heads import HeadNorms, Heads, Norm
from medtune.accel.steps import reference, reference_gate
from medtune.accel.steps.dropout import Dropout, keep_mask
from medtune.accel.steps.gate import AfterGate, BeforeGate
from medtune.accel.triton import adapters, blocks, four_bit, gate, rotary, rows
from medtune.accel.triton import dropout as triton_dropout

# the interpreter itself uses what NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KEYS = torch.arange(-40, 400, dtype=torch.int32, device=DEVICE)
DROPOUT = Dropout(0.3, KEYS, 3, (7, 2**31 - 1))


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


def draw_adapter(draw, rows, members, rank, width):
    """Return low-rank values of ``members`` layers and their second factor, or None for rank 0."""
    return (draw(rows, members * rank), draw(rank, width)) if rank else None


@pytest.mark.parametrize("rank", [0, 8, 20])
@pytest.mark.parametrize("with_pending", [True, False])
@pytest.mark.parametrize("width", [48, 64])
def test_norm_adds_what_is_pending_with_its_adapter(draw, assert_close, with_pending, rank, width):
    x, pending, weight = draw(5, width), draw(5, width) if with_pending else None, draw(width)
    adapter = draw_adapter(draw, 5, 1, rank, width) if with_pending else None
    copies = [None if pending is None else pending.clone() for _ in range(2)]
    results = [m.norm(x, copy, adapter, weight, 1e-5) for m, copy in zip((rows, reference), copies, strict=True)]
    for found, wanted in zip(*results, strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["whole", "dropped"])
@pytest.mark.parametrize("rank", [0, 8, 20])
@pytest.mark.parametrize("with_residual", [True, False])
@pytest.mark.parametrize("width", [48, 64])
def test_gradient_of_norm_takes_in_that_of_adapters(draw, assert_close, with_residual, rank, dropout, width):
    x, gradient, residual = draw(19, width), draw(19, width), draw(19, width) if with_residual else None
    normed = (torch.rsqrt(x.float().square().mean(-1) + 1e-5), draw(width))
    through = (draw(19, 3 * rank), draw(3 * rank, width), dropout) if rank else None
    copies = [None if residual is None else residual.clone() for _ in range(2)]
    found, wanted = (
        module.norm_backward(gradient.clone(), through, x, normed, copy)
        for module, copy in zip((rows, reference), copies, strict=True)
    )
    assert_close(found, wanted)
    if with_residual:
        assert [copies[0].data_ptr(), copies[1].data_ptr()] == [found.data_ptr(), wanted.data_ptr()]


@pytest.mark.parametrize("scale", [None, 37.5])
def test_loss_over_a_vocabulary_wider_than_a_block(draw, assert_close, scale):
    logits = draw(4, 4999) * 5
    factor = None if scale is None else torch.tensor([scale], device=DEVICE)
    targets = torch.tensor([0, 4998, -1, 4097], device=DEVICE)
    other = logits.clone()
    found, wanted = (m.cross_entropy(x, targets, factor) for m, x in ((rows, logits), (reference, other)))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert_close(logits, other)
    assert not logits[2].any()


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("width", [100, 128])
def test_rounding_rows_to_fp8(draw, scaled, width):
    x = draw(4, width)
    columns = draw(width, dtype=torch.float32).abs() + 0.5 if scaled else None
    (found, found_scale), (wanted, wanted_scale) = (m.quantize_rows(x, columns) for m in (rows, reference))
    torch.testing.assert_close(found_scale, wanted_scale)
    if DEVICE == "cuda":  # the interpreter rounds up to a power of two wrongly
        torch.testing.assert_close(found.float(), wanted.float(), rtol=1 / 8, atol=2**-8)
    assert (found.float() == wanted.float()).float().mean() > 0.95


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("width", [16, 24])
@pytest.mark.parametrize("rank", [0, 8, 20])
def test_rotation_and_its_gradient(draw, assert_close, normed, width, rank):
    heads, rows = Heads(4, 2, width), 37
    qkv = draw(rows, heads.total)
    angle = draw(rows, width // 2, dtype=torch.float32)
    angles = (angle.cos(), angle.sin())
    norms = HeadNorms(Norm(draw(width), 1e-5), Norm(draw(width), 1e-5)) if normed else None
    adapter = draw_adapter(draw, rows, 3, rank, heads.total)
    found, wanted = (m.rotate(qkv.clone(), adapter, angles, heads, norms) for m in (rotary, reference))
    assert_close(found, wanted)
    gradients = (draw(rows, 4, width), draw(rows, 2, width), draw(rows, 2, width))
    arguments = (gradients, angles, heads, (qkv, norms) if norms else None)
    assert_close(rotary.rotate_backward(*arguments), reference.rotate_backward(*arguments))


@pytest.mark.parametrize("rank", [0, 8, 20])
@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["whole", "dropped"])
@pytest.mark.parametrize("is_hopper", [False, True])
def test_gated_activation_and_its_gradient(draw, assert_close, rank, dropout, is_hopper, monkeypatch):
    monkeypatch.setattr(gate, "_BACKWARD_ROWS", 64)  # so that sums over rows and columns come in parts
    monkeypatch.setattr(gate, "_FORWARD_COLUMNS", 64)
    monkeypatch.setattr(gate, "is_half_on_hopper", lambda x: is_hopper and x.dtype == HALF)
    rows, width = 69, 136
    gate_up, gradient = draw(rows, 2 * width), draw(rows, width)
    dropout = None if dropout is None else replace(dropout, members=1)
    before = after = None
    up_gradient, down_gradient = draw(2 * width, rank, dtype=torch.float32), draw(rank, width, dtype=torch.float32)
    if rank:
        before = BeforeGate(draw(rows, 2 * rank), draw(rank, 2 * width), 0.5)
        after = AfterGate(draw(rank, width), 2.0, dropout, draw(rows, rank))
    for found, wanted in zip(*(m.swiglu(gate_up, before, after) for m in (gate, reference_gate)), strict=True):
        assert_same(found, wanted, assert_close)
    results = []
    for module in (gate, reference_gate):
        changed, up, down = gate_up.clone(), up_gradient.clone(), down_gradient.clone()
        ends = (None, None)
        if before is not None and after is not None:
            ends = replace(before, up_gradient=up), replace(after, down_gradient=down)
        results.append((module.swiglu_backward(changed, gradient.clone(), *ends), changed, up, down))
    for found, wanted in zip(*results, strict=True):
        assert_same(found, wanted, assert_close)


def assert_same(found, wanted, assert_close):
    """Both are None, or close."""
    assert (found is None) == (wanted is None)
    if found is not None:
        assert found.shape == wanted.shape
        assert_close(found, wanted)


@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["whole", "dropped"])
@pytest.mark.parametrize(("members", "rank"), [(3, 8), (2, 5), (1, 33), (3, 30)])
def test_thin_products_over_a_shared_input(draw, assert_close, dropout, members, rank):
    rows, width = 39, 144
    if dropout is not None:
        dropout = replace(dropout, members=members)
    x, down, low, y = draw(rows, width), draw(members * rank, width), draw(rows, members * rank), draw(rows, width)
    assert_close(adapters.project(x, down, 0.5, dropout), reference.project(x, down, 0.5, dropout))
    for normed in (None, (draw(rows, dtype=torch.float32).abs(), draw(width))):
        found = draw(members * rank, width, dtype=torch.float32)
        wanted = found.clone()
        adapters.weight_gradient(x, low, dropout, normed, found)
        reference.weight_gradient(x, low, dropout, normed, wanted)
        assert_close(found, wanted)
    other = y.clone()
    adapters.add_projected(y, low, down, dropout)
    reference.add_projected(other, low, down, dropout)
    assert_close(y, other)


@pytest.mark.parametrize("member", [0, 1, 2])
def test_dropout_by_itself(draw, assert_close, member):
    x = draw(3, 13, 144)
    mask = keep_mask(DROPOUT, member, (39, 144), x.device).view(x.shape)
    found = triton_dropout.drop(x, DROPOUT, member)
    assert torch.equal(found != 0, mask & (x != 0))
    assert_close(found, x * mask * DROPOUT.factor)


@pytest.mark.parametrize("bounds", [(0, 64, 96, 128), (0, 64, 128), (0, 128), (0, 100, 128)])
@pytest.mark.parametrize("rows", [39, 1100])
@pytest.mark.parametrize("is_hopper", [False, True])
def test_thin_products_over_blocks_of_columns(draw, assert_close, bounds, rows, is_hopper, monkeypatch):
    monkeypatch.setattr(blocks, "is_half_on_hopper", lambda x: is_hopper and x.dtype == HALF)
    x, up, low = draw(rows, 128), draw(8, 128), draw(rows, 8 * (len(bounds) - 1))
    found = draw(128, 8, dtype=torch.float32)
    wanted = found.clone()
    back = blocks.block_gradients(x, up, low, bounds, 2.0, found)
    assert_close(back, reference.block_gradients(x, up, low, bounds, 2.0, wanted))
    assert_close(found, wanted)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_dequantized_4_bit_weights_equal_those_of_bitsandbytes(draw, quant_type, nested):
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = draw(96, 192)  # more blocks than one scale of scales covers
    packed, state = functional.quantize_4bit(weight, quant_type=quant_type, compress_statistics=nested)
    out = torch.empty_like(weight)
    assert four_bit.dequantize(packed, state, out)
    wanted = functional.dequantize_4bit(packed, state)
    torch.testing.assert_close(out, wanted, rtol=0 if DEVICE == "cpu" else 1e-2, atol=0)


def test_4_bit_weights_that_end_inside_a_block_are_left_to_bitsandbytes(draw):
    functional = pytest.importorskip("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(draw(3, 24))
    assert not four_bit.dequantize(packed, state, draw(3, 24))


@pytest.mark.parametrize(("family", "lora"), [("Mistral", {}), ("Qwen3", {"lora_dropout": 0.2, "r": 20})])
def test_whole_models_by_triton_equal_those_by_the_reference(family, lora, monkeypatch):
    from medtune.accel import train as kernels
    from medtune.accel.train import recognize, steps

    model, batch = build_model(family, lora=lora, num_hidden_layers=2), draw_batch()
    results = []
    for name in ("reference", "triton"):
        chosen = steps.reference_steps() if name == "reference" else steps.triton_steps()
        monkeypatch.setattr(recognize, "choose_steps", lambda _device, _r, _dtype, chosen=chosen: chosen)
        path = kernels.enable(model)
        assert path.steps == name
        torch.manual_seed(3)
        results.append(gradients(model, path.loss_sum(*batch)))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=0)
    assert largest_error(results[1][1], results[0][1]) < 1e-5
