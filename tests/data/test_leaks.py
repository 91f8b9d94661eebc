"""The leak test is silent where samples are isolated, and finds each way in which they may not be."""

import numpy as np
import pytest
import torch

from medtune.data.leaks import logits_of, measure_leaks, pair_row, shared_rows
from medtune.data.pack import to_batch
from medtune.errors import DataError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import PackedRow
from medtune.testing.tiny import RandomRows, tiny_base

VOCABULARY = 258


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with quiet_libraries():
        return tiny_base(tmp_path_factory.mktemp("tiny")).model


@pytest.fixture
def rows():
    return shared_rows(RandomRows(count=4))


def running_on(packed, width, pad_id):
    """A layout without isolation: positions run on through the row."""
    batch = to_batch(packed, width, pad_id)
    return {**batch, "position_ids": np.tile(np.arange(width), (len(packed), 1))}


def joined_at_the_second(packed, width, pad_id):
    """A layout that forgets one border of the second row."""
    batch = to_batch(packed, width, pad_id)
    first, second = packed[1].lengths[:2]
    batch["position_ids"][1, : first + second] = np.arange(first + second)
    return batch


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_leak_is_measured_where_positions_restart(tiny, rows, attention):
    tiny.set_attn_implementation(attention)
    figures = measure_leaks(logits_of(tiny), rows, VOCABULARY, 0)
    assert figures.isolated
    assert (figures.samples, figures.largest_change) == (6, 0.0)
    assert figures.control > 0.01


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layout", [running_on, joined_at_the_second])
def test_a_layout_that_joins_samples_is_found_to_leak(tiny, rows, attention, layout):
    tiny.set_attn_implementation(attention)
    assert not measure_leaks(logits_of(tiny), rows, VOCABULARY, 0, layout=layout).isolated


class Watching(torch.nn.Module):
    """A model whose logits depend on what a function of the ids says."""

    device = "cpu"

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, input_ids, position_ids, use_cache):
        logits = self.seen(input_ids, position_ids).unsqueeze(-1).expand(*input_ids.shape, 4)
        return type("Output", (), {"logits": logits})


def test_a_model_that_looks_at_the_row_beside_is_found_to_leak(rows):
    model = Watching(lambda ids, _positions: ids.float().cumsum(1) + ids.float().sum())
    assert not measure_leaks(logits_of(model), rows, VOCABULARY, 0).isolated


def test_a_model_that_looks_ahead_is_found_to_leak(rows):
    model = Watching(lambda ids, _positions: ids.float().flip(1).cumsum(1).flip(1))
    assert not measure_leaks(logits_of(model), rows, VOCABULARY, 0).isolated


@pytest.mark.parametrize("seen", [lambda ids, _: ids.float(), lambda ids, _: ids.float() * float("nan")])
def test_a_model_whose_logits_show_nothing_is_no_proof(rows, seen):
    with pytest.raises(DataError, match="cannot tell"):
        measure_leaks(logits_of(Watching(seen)), rows, VOCABULARY, 0)


def test_rows_of_one_sample_share_nothing():
    assert shared_rows(RandomRows(packed=False)) == []


def test_very_long_rows_are_cut_within_each_sample():
    (row, *_others) = shared_rows(RandomRows(count=1, max_length=9000))
    assert len(row.lengths) == 3
    assert len(row.input_ids) == len(row.supervised) == sum(row.lengths) <= 1024
    whole = RandomRows(count=1, max_length=9000)[0]
    second = whole.lengths[0]
    assert row.input_ids[row.lengths[0]] == whole.input_ids[second]


def rows_of(*rows):
    """Packed rows of samples, each given as prompt and answer."""
    packed = []
    for row in rows:
        lengths = [len(prompt) + len(answer) for prompt, answer in row]
        marks = [mark for prompt, answer in row for mark in [0] * len(prompt) + [1] * len(answer)]
        packed.append(PackedRow([i for both in row for part in both for i in part], marks, lengths, range(len(row))))
    return packed


def test_two_samples_with_a_common_prefix_are_found_in_any_rows():
    text, other = list(range(20, 40)), list(range(60, 80))
    plain = [([9, n], [1, 2]) for n in range(4)]
    first, second = ([*text, 3, 6], [4, 5]), ([*text, 3, 7], [8])
    for rows in (
        rows_of([plain[0]], [*plain, first, second]),
        rows_of([first, (other, [1])], plain, [plain[1], second]),
    ):
        pair = pair_row(rows)
        row = pair.row
        assert (row.lengths, pair.common) == ([24, 23], 21)
        assert row.input_ids == [*text, 3, 6, 4, 5, *text, 3, 7, 8]
        assert row.supervised == [0] * 22 + [1, 1] + [0] * 22 + [1]
    assert pair_row(rows_of([first, (other, [1])], plain)) is None


def test_a_kept_prefix_is_not_changed(tiny):
    rows = rows_of([([20, 21, 22], [4, 5]), ([20, 21, 23], [8, 9])])
    seen = []

    def answers(arrays):
        seen.append(arrays["input_ids"][0, :10].tolist())
        return logits_of(tiny)(arrays)

    assert measure_leaks(answers, rows, VOCABULARY, 0, kept=2).samples == 2
    assert seen[:3] == [
        [20, 21, 22, 4, 5, 20, 21, 23, 8, 9],
        [20, 21, 23, 5, 6, 20, 21, 23, 8, 9],
        [20, 21, 22, 4, 5, 20, 21, 24, 9, 10],
    ]
