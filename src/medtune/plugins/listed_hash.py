"""The hash by which a list of plugins pins the files of one, computed before anything of it is imported."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

__all__ = ["file_hash", "files_hash", "modules_of"]

_CACHE = "__pycache__"
_EDITABLE = "__editable__"
"""Begins the files by which an editable installation says where the code lies; they name folders of this machine."""


def file_hash(file: Path) -> str:
    """Return the SHA-256 of a plugin that is one file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def files_hash(points: Iterable[EntryPoint]) -> str:
    """Return a SHA-256 of a distribution: of its files but its metadata, of the packages its plugins lie in, of their names.

    What Python caches as compiled from them is left out, and not imported either (``from_source``); a compiled module
    that stands for itself counts.

    Args:
        points: all entry points of the distribution.
    """
    points = sorted(points, key=lambda point: point.name)
    files = {name: file_hash(file) for point in points for name, file in (*_recorded(point), *_package(point))}
    plugins = [(point.name, point.value) for point in points]
    return hashlib.sha256(json.dumps([plugins, sorted(files.items())]).encode()).hexdigest()


def modules_of(points: Iterable[EntryPoint]) -> set[str]:
    """Return the outermost packages and modules of a distribution's plugins, and of whatever else it has installed."""
    points = list(points)
    installed = {name.partition("/")[0] for point in points for name, _file in _recorded(point)}
    return {name.partition(".")[0] for name in installed} | {_outermost(point) for point in points}


def _outermost(point: EntryPoint) -> str:
    return point.value.partition(":")[0].partition(".")[0].strip()


def _counts(file: Path) -> bool:
    is_cached = file.parent.name == _CACHE and ".pyc" in file.name
    return not (is_cached or file.name.endswith(".pth"))


def _recorded(point: EntryPoint) -> Iterator[tuple[str, Path]]:
    """Yield name and place of what the distribution says that it has installed, but metadata and scripts."""
    for listed in (point.dist.files if point.dist else None) or ():
        file = Path(str(listed.locate()))
        is_code = not (listed.parts[0].endswith((".dist-info", ".egg-info")) or listed.parts[0] == "..")
        if is_code and not listed.name.startswith(_EDITABLE) and _counts(file) and file.is_file():
            yield listed.as_posix(), file


def _package(point: EntryPoint) -> Iterator[tuple[str, Path]]:
    """Yield name and place of every file of the package, or of the module, that a plugin lies in; finding it imports nothing."""
    try:
        found = find_spec(_outermost(point))
    except (ImportError, ValueError):
        found = None
    for folder in (found.submodule_search_locations if found else None) or ():
        root = Path(folder)
        for file in root.rglob("*"):
            if file.is_file() and _counts(file):
                yield file.relative_to(root.parent).as_posix(), file
    if found and found.origin and not found.submodule_search_locations and Path(found.origin).is_file():
        yield Path(found.origin).name, Path(found.origin)
