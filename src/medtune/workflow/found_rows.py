"""Looks at a user's file and finds out how its rows are read: mapping, sources, documents, tasks, validation rows."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from medtune.data.examples import training_examples, training_rows
from medtune.data.importers.formats import Format, format_of
from medtune.data.importers.reading import Input
from medtune.data.quarantine import Quarantine
from medtune.data.sources.paths import is_file_name, splits_of
from medtune.errors import DataError, StorageError
from medtune.evaluation.recognition import recognise
from medtune.plugins.host import PluginHost
from medtune.specs import DataSpec

__all__ = ["FoundRows", "find_rows"]

_LOOKED_AT = 20_000
"""Rows of a file that are looked at."""
_MALFORMED = 0.01
_DOCUMENT = re.compile(
    r"(doc(ument)?|note|patient|subject|pat|case|visit|encounter|admission|hadm|stay|study|report|abstract|article|pm|pub|mrn)"
    r"[_\s-]?(id|nr|no|number|key|identifier)?|fall(nummer)?|mrn",
    re.IGNORECASE,
)
"""How columns that name a document or patient are called; one counts when its values repeat as well."""
_ROLES: Mapping[str, Sequence[str]] = {
    "question": ("question", "query", "prompt", "instruction", "input", "frage", "problem", "user", "title", "request"),
    "context": ("context", "passage", "abstract", "note", "background", "kontext", "document_text", "article"),
    "answer": ("answer", "response", "output", "completion", "reply", "antwort", "target", "label", "summary", "solution",
               "assistant"),
}  # fmt: skip
"""Role of a question's formatter -> names that a column for it is often given."""
_NO_TEXT = frozenset({"id", "ids", "date", "time", "type", "nr", "no", "number", "index", "score"})
_WRAPPERS = ("data", "rows", "examples", "train", "*")
_VALIDATION = ("validation", "valid", "val", "dev", "devel")


@dataclass
class FoundRows:
    """What a file holds, and how it is read.

    Attributes:
        data: keys of the spec's data table.
        rows: good rows among those looked at.
        malformed: others.
        whole: whether all rows were looked at.
        sources: rows by source.
        tasks: rows by task, "" for none.
        characters: length of each row's texts.
        notes: what a user should know, each a sentence.
    """

    data: dict[str, Any]
    rows: int = 0
    malformed: int = 0
    whole: bool = True
    sources: Counter[str] = field(default_factory=Counter[str])
    tasks: Counter[str] = field(default_factory=Counter[str])
    characters: list[int] = field(default_factory=list[int])
    notes: list[str] = field(default_factory=list[str])


def find_rows(path: Path, host: PluginHost) -> FoundRows:
    """Find out how the rows of a file or folder are read.

    Raises:
        DataError: it has to be imported first (the sentence says by which command), or no way of reading it is known.
        StorageError: there is no such file.
    """
    if not path.exists():
        raise StorageError(f"cannot read '{path}': there is no such file or folder")
    _refuse_marks(path)
    source = str(path.resolve())
    first: DataError | None = None
    for keys, notes in _ways(path, source):
        try:
            found = _looked_at(_data(source, keys), keys, host)
        except DataError as error:
            first = first or error
            continue
        found.notes += notes
        _add_document(found, source)
        _add_validation(found, path)
        return found
    raise _to_import(path, first or DataError(f"there is no row in '{path}'"))


def _refuse_marks(path: Path) -> None:
    """Refuse what is no table of rows: marked texts, whatever the file is called, and files of unknown kinds."""
    known = _format(path)
    if known is not None and known.holds != "questions":
        raise _to_import(path, DataError(""))
    if not path.is_dir() and not is_file_name(path.name):
        raise _to_import(path, DataError(f"'{path}' is of no kind that data.source reads"))


def _format(path: Path) -> Format | None:
    try:
        return format_of(Input(path))
    except DataError:
        return None


def _to_import(path: Path, otherwise: DataError) -> DataError:
    """Return an error that names the command by which a file becomes rows, ``otherwise`` where there is none."""
    known = _format(path)
    if known is None:
        return otherwise
    target = path.with_name(f"{path.name.split('.')[0]}-rows.jsonl")
    return DataError(
        f"'{path}' is {known.title}, which is imported first: `medtune import {path} --to {target}`, then "
        f"`medtune init {target}`"
    )


