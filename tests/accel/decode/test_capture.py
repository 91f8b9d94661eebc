"""A captured step runs as often as it is asked for, whether as written or as a graph."""

import contextlib
import logging

import pytest
import torch

from medtune.accel.decode.capture import CapturedSteps


class Device:
    """Stands in for CUDA: a capture notes the step without running it, a launch of the graph runs it."""

    def __init__(self, monkeypatch, error=None):
        self.ran, self.captured, self.capturing, self.error = [], None, False, error
        device = self

        class Graph:
            def replay(self):
                device.ran.append(("launched", self.rows))

            def pool(self):
                return (0, 1)

        @contextlib.contextmanager
        def capture(graph, pool=None):
            device.capturing = True
            try:
                yield
                graph.rows = device.captured
            finally:
                device.capturing = False

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", capture)

    def step(self, rows):
        if not self.capturing:
            self.ran.append(("written", rows))
        elif self.error:
            raise self.error
        else:
            self.captured = rows


def test_the_first_step_runs_as_written_and_later_ones_as_a_graph_of_their_size(monkeypatch):
    device = Device(monkeypatch)
    steps = CapturedSteps(device.step)
    for rows in (8, 8, 8, 4, 4, 8):
        steps(rows)
    kinds = ["written", "launched", "launched", "written", "launched", "launched"]
    assert device.ran == list(zip(kinds, (8, 8, 8, 4, 4, 8), strict=True))


def test_a_step_that_cannot_be_captured_runs_as_written_and_says_so_once(monkeypatch, caplog):
    device = Device(monkeypatch, RuntimeError("not permitted\nwhen capturing"))
    steps = CapturedSteps(device.step)
    with caplog.at_level(logging.WARNING):
        for rows in (8, 8, 4, 4):
            steps(rows)
    assert device.ran == [("written", rows) for rows in (8, 8, 4, 4)]
    assert caplog.messages == ["decoding without a CUDA graph: not permitted"]


def test_too_little_memory_for_a_graph_is_left_to_the_caller(monkeypatch):
    device = Device(monkeypatch, torch.OutOfMemoryError("full"))
    steps = CapturedSteps(device.step)
    steps(8)
    with pytest.raises(torch.OutOfMemoryError):
        steps(8)
