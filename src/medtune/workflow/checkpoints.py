"""The checkpoints that a trainer saves without knowing how a run keeps them."""

from collections.abc import Callable
from pathlib import Path

from medtune.machine.disk_room import expected_bytes
from medtune.machine.hardware import is_first_rank
from medtune.runs.store import CheckpointStore
from medtune.workflow.state import RunState

__all__ = ["RunCheckpoints"]


class RunCheckpoints:
    """The checkpoints of a run, as ``Job.checkpoints``."""

    def __init__(self, state: RunState) -> None:
        spec, trainable = state.asked.spec, state.plan.trainable_parameters
        size = 0 if trainable is None else expected_bytes(trainable)
        self._store = CheckpointStore(state.asked.folder.checkpoints_dir, spec.train.save_total_limit, size)

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Make the checkpoint of ``step`` durable, on the first process."""
        return self._store.save(step, write) if is_first_rank() else self._store.path_of(step)

    def settle(self) -> None:
        """Wait until the last one was verified and older ones are gone."""
        self._store.settle()
