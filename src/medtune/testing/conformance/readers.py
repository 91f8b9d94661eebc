"""Checks on readers of files."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from medtune.errors import PluginError
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.host import create_host
from medtune.testing.conformance.checks import Case, NotTriedError, check

__all__: list[str] = []

_OPEN_FILES = Path("/proc/self/fd")


@check("reader-suffixes", "reader", "suffixes is a list of lower-case endings such as '.hl7', none that medtune reads.")
def has_suffixes(case: Case) -> str | None:
    """Check a run with it."""
    from medtune.tuner import MedTuner

    host = create_host([_Alone(case.thing)], autoload=False)
    try:
        MedTuner.from_bundle("demo", plugins=host).check()
    except PluginError as error:
        return str(error)
    return None


@check("reader-rows", "reader", "rows yields a mapping for each row of a file, its keys the names of columns.")
def yields_rows(case: Case) -> str | None:
    """Read the samples."""
    for file in _files(case):
        rows = list(case.thing.rows(file))
        if not rows:
            return "a sample gave no row"
        for row in rows:
            if not isinstance(row, Mapping):
                return f"rows yielded a {type(row).__name__}"
            if not all(isinstance(column, str) for column in row):
                return "a row has a column whose name is no text"
    return None


@check("reader-same-rows", "reader", "rows yields the same rows of a file in the same order, whenever it is read.")
def is_steady(case: Case) -> str | None:
    """Read each sample twice, the others between."""
    files = _files(case)
    first = [[repr(row) for row in case.thing.rows(file)] for file in files]
    again = [[repr(row) for row in case.thing.rows(file)] for file in files]
    return None if first == again else "a file gave other rows when it was read again"


@check("reader-keeps-file", "reader", "rows reads: it changes neither the file nor what lies beside it.")
def keeps_file(case: Case) -> str | None:
    """Compare the folder before and after."""
    for file in _files(case):
        before = _folder(file)
        list(case.thing.rows(file))
        changed = sorted(name for name in {**before, **_folder(file)} if before.get(name) != _folder(file).get(name))
        if changed:
            return f"it changed '{changed[0].replace(file.name, 'FILE')}' of the file's folder"
    return None


@check("reader-closes-file", "reader", "A file is closed once its rows are read, or left off.")
def closes_file(case: Case) -> str | None:
    """Look for the file among those that the process has open."""
    if not _OPEN_FILES.is_dir():
        raise NotTriedError("this system does not say which files are open")
    ways: dict[str, Callable[[Iterator[Any]], Any]] = {
        "read": list,
        "left off after a row": lambda rows: list(islice(rows, 1)),
    }
    for file in _files(case):
        for how, read in ways.items():
            rows = iter(case.thing.rows(file))
            read(rows)
            getattr(rows, "close", lambda: None)()
            if file.resolve() in _open_files():
                return f"the file was still open once it was {how}"
    return None


@check("reader-bad-files", "reader", "Of a damaged file rows raises an Exception, or yields what rows it still has.")
def survives_bad_files(case: Case) -> str | None:
    """Read samples cut in half, empty ones, and bytes that are no text."""
    sample = _files(case)[0]
    content = sample.read_bytes()
    damaged = {"empty": b"", "cut in half": content[: len(content) // 2], "of other bytes": bytes(range(256)) * 16}
    for what, held in damaged.items():
        file = case.bench.fresh("damaged") / sample.name
        file.write_bytes(held)
        if not all(isinstance(row, Mapping) for row in _rows_or_none(case, file)):
            return f"a file that is {what} gave what is no row"
    return None


class _Alone:
    """A plugin of this reader alone."""

    __name__ = "reader-in-conformance-kit"

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    @hookimpl
    def provide_readers(self) -> list[Any]:
        """Provide it."""
        return [self._thing]


def _rows_or_none(case: Case, file: Path) -> list[Any]:
    try:
        return list(case.thing.rows(file))
    except Exception:  # noqa: BLE001 - any refusal will do
        return []


def _files(case: Case) -> list[Path]:
    """Return the samples as files, each in a folder of its own."""
    key = "files of reader", case.name
    if key not in case.bench.kept:
        given: Sequence[str | bytes] = getattr(case.thing, "samples", ())
        if not given or isinstance(given, str | bytes):
            raise NotTriedError("give the reader `samples`, a list of what small files hold, as texts or bytes")
        suffix = next(iter(case.thing.suffixes), "")
        files = [case.bench.fresh("sample") / f"sample{suffix}" for _content in given]
        for file, content in zip(files, given, strict=True):
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        case.bench.kept[key] = files
    found: list[Path] = case.bench.kept[key]
    return found


def _folder(file: Path) -> dict[str, tuple[int, bytes]]:
    return {
        each.name: (each.stat().st_mtime_ns, each.read_bytes() if each.is_file() else b"")
        for each in file.parent.iterdir()
    }


def _open_files() -> set[Path]:
    found: set[Path] = set()
    for entry in os.listdir(_OPEN_FILES):  # noqa: PTH208 - names alone; the list itself is one that is open
        try:
            found.add((_OPEN_FILES / entry).resolve())
        except OSError:
            continue
    return found
