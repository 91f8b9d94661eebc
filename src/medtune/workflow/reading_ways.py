"""The ways in which the rows of a file may be read, the plainest first."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from medtune.data.examples import training_rows
from medtune.data.shaping import METADATA
from medtune.data.sources.json_files import arrays_in
from medtune.data.sources.names import is_plain
from medtune.data.sources.paths import is_json, named_split
from medtune.data.sources.reading import Reading
from medtune.errors import DataError
from medtune.specs import DataSpec
from medtune.workflow.guessed_roles import guessed_roles

__all__ = ["arrays_of", "data_spec", "reading_ways"]

_TABLES = (".parquet", ".arrow", ".feather", ".xlsx")
"""Files whose text has no encoding to try."""


def arrays_of(source: str) -> dict[str, int]:
    """Return the arrays of objects that lie in a JSON file, with how many they hold."""
    with suppress(DataError):
        return arrays_in(Path(source), Reading()) if is_json(source) else {}
    return {}


def data_spec(source: str, keys: Mapping[str, Any]) -> DataSpec:
    """Return the data table of a source with these keys, without validation rows unless they name some."""
    return DataSpec.model_validate({"source": source, "validation": None, **keys})


def reading_ways(
    path: Path, source: str, arrays: Mapping[str, int], given: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield keys of the data table that may make the rows readable, the plainest first, with what to tell of them.

    Args:
        path: the file or folder.
        source: it, as ``data.source`` names it.
        arrays: arrays of objects in it, with how many they hold.
        given: keys that are settled.
    """
    outer: list[tuple[dict[str, Any], list[str]]] = [({}, [])]
    fields = sorted((n for n in arrays if is_plain(n)), key=lambda n: (named_split(n) != "train", -arrays[n]))
    outer += [({"field": name}, []) for name in fields]
    if is_json(source):
        outer.append(({"field": "*"}, []))
    if not path.is_dir() and not path.name.lower().endswith(_TABLES):
        outer.append(
            ({"encoding": "cp1252"}, ["not UTF-8: read as Windows-1252, so look at accents with medtune preview"])
        )
    for tried, notes in outer:
        if tried.keys() & given.keys():
            continue
        keys = {**tried, **given}
        yield keys, notes
        if "formatter" in given or set(given.get("columns", ())) - {METADATA}:
            continue
        rows = _first_rows(source, keys)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        roles, told = guessed_roles(columns, rows)
        if roles:
            yield {**keys, "columns": {**roles, **given.get("columns", {})}}, [*notes, *told]


def _first_rows(source: str, keys: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    try:
        return [row.values for row in islice(training_rows(data_spec(source, keys)), 100) if not row.fault]
    except DataError:
        return []
