"""Looks at a user's file and finds out how its rows are read: mapping, sources, documents, tasks, validation rows."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

from medtune.data.account import Account
from medtune.data.column_counts import is_document_name
from medtune.data.examples import training_examples, training_rows, validation_pool
from medtune.data.importers.formats import Format, format_of
from medtune.data.importers.reading import Input
from medtune.data.lengths import names_rows
from medtune.data.member_account import OTHERS, MemberAccount
from medtune.data.quarantine import Quarantine
from medtune.data.sources.names import is_plain
from medtune.data.sources.paths import is_file_name, named_split, names_beside, require_path, splits_of
from medtune.errors import DataError, StorageError
from medtune.evaluation.recognition import recognise
from medtune.plugins.host import PluginHost
from medtune.specs import DataSpec
from medtune.workflow.reading_ways import arrays_of, data_spec, reading_ways

__all__ = ["FoundRows", "find_rows"]

_LOOKED_AT = 20_000
"""Rows of a file that are looked at."""
_MALFORMED = 0.01
_SETTLED = ("read", "source", "document")
"""States of columns of which nothing is left to say."""


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
        left_out: file of the folder, or array of the file, that the spec does not read -> why.
        unread: column that nothing reads, or not all of -> what it is.
    """

    data: dict[str, Any]
    rows: int = 0
    malformed: int = 0
    whole: bool = True
    sources: Counter[str] = field(default_factory=Counter[str])
    tasks: Counter[str] = field(default_factory=Counter[str])
    characters: list[int] = field(default_factory=list[int])
    notes: list[str] = field(default_factory=list[str])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    unread: dict[str, str] = field(default_factory=dict[str, str])

    def not_read(self) -> Iterator[str]:
        """Yield a line for each file, array and column that the spec does not read."""
        for name, why in self.left_out.items():
            yield f"not read: {name} ({why})"
        if self.unread:
            yield "columns that nothing reads: " + ", ".join(f"{name} ({what})" for name, what in self.unread.items())


def find_rows(path: Path, host: PluginHost, given: Mapping[str, Any] | None = None) -> FoundRows:
    """Find out how the rows of a file or folder are read.

    Args:
        path: the file or folder.
        host: formatters.
        given: keys of the data table that are settled; only what they leave open is found out.

    Raises:
        DataError: it has to be imported first (the sentence says by which command), or no way of reading it is known.
        StorageError: there is no such file or folder.
    """
    require_path(path)
    given = given or {}
    if not given.keys() & {"columns", "formatter", "field"}:
        _refuse_marks(path)
    source = str(path.resolve())
    arrays = arrays_of(source)
    first: DataError | None = None
    for keys, notes in reading_ways(path, source, arrays, given):
        try:
            found = _looked_at(source, keys, host)
        except DataError as error:
            first = first or error
            continue
        found.notes += notes
        if "document" not in given:
            _add_document(found, source)
        if not given.keys() & {"validation", "validation_fraction"}:
            _add_validation(found, path, arrays, host)
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
    place = path if path.name.strip(".") else path.resolve()  # "." and ".." are no names
    target = place.with_name(f"{place.name.split('.')[0]}-rows.jsonl")
    return DataError(
        f"'{path}' is {known.title}, which is imported first: `medtune import {quote(str(path))} --to {quote(str(target))}`, "
        f"then `medtune init {quote(str(target))}`"
    )


def _looked_at(source: str, keys: Mapping[str, Any], host: PluginHost) -> FoundRows:
    """Read rows as ``keys`` say, and where they say too little for all text to be read or declared, with more of them.

    Raises:
        DataError: they cannot be read, too many are malformed, or text that nothing reads cannot be declared.
    """
    account = Account(refuses=False)
    try:
        found = _taken(source, keys, host, account)
    except DataError:
        more = account.members[0].remedy() if account.members else {}
        if not more or any(key in keys for key in more):
            raise
        return _looked_at(source, {**keys, **more}, host)
    member = account.members[0]
    if names_rows(len(found.sources), found.rows) and "metadata" not in keys.get("columns", {}):
        declared = {**keys, "columns": {**keys.get("columns", {}), "metadata": ["source"]}}
        found = _looked_at(source, declared, host)
        found.notes.append(
            "'source' has about a value a row, so it names rows and no sources: it is declared as metadata"
        )
        return found
    unread = member.unread_text()
    if (
        unread
        and not any("*" in path or path == OTHERS for path in unread)
        and not (before := set(keys.get("columns", {}).get("metadata", ()))) - {"source"}
    ):
        columns = [*before, *(path.replace("[]", "") for path in unread)]
        declared = {**keys, "columns": {**keys.get("columns", {}), "metadata": columns}}
        found = _looked_at(source, declared, host)
        found.notes += [_of_unread(path, share, member) for path, share in unread.items()]
        return found
    member.refuses = True
    member.check()
    _add_account(found, member)
    return found


