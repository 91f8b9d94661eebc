"""What a process takes over from a checkpoint that another number of processes may have written."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerState

from medtune.backends.exact_state import restore_random_states
from medtune.errors import DamagedArtifactError, SpecError
from medtune.machine.hardware import seed_all

__all__ = ["Own", "mean_loss", "mean_of_processes", "own_part", "require_same_updates", "trainer_state"]


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


def require_same_updates(saved: Mapping[str, Any], rows: int, run: Any) -> None:
    """Refuse a checkpoint of several processes whose updates had more rows: each took as many as the spec says for all.

    Args:
        saved: the state in a checkpoint; releases before the rows of an update were counted once say nothing of them.
        rows: of an update now, over all processes.
        run: the run folder.

    Raises:
        SpecError: it is such a checkpoint.
    """
    before = saved["progress"].get("update_rows", rows * len(saved["random"]))
    if before != rows:
        raise SpecError(
            f"run '{run}' was trained with {before} rows an update, by {len(saved['random'])} processes of an earlier medtune, and this "
            f"one would go on with {rows}; end it with that version, or begin anew with train.gradient_accumulation_steps "
            f"multiplied by {before // rows}"
        )


def mean_loss(saved: Sequence[Mapping[str, Any]]) -> float:
    """Return the running loss of all processes that wrote a checkpoint."""
    return float(sum(part["running_loss"] for part in saved) / len(saved))


def mean_of_processes(value: float, processes: int) -> float:
    """Return the mean of what all processes have, which all call it."""
    if processes == 1:
        return value
    values: list[float] = gather_object([value])
    return sum(values) / len(values)


def trainer_state(checkpoint: Path, name: str) -> TrainerState:
    """Return the state that transformers keeps beside medtune's own, by its file name; sealed files may still be of another shape."""
    try:
        found = TrainerState.load_from_json(str(checkpoint / name))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        found = None
    if found is None or type(found.global_step) is not int or type(found.log_history) is not list:
        raise DamagedArtifactError(str(checkpoint), name, "holds no state of a trainer")
    return found
