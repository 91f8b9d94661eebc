"""Recorded passes share memory, which is taken for the largest of them before any is recorded."""

import pytest
import torch

from medtune.accel.train import cuda_graphs
from medtune.accel.train.cuda_graphs import Replays
from medtune.accel.train.layout import PackedBatch

TOKENS, CHOSEN = 320, 512


def batch_of(tokens, chosen=100):
    """Return a batch of one sample that is padded to a multiple of 64 and 256."""
    numbers = torch.arange(tokens)
    return PackedBatch(
        ids=numbers,
        positions=numbers,
        offsets=torch.tensor([0, tokens], dtype=torch.int32),
        longest=tokens,
        chosen=numbers[:chosen],
        targets=numbers[:chosen],
        shared=torch.zeros(3, 0, dtype=torch.int32),
    )


class Graph:
    def replay(self):
        pass


class AdaptersWithout:
    parameters = ()

    def memory(self):
        return torch.zeros(1)


@pytest.fixture
def recorder(monkeypatch):
    """Return a function that makes replays, and the tokens and chosen tokens of what they record; no GPU is needed."""
    recorded = []

    def make(most_tokens=0, largest=10_000):
        def record(self, batch, seed):
            recorded.append((batch.size[0], batch.size[2]))
            if batch.size[0] > largest:
                raise torch.OutOfMemoryError("in a test")
            return cuda_graphs._Recording(Graph(), batch, seed, torch.zeros(batch.size[2]))

        monkeypatch.setattr(Replays, "_record", record)

        def run(batch, _seed, _gradient):
            return torch.zeros(batch.size[2])

        replays = Replays(run, lambda _batch: None, AdaptersWithout(), most_tokens)
        return lambda *sizes: [replays(batch_of(*size), None, torch.device("cpu")) for size in sizes]

    return make, recorded


def test_the_first_recording_is_of_the_largest_batch_to_come(recorder):
    make, recorded = recorder
    run = make(most_tokens=300)
    run((200,), (200,), (100,), (200,))
    assert recorded == [(320, 512), (256, 256), (128, 256)]  # the first pass warms up; more may be chosen
    run = make(most_tokens=1000)
    recorded.clear()
    run((500,), (500,), (960, 400))
    assert recorded == [(1024, 768), (512, 256), (1024, 512)]  # half of them, an eighth more, padded


def test_a_larger_batch_than_any_before_begins_anew(recorder):
    make, recorded = recorder
    run = make()
    run((100,), (100,))
    assert recorded == [(128, 256), (128, 256)]
    recorded.clear()
    run((500, 300), (100,), (500, 300), (100, 300))
    assert recorded == [(512, 512), (512, 512), (128, 256)]
    recorded.clear()
    run((900, 520), (100,))
    assert recorded == [(960, 1024), (960, 768), (128, 256)]


def test_a_largest_batch_that_does_not_fit_costs_no_run_that_does(recorder):
    make, recorded = recorder
    run = make(most_tokens=300, largest=256)
    run((200,), (200,), (100,))
    assert recorded == [(320, 512), (256, 256), (128, 256)]
    with pytest.raises(torch.OutOfMemoryError):
        run((300,))


def test_a_blank_batch_has_the_asked_size_and_twice_the_pieces():
    batch = batch_of(200).padded()
    blank = batch.blank(TOKENS, CHOSEN)
    assert blank.size == (TOKENS, 2 * batch.size[1], CHOSEN, batch.longest, False)
    assert not blank.chosen.any()
    assert [getattr(blank, n).dtype for n in ("ids", "offsets")] == [torch.int64, torch.int32]
