"""What a batch holds of its rows: prefixes that samples share once, and nothing that the loss does not depend on."""

from itertools import pairwise

import pytest
import torch

from medtune.accel import train as kernels
from medtune.accel.train.padding import grain_of
from medtune.data import prefixes

PREFIX = list(range(10, 30))


def rows_of(*samples):
    """Return a row for each sample, whose last two tokens carry loss unless a third value says from where on."""
    length = max(len(sample[0]) for sample in samples)
    ids, positions = torch.zeros(2, len(samples), length, dtype=torch.int64)
    labels = torch.full_like(ids, -100)
    for row, (tokens, *begin) in enumerate(samples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        positions[row] = torch.arange(length)
        first = begin[0] if begin else len(tokens) - 2
        labels[row, first : len(tokens)] = ids[row, first : len(tokens)]
    return ids, positions, labels


def pieces(batch):
    """Return the ids of each piece, those before it in its sample, and how many tokens from its begin on see it."""
    ids, begins = batch.ids.tolist(), batch.offsets.tolist()
    own = [ids[a:b] for a, b in pairwise(begins)]
    return [
        (tokens, ids[a:b], until - begin)
        for tokens, begin, (a, b, until) in zip(own, begins, batch.shared.t().tolist(), strict=False)
    ]


def test_a_prefix_comes_before_the_rests_of_its_samples_and_supervised_tokens_keep_the_order_of_the_rows():
    rows = rows_of(([*PREFIX, 1, 2, 3],), ([5, 6, 7],), ([*PREFIX, 4, 8, 9],))
    batch = kernels.lay_out(*rows, longest_shared=100)
    # the last token of a sample predicts nothing, so it is left out
    assert pieces(batch) == [(PREFIX, [], 24), ([1, 2], PREFIX, 2), ([4, 8], PREFIX, 2), ([5, 6], [], 2)]
    assert batch.ids[batch.supervised].tolist() == [1, 2, 5, 6, 4, 8]
    assert batch.targets.tolist() == [2, 3, 6, 7, 8, 9]
    assert batch.positions.tolist() == [*range(20), 20, 21, 20, 21, 0, 1]
    assert batch.longest == 22


def test_tokens_that_predict_are_not_shared():
    text = [*PREFIX, 1, 2, 3, 4]
    batch = kernels.lay_out(*rows_of((text, 18), (text, 20), ([*text, 5],)), longest_shared=100)
    assert pieces(batch)[0][0] == text[:17]  # the token at 17 predicts that at 18
    assert len(batch.supervised) == len(batch.targets) == 6 + 4 + 2


def test_short_prefixes_and_samples_that_do_not_count_from_zero_stay_whole():
    rows = rows_of(([*PREFIX[:15], 1, 2, 3],), ([*PREFIX[:15], 4, 8, 9],))
    assert all(not before for _own, before, _seen in pieces(kernels.lay_out(*rows, longest_shared=100)))
    rows = rows_of(([*PREFIX, 1, 2, 3],), ([*PREFIX, 4, 8, 9],))
    rows[1][0] += 7
    assert all(not before for _own, before, _seen in pieces(kernels.lay_out(*rows, longest_shared=100)))


def test_a_prefix_has_a_bounded_number_of_samples():
    count = 2 * prefixes._MOST_FOLLOWERS + 1
    rows = rows_of(*(([*PREFIX, n, n, n],) for n in range(100, 100 + count)))
    batch = kernels.lay_out(*rows, longest_shared=100)
    sizes = [(seen - 20) // 2 for own, _before, seen in pieces(batch) if own == PREFIX]
    assert sorted(sizes) == [5, 6, 6]
    assert sum(before == PREFIX for _own, before, _seen in pieces(batch)) == count


def test_a_sample_that_is_too_long_keeps_all_whole():
    rows = rows_of(([*PREFIX, 1, 2, 3],), ([*PREFIX, 4, 8, 9],))
    assert kernels.lay_out(*rows, longest_shared=22).shares
    assert not kernels.lay_out(*rows, longest_shared=21).shares


@pytest.mark.parametrize(("width", "most"), [(576, 4), (4096, 11)])
def test_few_sizes_come_up_the_fewer_the_narrower_a_model_is(width, most):
    grain = grain_of(width)
    sizes = {(grain.tokens(n), grain.supervised(n // 2), grain.pieces(n // 200)) for n in range(5600, 6600)}
    assert len(sizes) <= most
    assert all(size[0] > 5600 for size in sizes)
    for count in (1, 63, 64, 4095, 4096, 5633):  # a token of padding at least, and little of it
        assert count < grain.tokens(count) <= count + grain.large
        assert count <= grain.supervised(count) < count + grain.supervision
        assert count < grain.pieces(count) <= count + grain.piece


def test_padding_and_blank_batches_say_that_their_pieces_share_nothing():
    batch = kernels.lay_out(*rows_of(([*PREFIX, 1, 2, 3],), ([*PREFIX, 4, 8, 9],)), longest_shared=100)
    padded = batch.padded(grain_of(4096))
    assert padded.shared.shape[1] == len(padded.offsets) - 1 == 32
    assert pieces(padded)[:3] == pieces(batch)
    assert all(not before for _own, before, _seen in pieces(padded)[3:])
    assert padded.size[-1]
    blank = batch.blank(128, 256)
    assert [len(own) for own, _before, _seen in pieces(blank)] == [seen for _own, _before, seen in pieces(blank)]
    assert all(not before for _own, before, _seen in pieces(blank))
