"""What an exporter may not do: write beside its target or into the run, leave links, or say what is no JSON value."""

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.plugins.contracts import Exported, ExportSource
from medtune.plugins.guards.boundary import Call
from medtune.plugins.guards.values import is_json

__all__ = ["checked_export", "checked_publish"]

_INSIDE = "an exporter writes files into its target folder alone, and no links"
_TOLD = "an Exported says where, for which reader and with which precision, in texts and JSON values"
_EXPORT_FILE = "export.json"
_Listing = dict[str, tuple[int, int]]


def checked_export(call: Call) -> Callable[[ExportSource, Path, Mapping[str, Any]], Exported]:
    """Return an exporter's ``export``, which writes into its target folder and nowhere else."""

    def export(source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        # a path of the run may be relative, or lead over a link, where that of the target does not
        run, place = source.run_dir.resolve(), target.resolve()
        before, beside = _files(run, place), _names(target.parent)
        given = replace(source, record=copy.deepcopy(dict(source.record)))
        found: Any = call.function(given, target, dict(options))
        call.require(isinstance(found, Exported), f"returned an {type(found).__name__}", "it returns an Exported")
        _require_facts(call, found, target)
        _require_inside(call, target)
        after = _files(run, place)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        call.require(not changed, f"changed '{next(iter(changed), '')}' of the run", _INSIDE)
        new = sorted(_names(target.parent) - beside)
        call.require(not new, f"wrote '{next(iter(new), '')}' beside its target", _INSIDE)
        return found  # type: ignore[no-any-return]

    return export


def checked_publish(call: Call) -> Callable[..., Mapping[str, Any]]:
    """Return an exporter's ``publish``, which answers with JSON values."""

    def publish(*args: Any, **kwargs: Any) -> Mapping[str, Any]:
        found = call.function(*args, **kwargs)
        call.require(isinstance(found, Mapping) and is_json(dict(found)), "returned no JSON values", _TOLD)
        return found  # type: ignore[no-any-return]

    return publish


def _require_facts(call: Call, found: Exported, target: Path) -> None:
    path: Any = found.path
    is_target = isinstance(path, str | Path) and Path(path).absolute() == target.absolute()
    call.require(is_target, "returned another path than its target", "Exported.path is the folder it was given")
    texts: tuple[Any, ...] = (found.reader, found.precision, found.state, *found.usage)
    call.require(all(isinstance(text, str) for text in texts), "returned what is no text", _TOLD)
    call.require(found.state == "written", f"called its artifact {found.state}", "the state is medtune's to say")
    call.require(is_json(dict(found.facts)) and is_json(dict(found.load)), "returned no JSON values", _TOLD)
    for name in found.load.get("only_for_proof", ()):
        is_own = isinstance(name, str) and (target / name).resolve().is_relative_to(target.resolve())
        call.require(is_own, "named a file outside of its target as only_for_proof", _INSIDE)


def _require_inside(call: Call, target: Path) -> None:
    call.require(target.is_dir() and not target.is_symlink(), "left no folder where its target was", _INSIDE)
    for folder, folders, files in os.walk(target):
        for name in (*folders, *files):
            call.require(not (Path(folder) / name).is_symlink(), f"left a link, '{name}'", _INSIDE)


def _files(run: Path, target: Path) -> _Listing:
    """Return size and time of the files of a run but for its exports, of which several may be written at a time."""
    found: _Listing = {}
    for folder, folders, files in os.walk(run):
        place = Path(folder)
        folders[:] = [name for name in folders if place / name not in (target, target.parent)]
        if place == target.parent:
            continue
        for name in files:
            stat = (place / name).lstat()
            found[str((place / name).relative_to(run))] = (stat.st_size, stat.st_mtime_ns)
    return found


def _names(folder: Path) -> set[str]:
    """Return what lies in a folder, but for other exports that are being written there; nothing of a shared folder."""
    if not folder.is_dir() or folder.stat().st_mode & 0o002:
        return set()  # anyone may write there meanwhile
    return {
        entry.name
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and not (entry / _EXPORT_FILE).is_file()
    }
