"""Packing loses nothing, repeats nothing, and keeps samples apart."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.pack import best_fit, to_batch
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import PackedRow
from medtune.testing.tiny import tiny_base

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=200)


@given(LENGTHS, st.integers(0, 5))
def test_every_sample_is_in_exactly_one_row_that_has_room(lengths, seed):
    rows = best_fit(lengths, 64, seed)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 64 for row in rows)


@given(LENGTHS)
def test_no_row_has_room_for_another_whole_row(lengths):
    used = sorted(sum(lengths[i] for i in row) for row in best_fit(lengths, 64, 0))
    assert len(used) < 2 or used[0] + used[1] > 64


@given(LENGTHS)
def test_the_order_follows_from_the_seed(lengths):
    assert best_fit(lengths, 64, 3) == best_fit(lengths, 64, 3)


def test_another_seed_gives_another_order():
    lengths = [10, 20, 30, 40, 50] * 20
    assert best_fit(lengths, 64, 0) != best_fit(lengths, 64, 1)


def test_rows_are_nearly_full_on_lengths_like_those_of_clinical_sentences():
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(4.8, 0.6, 20_000), 20, 512).astype(int).tolist()
    rows = best_fit(lengths, 512, 0)
    assert sum(lengths) / (512 * len(rows)) > 0.995


def test_positions_restart_and_padding_is_a_sample_of_its_own():
    row = PackedRow([5, 6, 7, 8, 9], [0, 1, 0, 1, 1], [2, 3], [0, 1])
    batch = to_batch([row], 7, 0)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, -100, 8, 9, -100, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 2, 0, 1]]


def test_compactly_stored_ids_do_not_wrap_the_ignored_label():
    row = PackedRow(np.array([5, 6], dtype=np.uint16), np.array([0, 1], dtype=np.uint8), [2], [0])
    assert to_batch([row], 3, 0)["labels"].tolist() == [[-100, 6, -100]]


def test_a_supervised_first_token_carries_no_loss_since_another_sample_would_predict_it():
    batch = to_batch([PackedRow([5, 6], [1, 1], [1, 1], [0, 1])], 3, 0)
    assert batch["labels"].tolist() == [[-100, -100, -100]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with quiet_libraries():
        return tiny_base(tmp_path_factory.mktemp("tiny")).model


def samples(seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(2, 90, n).tolist() for n in (9, 5, 12, 4)]


def packed(parts):
    supervised = [int(i >= len(p) // 2) for p in parts for i in range(len(p))]
    return PackedRow(sum(parts, []), supervised, [len(p) for p in parts], list(range(len(parts))))


def logits(model, rows, width):
    batch = {k: torch.from_numpy(v) for k, v in to_batch(rows, width, 0).items() if k != "labels"}
    with torch.no_grad():
        return model(**batch, use_cache=False).logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_changing_one_sample_changes_no_other_sample_s_logits(tiny, attention):
    tiny.set_attn_implementation(attention)
    parts = samples()
    changed = [parts[0], [i + 1 for i in parts[1]], *parts[2:]]
    rows = ([packed(p), packed(parts)] for p in (parts, changed))
    before, after = (logits(tiny, r, 34) for r in rows)
    start, stop = len(parts[0]), len(parts[0]) + len(parts[1])
    assert torch.equal(before[:, :start], after[:, :start])
    assert torch.equal(before[:, stop:], after[:, stop:])
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0, start:stop], after[0, start:stop])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_packed_sample_has_the_logits_it_has_alone(tiny, attention):
    tiny.set_attn_implementation(attention)
    parts = samples()
    together = logits(tiny, [packed(parts)], 34)[0]
    start = 0
    for part in parts:
        alone = logits(tiny, [packed([part])], len(part))[0]
        torch.testing.assert_close(together[start : start + len(part)], alone, atol=1e-5, rtol=1e-5)
        start += len(part)
