"""Reads XLSX workbooks through openpyxl, which the extra ``xlsx`` brings along."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from medtune.data.sources.file_row import FileRow
from medtune.data.sources.names import is_plain, listed
from medtune.data.sources.opening import MOST_TIMES, MOST_UNPACKED, open_seekable, too_much
from medtune.data.sources.reading import Reading
from medtune.errors import DataError

__all__ = ["read_workbook"]

_MOST_LINES = 2**20
_MOST_BYTES = 2**30  # of all parts, unpacked; the texts of a workbook are in memory as a whole
_DOCUMENT_TYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))


def read_workbook(file: Path, reading: Reading) -> Iterator[FileRow]:
    """Yield line number (from 1), values and fault of each line of a sheet, the only one that has any or that of ``field``; formulas as their values.

    Lines that repeat the header are counted and left out.

    Raises:
        DataError: openpyxl is not installed, the file is no workbook, or it has several sheets or no header line.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise DataError(
            f"'{file}' is a workbook, which needs openpyxl: pip install 'medtune[xlsx]', or save it as CSV"
        ) from None
    with open_seekable(file) as stream:
        _require_bounded(stream, file)
        try:
            book: Any = load_workbook(stream, read_only=True, data_only=True)
        except Exception as error:  # noqa: BLE001 - zip, XML and key errors of a dozen kinds
            raise DataError(f"'{file}' is not a whole workbook ({type(error).__name__}); save it again") from None
        sheets = [
            sheet for sheet in book.worksheets if any(any(c is not None for c in r) for r in _lines(sheet, file, 2))
        ]
        chosen = [sheet for sheet in sheets if reading.field in ("", sheet.title)]
        if len(chosen) != 1:
            named = f"{len(sheets)} sheets with rows" + (f", none of them '{reading.field}'" if reading.field else "")
            way = (
                "choose one as data.field"
                if all(is_plain(sheet.title) for sheet in sheets)
                else "rename one, for data.field"
            )
            raise DataError(
                f"'{file}' has {named}: {listed(sheet.title for sheet in sheets)}; {way}, or save it as CSV"
            )
        if len(sheets) > 1:
            others = listed(sheet.title for sheet in sheets if sheet is not chosen[0])
            reading.notes.say(file.name, f"of its sheets only '{reading.field}'; not read: {others}")
        elif len(book.worksheets) > 1:
            reading.notes.say(file.name, "its other sheets hold no rows")
        yield from _rows(_lines(chosen[0], file), file, reading)


def _require_bounded(stream: Any, file: Path) -> None:
    """Refuse an archive that unpacks to far more than a table does, and XML that declares entities, as no workbook does."""
    try:
        with ZipFile(stream) as archive:
            sizes = [(info.file_size, info.compress_size) for info in archive.infolist()]
            unpacked, packed = (sum(each) for each in zip(*sizes, strict=True)) if sizes else (0, 0)
            if unpacked > max(MOST_UNPACKED, MOST_TIMES * packed) or unpacked > _MOST_BYTES:
                raise too_much(file)
            for info in archive.infolist():
                if info.filename.endswith((".xml", ".rels")) and _declares(archive, info):
                    raise DataError(
                        f"'{file}' declares entities of its own, which can hide other files or gigabytes; save it again as CSV"
                    )
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error) as error:
        raise DataError(f"'{file}' is not a whole workbook ({type(error).__name__}); save it again") from None
    stream.seek(0)


def _declares(archive: ZipFile, info: ZipInfo) -> bool:
    """Whether a file of the archive has a document type, in whichever encoding."""
    with archive.open(info) as member:
        before = b""
        while piece := member.read(2**20):
            if any(mark in before + piece for mark in _DOCUMENT_TYPES):
                return True
            before = piece[-64:]
    return False


def _lines(sheet: Any, file: Path, most: int = _MOST_LINES) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # some writers state fewer cells than there are
    lines = iter(sheet.iter_rows(values_only=True, max_row=most))
    number, is_empty = 0, False
    while True:
        try:
            line: tuple[Any, ...] | None = next(lines, None)
        except Exception as error:  # noqa: BLE001 - zip, XML and key errors of a dozen kinds
            raise DataError(f"'{file}' is not a whole workbook ({type(error).__name__}); save it again") from None
        if line is None:
            break
        number, is_empty = number + 1, not any(cell is not None for cell in line)
        yield line
    if number == _MOST_LINES and is_empty:
        raise DataError(f"'{file}' has a line behind the {_MOST_LINES:,} that a sheet can have; save it again")


def _rows(lines: Iterator[tuple[Any, ...]], file: Path, reading: Reading) -> Iterator[FileRow]:
    header = _names(next(lines, ()))
    named = [name for name in header if name]
    if not named or len(set(named)) < len(named):
        raise DataError(f"'{file}' has no header line that names each column once")
    for number, cells in enumerate(lines, start=2):
        if all(cell is None for cell in cells):
            continue
        if _names(cells[:1]) == header[:1] and _names(cells, len(header)) == header:
            reading.notes.count_header(file.name)
            continue
        beyond = [cell for name, cell in zip(header, cells, strict=False) if not name] + list(cells[len(header) :])
        if any(cell is not None for cell in beyond):
            yield FileRow(number, {}, "a cell stands in a column that the header does not name")
            continue
        padded = (*cells, *(None for _ in header[len(cells) :]))
        yield FileRow(number, {name: cell for name, cell in zip(header, padded, strict=False) if name})


def _names(cells: Sequence[Any], least: int = 0) -> list[str]:
    names = [str(cell).strip() if cell is not None else "" for cell in cells]
    return names + [""] * (least - len(names))
