"""``sweep.json``: what a sweep was asked for, how far each setting is, and what was chosen."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from medtune.errors import DamagedArtifactError, SpecError, StorageError
from medtune.errors.masking import masked_values
from medtune.runs.durable import replace_file
from medtune.specs.bounded import BoundsError, json_file
from medtune.version import __version__

__all__ = ["FILE", "SweepRecord"]

FILE = "sweep.json"
_FORMAT = 1
_KINDS: Mapping[str, type] = {"state": str, "asked": dict, "settings": list, "loads": int}
_STATES = ("waiting", "paused", "stopped", "finished", "failed")
"""Of a setting: not begun, at the end of a part, given up for better ones, at its end, or ended by an error."""


class SweepRecord:
    """The record of the sweep in a folder, written by the holder of the folder's lock.

    Args:
        folder: of the sweep.
        asked: what it is asked for, as JSON values: the settings in order, and how they are compared.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        self.path = folder / FILE
        asked = json.loads(json.dumps(masked_values(asked)))
        self.values: dict[str, Any] = {
            "format": _FORMAT,
            "medtune": __version__,
            "state": "running",
            "asked": asked,
            "loads": 0,
            "settings": [{**one, "state": "waiting", "parts": [], "seconds": 0.0} for one in asked["settings"]],
        }
        if not self.path.exists():
            if (folder / "runs").exists():
                raise StorageError(f"'{folder}' holds runs and no {FILE}; choose another --out")
            return
        found = read_record(folder)
        if found["asked"] != asked:
            raise SpecError(
                f"'{folder}' holds another sweep ({_difference(found['asked'], asked)}); choose another --out"
            )
        self.values = found

    @property
    def settings(self) -> list[dict[str, Any]]:
        """What is known of each setting."""
        found: list[dict[str, Any]] = self.values["settings"]
        return found

    def setting(self, name: str) -> dict[str, Any]:
        """What is known of one setting, to be changed in place."""
        return next(one for one in self.settings if one["name"] == name)

    def write(self, **facts: Any) -> None:
        """Change facts, and write all of them."""
        self.values |= facts
        content = json.dumps(masked_values(self.values), indent=1, allow_nan=False) + "\n"
        replace_file(self.path, content.encode(), "the record of the sweep")


def read_record(folder: Path) -> dict[str, Any]:
    """Return what ``sweep.json`` holds.

    Raises:
        StorageError: there is none.
        DamagedArtifactError: it is not one that medtune wrote.
    """
    try:
        found = json_file(folder / FILE)
    except OSError as error:
        raise StorageError(f"'{folder}' holds no sweep: {error.strerror}") from error
    except BoundsError as error:
        raise DamagedArtifactError(str(folder), FILE, str(error)) from None
    except ValueError:
        raise DamagedArtifactError(str(folder), FILE, "is not JSON") from None
    if not isinstance(found, dict) or not _is_whole(cast("dict[str, Any]", found)):
        raise DamagedArtifactError(str(folder), FILE, "is not one that this medtune wrote")
    return cast("dict[str, Any]", found)


def _is_whole(found: Mapping[str, Any]) -> bool:
    if found.get("format") != _FORMAT or any(not isinstance(found.get(name), kind) for name, kind in _KINDS.items()):
        return False
    try:
        names = [one["name"] for one in found["asked"]["settings"]]
        parts = [part for one in found["settings"] for part in one["parts"]]
        are_known = all(one["state"] in _STATES and one["seconds"] >= 0 for one in found["settings"])
        are_parts = all({"share", "update", "figure"} <= part.keys() for part in parts)
    except (KeyError, TypeError, AttributeError):
        return False
    return are_known and are_parts and [one["name"] for one in found["settings"]] == names


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    names = [name for name in (*old, *(key for key in new if key not in old)) if old.get(name) != new.get(name)]
    return f"it differs in {', '.join(names)}"
