"""Attention within packed samples by Triton equals dense attention: compiled where there is a GPU, else interpreted."""

import pytest
import torch

pytest.importorskip("triton")

from medtune.accel import train as kernels
from medtune.accel.model.heads import Heads
from medtune.accel.steps import reference
from medtune.accel.train import attention
from medtune.accel.triton import attention as triton_attention
from medtune.accel.triton import attention_backward as triton_attention_backward
from medtune.accel.triton import tiles as triton_tiles

# the interpreter itself uses what NumPy deprecates
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF = torch.bfloat16 if torch.cuda.is_available() else torch.float16
ALLOWED = 1e-2 if torch.cuda.is_available() else 2e-3
LENGTHS = (5, 1, 37, 70)


@pytest.fixture
def normal():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator).to(DEVICE)


def pieces_of(lengths, followed=None):
    """Return where samples begin, two empty ones last, as a padded batch has them, and what they share.

    ``followed`` are the numbers of a prefix and of the last piece that goes on from it.
    """
    ends = torch.tensor(lengths).cumsum(0)
    offsets = torch.tensor([0, *ends.tolist(), *2 * [ends[-1].item()]], dtype=torch.int32)
    shared = torch.stack([offsets[:-1], offsets[:-1], offsets[1:]])
    if followed is not None:
        first, last = followed
        shared[2, first] = offsets[last + 1]
        shared[:2, first + 1 : last + 1] = offsets[first : first + 2, None]
    return offsets.to(DEVICE), (shared if followed else shared[:, :0]).contiguous().to(DEVICE)


def dense(q, k, v, lengths, window, followed=None):
    """Return attention from all scores of all tokens, masked."""
    scale, sliding_window = window
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(DEVICE)
    place = torch.arange(len(sample), device=DEVICE)
    apart = place[:, None] - place
    seen = sample[:, None] == sample
    if followed is not None:
        seen |= (sample == followed[0]) & (sample[:, None] > followed[0]) & (sample[:, None] <= followed[1])
    seen &= apart >= 0
    if sliding_window is not None:
        seen &= apart <= sliding_window
    shared = q.shape[1] // k.shape[1]
    scores = torch.einsum("qhd,khd->hqk", q, k.repeat_interleave(shared, 1)) * scale
    shares = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", shares, v.repeat_interleave(shared, 1))


def error(found, wanted):
    return ((found.float() - wanted.float()).norm() / wanted.float().norm()).item()


LAYOUTS = {
    "whole": (None, LENGTHS, None),
    "narrow": (3, LENGTHS, None),
    "wide": (20, LENGTHS, None),
    "shared": (None, (5, 37, 9, 70, 1, 40), (1, 4)),
}


@pytest.mark.parametrize(
    ("heads", "sliding_window", "lengths", "followed"),
    [
        pytest.param(
            heads, *LAYOUTS[name], id=f"{name}-{heads}",
            marks=[pytest.mark.proof] if heads.queries == 14 and name in ("narrow", "wide") else [],
        )
        for name in LAYOUTS for heads in (Heads(4, 1, 16), Heads(14, 2, 16), Heads(3, 3, 32))
    ],
)  # fmt: skip
def test_attention_and_its_gradients_equal_dense_attention(normal, heads, sliding_window, lengths, followed):
    tokens, scale = sum(lengths), heads.width**-0.5
    pieces = pieces_of(lengths, followed)
    joint = normal(tokens, heads.total).to(HALF)
    gradient = normal(tokens, heads.queries, heads.width).to(HALF)
    q, k, v = heads.split(joint)
    wide = joint.float().requires_grad_()
    wanted = dense(*heads.split(wide), lengths, (scale, sliding_window), followed)
    (wanted_gradient,) = torch.autograd.grad(wanted, wide, gradient.float())
    wanted = wanted.detach()

    out, log = triton_attention.attend(q, k, v, pieces, (scale, sliding_window))
    done = q, k, v, out, log
    found = triton_attention_backward.attend_backward(gradient, done, pieces, (scale, sliding_window), None)
    assert error(out, wanted) < ALLOWED
    for part, wanted_part in zip(heads.split(found), heads.split(wanted_gradient), strict=True):
        assert error(part, wanted_part) < ALLOWED

    angles = normal(tokens, heads.width // 2), normal(tokens, heads.width // 2)
    turned = triton_attention_backward.attend_backward(gradient, done, pieces, (scale, sliding_window), angles)
    parts = heads.split(wanted_gradient)
    assert error(turned, reference.rotate_backward(parts, angles, heads, None)) < ALLOWED


def test_samples_do_not_see_each_other(normal):
    heads, window = Heads(4, 2, 16), (0.25, None)
    pieces, begin, end = pieces_of(LENGTHS), 6, 43
    joint, gradient = (
        normal(sum(LENGTHS), heads.total).to(HALF),
        normal(sum(LENGTHS), heads.queries, heads.width).to(HALF),
    )
    results = []
    for _ in range(2):
        q, k, v = heads.split(joint)
        out, log = triton_attention.attend(q, k, v, pieces, window)
        back = triton_attention_backward.attend_backward(gradient, (q, k, v, out, log), pieces, window, None)
        results.append((out[begin:end].clone(), back[begin:end].clone()))
        outside = torch.ones(len(joint), dtype=torch.bool)
        outside[begin:end] = False
        joint[outside.to(DEVICE)] *= 3
        gradient[outside.to(DEVICE)] *= -2
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_batches_of_usual_sizes_share_their_compiled_kernels(normal):
    q, k = normal(4, 2, 16), normal(4, 1, 16)
    few, many = (triton_tiles.compiled_for(q, k, 2, pieces_of((1,) * count), None) for count in (3, 100))
    assert few == many
    assert few["PIECES"] >= 102


def test_heads_of_a_token_that_lie_apart_are_refused(normal):
    q = normal(4, 2, 32).to(HALF)[:, :, :16]
    with pytest.raises(ValueError, match="one after the other"):
        triton_attention.attend(q, q, q, pieces_of((4,)), (1.0, None))


def test_other_heads_are_left_to_other_kernels(normal):
    q, k = normal(4, 2, 16), normal(4, 1, 16)
    assert triton_attention.is_fit(q.to(HALF), k.to(HALF))
    assert not triton_attention.is_fit(q, k)
    wide = normal(4, 2, 256).to(HALF)
    assert not triton_attention.is_fit(wide, wide)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU multiplies fp32 in less precision")
def test_a_model_whose_samples_share_prefixes_has_the_gradients_of_plain_peft(build, monkeypatch):
    from tiny_models import draw_with_prefixes, gradients, largest_error, plain_loss

    model, batch = build("Mistral"), draw_with_prefixes(rows=1)
    _loss, wanted = gradients(model, plain_loss(model, *batch))
    monkeypatch.setattr(attention, "_form_of", lambda _q, _k: "triton")
    path = kernels.enable(model, share=True)
    laid = path.lay_out(*batch)
    assert laid.shares
    _loss, found = gradients(model, path.loss_of(laid.padded(path.grain)))
    assert largest_error(found, wanted) < 1e-5
