"""Which kinds of files there are: those that medtune reads itself, and those that readers of plugins read."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from medtune.data.sources.file_row import FileRow
from medtune.data.sources.reading import Reading
from medtune.errors import PluginClashError, PluginError
from medtune.plugins.contracts import Reader
from medtune.plugins.host import PluginHost

__all__ = ["COMPRESSED", "kind_of", "listed_kinds", "read_by_plugin", "reading_with", "suffixes_of", "with_readers"]

COMPRESSED = (".gz", ".zst")
_KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_SUFFIX = re.compile(r"\.[^.\sA-Z/\\]+")
_IN_USE: ContextVar[Mapping[str, Reader]] = ContextVar("medtune_readers")
"""Suffix -> reader of a plugin, while a run of its host reads."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def kind_of(file: Path) -> str | None:
    """Return the kind of a file by its suffix, perhaps before that of a compressed one; None for an unknown one.

    That of a file which a plugin reads is its suffix.
    """
    suffixes = [s.lower() for s in file.suffixes]
    if suffixes and suffixes[-1] in _IN_USE.get({}):
        return suffixes[-1]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return _KINDS.get(suffixes[-1]) if suffixes else None


def listed_kinds() -> str:
    """Return the kinds of files that are read, in words."""
    further = "".join(f", and {suffix} by reader '{reader.name}'" for suffix, reader in _IN_USE.get({}).items())
    return f".jsonl, .json, .csv, .tsv, .xlsx, .parquet and .arrow, plain or as .gz or .zst{further}"


def suffixes_of(reader: Reader, said: str) -> list[str]:
    """Return the suffixes of a reader, which is called ``said`` in an error.

    Raises:
        PluginError: it has none, no list of them, or one that is none or that medtune reads itself.
    """
    given: Any = reader.suffixes
    if isinstance(given, str | bytes) or not isinstance(given, Collection) or not given:
        found = "no suffix" if not isinstance(given, str) else f"the text '{given}' as suffixes"
        raise PluginError(f"{said} has {found}; it takes a list of suffixes such as ['.hl7']")
    for suffix in given:
        told = f"'{suffix}'" if isinstance(suffix, str) else f"of type {type(suffix).__name__}"
        if not isinstance(suffix, str) or not _SUFFIX.fullmatch(suffix):
            raise PluginError(f"{said} has the suffix {told}; a suffix is one lower-case ending such as '.hl7'")
        if suffix in (*_KINDS, *COMPRESSED):
            raise PluginError(f"{said} has the suffix {told}, which medtune reads itself; take another, such as '.hl7'")
    return [*given]


@contextmanager
def reading_with(host: PluginHost) -> Iterator[None]:
    """Inside, files are also read by the readers that the host's plugins provide.

    Raises:
        PluginError: a reader has no suffix, or one that medtune reads itself.
        PluginClashError: two readers have the same suffix.
    """
    found: dict[str, Reader] = {}
    for name, (reader, owner) in host.provided("reader").items():
        for suffix in suffixes_of(reader, f"reader '{name}' of {host.origin(owner)}"):
            if suffix in found:
                raise PluginClashError("reader of", suffix, (found[suffix].name, name))
            found[suffix] = reader
    token = _IN_USE.set(found)
    try:
        yield
    finally:
        _IN_USE.reset(token)


def with_readers(method: _Method) -> _Method:
    """Make a method of something that has a ``host`` read with its readers."""

    @wraps(method)
    def reading(self: Any, *given: Any, **options: Any) -> Any:
        with reading_with(self.host):
            return method(self, *given, **options)

    return cast("_Method", reading)


def read_by_plugin(path: Path, reading: Reading) -> Iterator[FileRow]:
    """Yield the rows that a plugin's reader finds in a file, numbered from 1; what is no row its guard refuses by name."""
    del reading
    for number, values in enumerate(_IN_USE.get({})[path.suffix.lower()].rows(path), start=1):
        yield FileRow(number, values)
