"""On a CPU samples of about one length are attended together; every sample sees itself and what it goes on from, and nothing else."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from medtune.accel.model.heads import Window
from medtune.accel.train.attention_by_length import attend_by_length, grouped
from medtune.accel.train.layout import lay_out

HEADS, KEYS, WIDTH = 4, 2, 8


def batch_of(lengths, shared=0):
    """Lay out samples of these lengths in one row, that many of whose first tokens they share."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 50, (1, sum(lengths)), generator=draw)
    starts = np.cumsum([0, *lengths[:-1]])
    for start in starts:
        ids[0, start : start + shared] = torch.arange(100, 100 + shared)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    labels = ids.clone()
    for start in starts:
        labels[0, start : start + max(shared, 1)] = -100
    return lay_out(ids, positions, labels, 128 if shared else 0)


def plain(states, batch, back):
    """Attend with a mask over all tokens, one softmax each."""
    q, k, v = states
    count = len(q)
    seen = torch.zeros(count, count, dtype=torch.bool)
    offsets = batch.offsets.tolist()
    for number, (begin, end) in enumerate(pairwise(offsets)):
        first, last = batch.shared[:2, number].tolist() if batch.shares else (0, 0)
        tokens = [*range(first, last), *range(begin, end)]
        for place, token in enumerate(tokens[last - first :], last - first):
            seen[token, tokens[max(0, place - back) if back >= 0 else 0 : place + 1]] = True
    k, v = (part.repeat_interleave(HEADS // KEYS, 1) for part in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) * 0.3
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, v)


def states_of(batch):
    draw = torch.Generator().manual_seed(1)
    sizes = (HEADS, KEYS, KEYS)
    return tuple(torch.randn(len(batch.ids), heads, WIDTH, generator=draw).requires_grad_() for heads in sizes)


@pytest.mark.parametrize("back", [-1, 3])
@pytest.mark.parametrize(("lengths", "shared"), [((40, 3, 41, 90, 7), 0), ((40, 30, 41, 90, 25), 20), ((12,), 0)])
def test_results_and_gradients_are_those_of_one_mask(lengths, shared, back):
    batch = batch_of(lengths, shared)
    assert batch.shares == (shared > 0)
    states = states_of(batch)
    found = attend_by_length(states, batch, Window(0.3, None if back < 0 else back + 1), back)
    wanted = plain(states, batch, back)
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=2e-6)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), states),
        torch.autograd.grad((wanted * weight).sum(), states),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=5e-6, rtol=5e-6)


def test_short_and_long_samples_are_apart_and_every_token_is_in_one_group():
    batch = batch_of((40, 3, 41, 200, 7, 45))
    groups = grouped(batch)
    assert [[piece.length for piece in group] for group in groups] == [
        [2, 6],
        [39, 40, 44],
        [199],
    ]  # the last token of a sample predicts nothing
    tokens = [token for group in groups for piece in group for token in range(piece.begin, piece.end)]
    assert sorted(tokens) == list(range(len(batch.ids)))
