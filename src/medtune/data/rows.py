"""Reads rows from wherever they are: local files, folders and globs, the hub, or objects in memory."""

import glob
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from medtune.data.files import READERS, kind_of
from medtune.errors import DataError, HubUnreachableError, StorageError

__all__ = ["Row", "data_fingerprint", "is_local", "read_rows"]

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_BATCH = 1000


class Row(NamedTuple):
    """One row as read: its values, or what is wrong with it.

    Attributes:
        values: column -> value; empty for a faulty row.
        row_id: stable identity, such as "train-17" or "notes.jsonl-3".
        place: file and line, or data set and row number, for the quarantine.
        fault: why the row could not be read, without its content; empty for a good row.
    """

    values: Mapping[str, Any]
    row_id: str
    place: str
    fault: str = ""


def read_rows(
    source: str | Iterable[Mapping[str, Any]], *, revision: str | None = None, split: str = "train"
) -> Iterator[Row]:
    """Yield rows one after the other, in bounded memory.

    Args:
        source: a JSONL, JSON, CSV, Parquet or Arrow file (perhaps .gz or .zst), a folder or glob of such files, a data
            set on the hub, or an iterable of mappings (a ``datasets`` object is one).
        revision: commit of a hub data set.
        split: split of a hub data set; also the files of a folder whose names begin with it, where there are any.

    Raises:
        StorageError: a file cannot be read.
        DataError: there is no such file, or its kind is unknown.
        HubUnreachableError: the data set is not cached and the hub cannot be reached.
    """
    if not isinstance(source, str):
        return _from_objects(source)
    if is_local(source):
        return _from_files(local_files(source, split))
    return _from_hub(source, revision, split)


def is_local(source: str) -> bool:
    """Whether ``source`` means files here rather than a data set on the hub."""
    looks_like_files = any(c in source for c in "*?[") or kind_of(Path(source)) is not None
    return looks_like_files or Path(source).exists() or not _HUB_NAME.fullmatch(source)


def local_files(source: str, split: str) -> list[Path]:
    """Return the data files that a path, folder or glob stands for, in the order of their names."""
    path = Path(source)
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.is_file() and kind_of(f) is not None)
        files = [f for f in files if f.name.startswith(split)] or files
    else:
        files = [path] if path.is_file() else sorted(Path(f) for f in glob.glob(source, recursive=True))  # noqa: PTH207 - may be absolute
    if not files:
        raise DataError(f"no data file at '{source}'; data.source takes a file, folder or glob of {_kinds()}")
    for file in files:
        if kind_of(file) is None:
            raise DataError(f"'{file}' is of no known kind; medtune reads {_kinds()}")
    return files


def data_fingerprint(source: str, *, revision: str | None = None, split: str = "train") -> str:
    """Return SHA-256 over the bytes of local files, or over name, commit and split of a hub data set."""
    digest = hashlib.sha256()
    if not is_local(source):
        digest.update(f"{source}@{revision}[{split}]".encode())
        return digest.hexdigest()
    for file in local_files(source, split):
        with _readable(file), file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _from_files(files: list[Path]) -> Iterator[Row]:
    for file in files:
        kind = kind_of(file)
        assert kind is not None  # noqa: S101 - local_files saw to it
        with _readable(file):
            for number, values, fault in READERS[kind](file):
                yield Row(values, f"{file.name}-{number}", f"{file}:{number}", fault)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot read '{file}': {error.strerror or 'it is damaged'}") from error


def _from_objects(source: Iterable[Any]) -> Iterator[Row]:
    for number, values in enumerate(source):
        row_id, place = f"row-{number}", f"rows[{number}]"
        if isinstance(values, Mapping):
            yield Row(values, row_id, place)
        else:
            yield Row({}, row_id, place, f"a {type(values).__name__}, not a mapping")


def _from_hub(source: str, revision: str | None, split: str) -> Iterator[Row]:
    import datasets

    try:
        data = datasets.load_dataset(source, revision=revision, split=split)
    except ValueError as error:
        if "split" in str(error).lower():
            raise DataError(f"data set '{source}' has no split '{split}'; set data.split") from error
        raise HubUnreachableError("data set", source, "--set data.source=FILE") from error
    except OSError as error:  # not found, no connection and offline mode are all of this kind
        raise HubUnreachableError("data set", source, "--set data.source=FILE") from error
    number = 0
    for batch in data.iter(batch_size=_BATCH):
        columns = list(batch)
        for values in zip(*(batch[c] for c in columns), strict=True):
            yield Row(dict(zip(columns, values, strict=True)), f"{split}-{number}", f"{source}[{split}] row {number}")
            number += 1


def batched(rows: Iterable[Row], size: int = _BATCH) -> Iterator[list[Row]]:
    """Yield rows in lists of ``size``."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _kinds() -> str:
    return ".jsonl, .json, .csv, .parquet and .arrow, plain or as .gz or .zst"