def _data(source: str, keys: Mapping[str, Any]) -> DataSpec:
    return DataSpec.model_validate({"source": source, "validation": None, **keys})


def _ways(path: Path, source: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield keys of the data table that may make the rows readable, the plainest first, with what to tell of them."""
    outer: list[tuple[dict[str, Any], list[str]]] = [({}, [])]
    if path.suffix.lower() in (".json", ".gz"):
        outer += [({"field": name}, []) for name in _WRAPPERS]
    if not path.is_dir():
        outer.append(
            ({"encoding": "cp1252"}, ["not UTF-8: read as Windows-1252, so look at accents with medtune preview"])
        )
    for keys, notes in outer:
        yield keys, notes
        columns = _columns(source, keys)
        roles = _guessed(columns)
        if {"question", "answer"} <= roles.keys():
            yield {**keys, "columns": roles}, notes


def _columns(source: str, keys: Mapping[str, Any]) -> list[str]:
    try:
        rows = islice(training_rows(_data(source, keys)), 100)
        return list(dict.fromkeys(name for row in rows for name in row.values))
    except DataError:
        return []


def _guessed(columns: Iterable[str]) -> dict[str, str]:
    """Return role -> column, by names that such columns often have: the whole name first, then a word of it.

    A name with a word such as "id" in it is no text's.
    """
    free = {name.strip().lower(): name for name in columns}
    words = {low: set(re.split(r"[^a-z0-9]+", low)) for low in free}
    roles: dict[str, str] = {}
    for whole in (True, False):
        for role, names in _ROLES.items():
            fits = (
                low
                for word in names
                for low in free
                if low == word or (not whole and word in words[low] and not words[low] & _NO_TEXT)
            )
            if role not in roles and (found := next(fits, None)) is not None:
                roles[role] = free.pop(found)
    return roles


def _looked_at(data: DataSpec, keys: Mapping[str, Any], host: PluginHost) -> FoundRows:
    """Read rows as ``data`` says; DataError where they cannot be, or too many are malformed."""
    found = FoundRows({"source": data.source, **keys})
    quarantine = Quarantine(None, _MALFORMED)
    for example in training_examples(data, host, quarantine, 0):
        found.sources[example.source] += 1
        found.tasks[recognise(example) or ""] += 1
        found.characters.append(sum(len(message["content"]) for message in example.messages))
        if quarantine.rows >= _LOOKED_AT:
            found.whole = False
            break
    quarantine.check()
    found.rows, found.malformed = quarantine.rows - quarantine.count, quarantine.count
    if not found.rows:
        raise DataError(f"there is no row in '{data.source}'")
    return found


def _add_document(found: FoundRows, source: str) -> None:
    """Name the column of documents where one is called so and its values repeat."""
    values: dict[str, Counter[str]] = {}
    for row in islice(training_rows(_data(source, _outer(found.data))), _LOOKED_AT):
        for name, value in row.values.items():
            if isinstance(value, str | int) and str(value).strip() and _DOCUMENT.fullmatch(name.strip()):
                values.setdefault(name, Counter())[str(value)] += 1
    repeat = {
        name: seen for name, seen in values.items() if 1 < len(seen) < seen.total() and 2 * seen.total() > found.rows
    }
    if not repeat:
        return
    name = min(repeat, key=lambda n: len(repeat[n]))  # the widest: a patient before a note
    found.data["document"] = name


def _outer(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key in ("field", "encoding")}


def _add_validation(found: FoundRows, path: Path) -> None:
    """Score on the validation rows that lie in the folder or beside the file, else hold some out."""
    if path.is_dir() and "validation" in splits_of(str(path)):
        found.data["validation"] = "validation"
        return
    beside = (path.with_name(path.name.replace("train", name, 1)) for name in _VALIDATION)
    if path.name.startswith("train") and (file := next((f for f in beside if f.is_file()), None)) is not None:
        found.data["validation"] = str(file.resolve())
