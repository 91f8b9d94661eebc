"""The leak test is silent where samples are isolated, and finds each way in which they may not be."""

import numpy as np
import pytest
import torch

from medtune.data.leaks import measure_leaks, shared_rows
from medtune.data.pack import to_batch
from medtune.errors import DataError
from medtune.libraries import quiet_libraries
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
    figures = measure_leaks(tiny, rows, VOCABULARY, 0)
    assert figures.isolated
    assert (figures.samples, figures.largest_change) == (6, 0.0)
    assert figures.control > 0.01


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layout", [running_on, joined_at_the_second])
def test_a_layout_that_joins_samples_is_found_to_leak(tiny, rows, attention, layout):
    tiny.set_attn_implementation(attention)
    assert not measure_leaks(tiny, rows, VOCABULARY, 0, layout).isolated


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
    assert not measure_leaks(model, rows, VOCABULARY, 0).isolated


def test_a_model_that_looks_ahead_is_found_to_leak(rows):
    model = Watching(lambda ids, _positions: ids.float().flip(1).cumsum(1).flip(1))
    assert not measure_leaks(model, rows, VOCABULARY, 0).isolated


@pytest.mark.parametrize("seen", [lambda ids, _: ids.float(), lambda ids, _: ids.float() * float("nan")])
def test_a_model_whose_logits_show_nothing_is_no_proof(rows, seen):
    with pytest.raises(DataError, match="cannot tell"):
        measure_leaks(Watching(seen), rows, VOCABULARY, 0)


def test_rows_of_one_sample_share_nothing():
    assert shared_rows(RandomRows(packed=False)) == []


def test_very_long_rows_are_cut_within_each_sample():
    (row, *_others) = shared_rows(RandomRows(count=1, max_length=9000))
    assert len(row.lengths) == 3
    assert len(row.input_ids) == len(row.supervised) == sum(row.lengths) <= 1024
    whole = RandomRows(count=1, max_length=9000)[0]
    second = whole.lengths[0]
    assert row.input_ids[row.lengths[0]] == whole.input_ids[second]
