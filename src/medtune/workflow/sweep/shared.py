"""What all settings of a sweep must have in common: the commits of repositories, and the rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.hub.download import Listener
from medtune.data.hub.pins import pinned
from medtune.errors import SpecChangedError, StorageError, UnsafeArtifactError
from medtune.runs.folder import RunFolder
from medtune.workflow.sweep.record import SweepRecord
from medtune.workflow.sweep.settings import Setting

__all__ = ["pinned_settings", "require_same_rows"]


def pinned_settings(
    settings: Sequence[Setting], record: SweepRecord, tell: Callable[[str], None], *, has_rows: bool
) -> list[Setting]:
    """Return the settings with the commits that the sweep began with: a branch that moves meanwhile moves none of them.

    Raises:
        HubError: a branch has to be asked for and the hub cannot be, or refuses.
    """
    known: list[dict[str, Any]] = list(record.values.get("commits", []))
    found: list[Setting] = []
    for setting in settings:
        spec, pins = pinned(setting.spec, Listener(tell), known=known, has_rows=has_rows)
        known += [pin.to_json() for pin in pins if pin.to_json() not in known]
        found.append(replace(setting, spec=spec))
    record.write(commits=known)
    return found


def require_same_rows(run: Path) -> None:
    """Compare a run's training rows with those of the other settings that ask for the same.

    Raises:
        SpecChangedError: they are others, as where a file was changed since the sweep began.
    """
    record = RunFolder(run).read()
    for other in sorted(run.parent.iterdir()):
        if other == run or not RunFolder(other).exists:
            continue
        try:
            beside = RunFolder(other).read()
        except (StorageError, UnsafeArtifactError):  # which is that setting's own failure, told when it is its turn
            continue
        if (
            _asked_for(beside) == _asked_for(record)
            and beside["fingerprints"]["data"] != record["fingerprints"]["data"]
        ):
            raise SpecChangedError(
                str(run), [f"its rows are not those of '{other.name}', though both ask for the same"]
            )


def _asked_for(record: dict[str, Any]) -> list[Any]:
    spec, train = record["spec"], record["spec"]["train"]
    return [spec["data"], spec["model"], spec["seed"], spec["tasks"], train["max_length"], train["packing"]]
