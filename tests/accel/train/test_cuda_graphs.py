"""Captured passes share memory, which is taken for the largest of them before any is captured."""

import pytest
import torch

from medtune.accel.train import cuda_graphs
from medtune.accel.train.cuda_graphs import CudaGraphs
from medtune.accel.train.layout import PackedBatch
from medtune.accel.train.padding import grain_of

TOKENS, SUPERVISED = 320, 512


def batch_of(tokens, supervised=100):
    """Return a batch of one sample that is padded to a multiple of 64 and 256."""
    numbers = torch.arange(tokens)
    return PackedBatch(
        ids=numbers,
        positions=numbers,
        offsets=torch.tensor([0, tokens], dtype=torch.int32),
        longest=tokens,
        supervised=numbers[:supervised],
        targets=numbers[:supervised],
        shared=torch.zeros(3, 0, dtype=torch.int32),
        keys=torch.zeros(tokens, dtype=torch.int32),
    )


class Graph:
    def replay(self):
        pass


class AdaptersWithout:
    parameters = ()

    def memory(self):
        return torch.zeros(1)


@pytest.fixture
def capturer(monkeypatch):
    """Return a function that makes CUDA graphs, and the tokens and supervised tokens of what they capture; no GPU is needed."""
    captured = []

    def make(most_tokens=0, largest=10_000):
        def capture(self, batch, seed):
            captured.append((batch.size[0], batch.size[2]))
            if batch.size[0] > largest:
                raise torch.OutOfMemoryError("in a test")
            return cuda_graphs._CapturedPass(Graph(), batch, seed, torch.zeros(batch.size[2]))

        monkeypatch.setattr(CudaGraphs, "_capture", capture)

        def run(batch, _seed, _gradient):
            return torch.zeros(batch.size[2])

        graphs = CudaGraphs(run, lambda _batch: None, AdaptersWithout(), grain_of(4096), most_tokens)
        return lambda *sizes: [graphs(batch_of(*size), None, torch.device("cpu")) for size in sizes]

    return make, captured


def test_the_first_graph_is_of_the_largest_batch_to_come(capturer):
    make, captured = capturer
    run = make(most_tokens=300)
    run((200,), (200,), (100,), (200,))
    assert captured == [(320, 512), (256, 256), (128, 256)]  # the first pass warms up; more tokens may be supervised
    run = make(most_tokens=1000)
    captured.clear()
    run((500,), (500,), (960, 400))
    assert captured == [(1024, 768), (512, 256), (1024, 512)]  # half of them, an eighth more, padded


def test_a_larger_batch_than_any_before_begins_anew(capturer):
    make, captured = capturer
    run = make()
    run((100,), (100,))
    assert captured == [(128, 256), (128, 256)]
    captured.clear()
    run((500, 300), (100,), (500, 300), (100, 300))
    assert captured == [(512, 512), (512, 512), (128, 256)]
    captured.clear()
    run((900, 520), (100,))
    assert captured == [(960, 1024), (960, 768), (128, 256)]


def test_a_largest_batch_that_does_not_fit_costs_no_run_that_does(capturer):
    make, captured = capturer
    run = make(most_tokens=300, largest=256)
    run((200,), (200,), (100,))
    assert captured == [(320, 512), (256, 256), (128, 256)]
    with pytest.raises(torch.OutOfMemoryError):
        run((300,))


def test_a_blank_batch_has_the_asked_size_and_twice_the_pieces():
    batch = batch_of(200).padded(grain_of(4096))
    blank = batch.blank(TOKENS, SUPERVISED)
    assert blank.size == (TOKENS, 2 * batch.size[1], SUPERVISED, batch.longest, False)
    assert not blank.supervised.any()
    assert [getattr(blank, n).dtype for n in ("ids", "offsets")] == [torch.int64, torch.int32]