def _taken(source: str, keys: Mapping[str, Any], host: PluginHost, account: Account) -> FoundRows:
    """Read rows; DataError where they cannot be, or too many are malformed."""
    data = data_spec(source, keys)
    found = FoundRows({"source": data.source, **keys})
    quarantine = Quarantine(None, _MALFORMED, account=account)
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


def _of_unread(path: str, share: float, member: MemberAccount) -> str:
    """Say of a column of text that it is not read, and how it would be."""
    column = path.replace("[]", "")
    way = member.reading_of(path)
    instead = f"; to have it in the question, take it out there and set {way}" if way else ""
    instead = "; it holds the answer, or what explains it" if member.tells_answer(path) else instead
    return f"'{column}', {share:.0%} of the text, is declared as metadata in data.columns and not read{instead}"


def _add_account(found: FoundRows, member: MemberAccount) -> None:
    """Take down which columns and files are not read."""
    account = member.to_json()
    found.left_out |= account["files_left_out"]
    if account["more_files_left_out"]:
        found.left_out["further files"] = f"{account['more_files_left_out']:,}"
    found.notes += [f"{file}: {', '.join(how)}" for file, how in account["read_as"].items()]
    for column in account["columns"]:
        if column["state"] not in _SETTLED and column["state"] != "empty":
            found.unread[column["column"]] = column["state"]


def _add_document(found: FoundRows, source: str) -> None:
    """Name the column of documents where one is called so and its values repeat."""
    values: dict[str, Counter[str]] = {}
    for row in islice(training_rows(data_spec(source, _outer(found.data))), _LOOKED_AT):
        for name, value in row.values.items():
            if isinstance(value, str | int) and str(value).strip() and is_document_name(name):
                values.setdefault(name, Counter())[str(value)] += 1
    repeat = {
        name: seen for name, seen in values.items() if 1 < len(seen) < seen.total() and 2 * seen.total() > found.rows
    }
    if not repeat:
        return
    name = min(repeat, key=lambda n: len(repeat[n]))  # the widest: a patient before a note
    found.data["document"] = name
    found.unread.pop(name, None)


def _outer(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key in ("field", "encoding")}


def _add_validation(found: FoundRows, path: Path, arrays: Mapping[str, int], host: PluginHost) -> None:
    """Score on the validation rows that lie in the folder, the file or beside it, else hold some out; name what is left."""
    own = found.data.get("field", "")
    beside = {
        name: f"{rows:,} rows beside those that are read" for name, rows in arrays.items() if own not in ("", name)
    }
    if path.is_dir():
        candidates = ["validation"] if "validation" in splits_of(str(path)) else []
    elif own in arrays:
        candidates = [name for name in arrays if name != own and is_plain(name) and named_split(name) == "validation"]
    else:
        files = (path.with_name(name) for name in names_beside(path.name))
        candidates = [str(file.resolve()) for file in files if file.is_file()]
    found.left_out |= beside if own != "*" else {}
    for name in candidates[:1]:
        why = _why_not_scored(found, name, host)
        if why:
            found.notes.append(f"{name} is no validation set of these rows, so some are held out: {why}")
            continue
        found.data["validation"] = name
        found.left_out.pop(name, None)
        if path.is_dir():
            found.left_out = {f: why for f, why in found.left_out.items() if "split 'validation'" not in why}


def _why_not_scored(found: FoundRows, name: str, host: PluginHost) -> str:
    """Return why rows cannot be read as those of ``found`` are, empty where they can."""
    data = DataSpec.model_validate({**found.data, "validation": name})
    quarantine = Quarantine(None, _MALFORMED, account=Account("validation "))
    try:
        for _example in islice(validation_pool(data, host, quarantine, 0), _LOOKED_AT):
            pass
        quarantine.check()
    except (DataError, StorageError) as error:
        return str(error)
    return "" if quarantine.rows > quarantine.count else "it holds no row"
