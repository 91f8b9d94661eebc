"""Reads rows from wherever they are: files, folders and globs, the hub, or objects in memory."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medtune.data.sources.columnar import read_arrow, read_parquet
from medtune.data.sources.csv_files import read_csv
from medtune.data.sources.file_row import NOT_UTF8, FileRow
from medtune.data.sources.hub import HubData, note_features, rows_of_batches
from medtune.data.sources.json_files import read_json, read_json_lines
from medtune.data.sources.kinds import read_by_plugin
from medtune.data.sources.opening import open_bytes
from medtune.data.sources.paths import DataFile, files_left_out, is_local, local_files
from medtune.data.sources.reading import Reading
from medtune.data.sources.tables import is_table, rows_of_table
from medtune.data.sources.workbooks import read_workbook
from medtune.errors import DataError
from medtune.errors.locked_mode import RemoteNameError, is_locked
from medtune.plugins.guards.reading import own_row

__all__ = ["Row", "data_fingerprint", "is_local", "read_rows"]

_MOST_FAULTS = 100_000
"""Rows in a row that cannot be read, beyond which a file is none of rows."""
_READERS: Mapping[str, Callable[[Path, Reading], Iterator[FileRow]]] = {
    "jsonl": read_json_lines,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "xlsx": read_workbook,
}
"""Kind of file -> its reader; any other kind is a plugin's."""


class Row(NamedTuple):
    """One row as read: its values, or what is wrong with it.

    Attributes:
        values: column -> value; empty for a faulty row.
        row_id: stable identity within its source, such as "train-17" or "notes.jsonl-3".
        place: file and line (element of a JSON array, row of a Parquet or Arrow file), or data set and row number.
        fault: why the row could not be read, without its content; empty for a good row.
    """

    values: Mapping[str, Any]
    row_id: str
    place: str
    fault: str = ""


def read_rows(
    source: str | Iterable[Mapping[str, Any]],
    *,
    revision: str | None = None,
    subset: str | None = None,
    split: str = "train",
    streaming: bool = False,
    reading: Reading | None = None,
) -> Iterator[Row]:
    """Yield rows one after the other, in bounded memory.

    Args:
        source: a JSONL, JSON, CSV, TSV, XLSX, Parquet or Arrow file (perhaps .gz or .zst), a file that a
            plugin reads, a folder or glob of such
            files, a data set on the hub, or an iterable of mappings: a ``datasets`` object is one, and a table of
            pandas, polars or pyarrow is taken for its rows.
        revision: commit of a hub data set.
        subset: configuration of a hub data set that has several.
        split: split of a hub data set, or of a folder whose files are named or grouped by split.
        streaming: whether a hub data set is read while it is downloaded, instead of after; files always are.
        reading: how files are to be read, and what takes notes on it.

    Raises:
        StorageError: a file cannot be read.
        DataError: there is no such file, subset or split, or the file is damaged beyond its rows.
        HubUnreachableError: the data set is not cached and the hub cannot be reached.
    """
    reading = reading or Reading()
    if not isinstance(source, str):
        return _from_objects(source, reading)
    if is_local(source):
        if subset is not None:
            raise DataError(f"data.subset is '{subset}', but '{source}' is no data set on the hub; leave it out")
        reading.notes.left_out.update(files_left_out(source, split))
        return _from_files(local_files(source, split), reading)
    if is_locked():
        raise RemoteNameError(f"'{source}' is a data set of the hub", "name its files here")
    return _from_hub(HubData(source, revision, subset, split, streaming), reading)


def data_fingerprint(
    source: str, *, revision: str | None = None, subset: str | None = None, split: str = "train"
) -> str | None:
    """Return SHA-256 over the bytes of local files, or over name, commit, subset and split of a hub data set.

    None when the rows may change unnoticed: the set follows a branch, and the hub cannot be asked for its commit.
    """
    digest = hashlib.sha256()
    if not is_local(source):
        identity = HubData(source, revision, subset, split).identity()
        return hashlib.sha256(identity.encode()).hexdigest() if identity else None
    for file in local_files(source, split):
        digest.update(_content_hash(file.path))
    return digest.hexdigest()


def _content_hash(path: Path) -> bytes:
    """Hash the bytes as they lie, compressed or not."""
    with open_bytes(path, unpacked=False) as stream:
        return hashlib.file_digest(stream, "sha256").digest()  # type: ignore[arg-type]


def _from_files(files: Iterable[DataFile], reading: Reading) -> Iterator[Row]:
    for path, kind, name in files:
        if reading.field and kind not in ("json", "jsonl", "xlsx"):
            raise DataError(
                f"data.field '{reading.field}' leads into JSON, or to a workbook's sheet, and '{path}' is neither; leave it out"
            )
        within = f"#{reading.field}" if reading.field else ""  # two splits of one file have rows of the same numbers
        faults = 0
        for row in _READERS.get(kind, read_by_plugin)(path, reading):
            faults = faults + 1 if row.fault else 0
            if faults > _MOST_FAULTS:
                raise DataError(
                    f"'{path}' holds more than {_MOST_FAULTS:,} rows one after the other that cannot be read"
                )
            reading.notes.not_utf8[path] += NOT_UTF8 in row.fault
            yield Row(row.values, f"{name}{within}-{row.number}", f"{path}{within}:{row.number}", row.fault)


def _from_hub(data: HubData, reading: Reading) -> Iterator[Row]:
    for number, values in enumerate(data.rows(notes=reading.notes)):
        yield Row(values, f"{data.split}-{number}", f"{data.label} row {number}")


def _from_objects(source: Iterable[Any], reading: Reading) -> Iterator[Row]:
    if isinstance(source, Mapping):  # a DatasetDict, most likely
        raise DataError("rows must be an iterable of mappings, not one mapping; of a DatasetDict pass one split")
    in_batches = callable(getattr(source, "iter", None)) and type(source).__module__.startswith("datasets.")
    if in_batches:
        note_features(source, reading.notes)
    rows = rows_of_batches(source) if in_batches else rows_of_table(source) if is_table(source) else source
    for number, values in enumerate(rows):
        row_id, place = f"row-{number}", f"rows[{number}]"
        if isinstance(values, Mapping):
            # a generator may use one dict again for each row, and rows are looked at ahead of their turn
            yield Row(own_row(values) if type(values) is dict else values, row_id, place)
        else:
            yield Row({}, row_id, place, f"{type(values).__name__} instead of a mapping")
