"""What a process takes over from a checkpoint that another number of processes may have written."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelerate.utils import gather_object

from medtune.backends.exact_state import restore_random_states
from medtune.machine.hardware import seed_all

__all__ = ["Own", "mean_loss", "mean_of_processes", "own_part"]


@dataclass(frozen=True, slots=True)
class Own:
    """The part of one process.

    Attributes:
        running_loss: since the last record; its mean over the processes is what they had together.
        states: of the generators, None where there are none to go on from.
        seed: of the generators then; no two processes of a run have the same.
    """

    running_loss: float
    states: Mapping[str, Any] | None
    seed: int = 0

    def restore(self) -> None:
        """Set the generators of this process."""
        if self.states is None:
            seed_all(self.seed)
        else:
            restore_random_states(self.states)


def own_part(saved: Sequence[Mapping[str, Any]], process: int, processes: int) -> Own:
    """Return what ``process`` of ``processes`` goes on from, bit for bit where as many wrote the checkpoint."""
    if len(saved) == processes:
        return Own(saved[process]["running_loss"], saved[process])
    facts = json.dumps([saved[0]["torch"], process, processes]).encode()
    seed = int.from_bytes(hashlib.sha256(facts).digest()[:4], "big")
    return Own(mean_loss(saved), None, seed)


def mean_loss(saved: Sequence[Mapping[str, Any]]) -> float:
    """Return the running loss of all processes that wrote a checkpoint."""
    return float(sum(part["running_loss"] for part in saved) / len(saved))


def mean_of_processes(value: float, processes: int) -> float:
    """Return the mean of what all processes have, which all call it."""
    if processes == 1:
        return value
    values: list[float] = gather_object([value])
    return sum(values) / len(values)
