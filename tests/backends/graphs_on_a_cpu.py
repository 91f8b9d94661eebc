"""Stands in for CUDA graphs, so that what is said of captured passes can be tried on a CPU."""

from dataclasses import fields, replace

from torch import Tensor

from medtune.accel import train as kernels
from medtune.accel.train.cuda_graphs import CudaGraphs, _CapturedPass
from medtune.backends import losses


class _Graph:
    """Runs the captured pass again, on the same memory."""

    def __init__(self, run):
        self.replay = run


class _InPlace(CudaGraphs):
    """Captures as a GPU would: input and losses keep their place, and whatever is launched again overwrites them."""

    def __init__(self, *given, events):
        super().__init__(*given)
        self._events = events

    def drop(self):
        self._events.append("dropped")
        super().drop()

    def _capture(self, batch, seed):
        self._events.append("captured")
        if self._gradient is None:
            self._gradient = self._adapters.memory()
        own = {f.name: getattr(batch, f.name) for f in fields(batch)}
        batch = replace(batch, **{name: part.clone() for name, part in own.items() if isinstance(part, Tensor)})
        seed = None if seed is None else seed.clone()
        memory, kept = self._gradient, self._run(batch, seed, self._gradient)

        def replay():
            self._events.append("launched")
            kept.copy_(self._run(batch, seed, memory))

        return _CapturedPass(_Graph(replay), batch, seed, kept)


def graphs_on_a_cpu(monkeypatch):
    """Let the fast path capture its passes on a CPU; returns a list that fills with what happens to the graphs."""
    events = []

    def enable(model, **options):
        path = kernels.enable(model, **options)
        stack = path._stack
        path._graphs = _InPlace(
            stack.loss_and_gradient, stack.prepare, stack.network.adapters, path.grain, events=events
        )
        return path

    monkeypatch.setattr(losses, "enable", enable)
    return events
