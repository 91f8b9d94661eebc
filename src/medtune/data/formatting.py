"""Makes examples of one source's rows: shaped, formatted by the formatter that fits many of them, and accounted for."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from medtune.data.formatters import FormatterChoice, MalformedRowError
from medtune.data.member_account import MemberAccount
from medtune.data.quarantine import Quarantine
from medtune.data.rows import Row
from medtune.data.shaping import LIST_ROLES, METADATA, Shaper, stands_for_nothing
from medtune.data.sources.names import listed
from medtune.data.sources.reading import SourceNotes
from medtune.data.watched import Watched
from medtune.errors import DataError, NetworkRefusedError, PluginError, UnknownNameError
from medtune.plugins.contracts import Example, PromptFormatter
from medtune.plugins.host import BUILTIN_PLUGINS, PluginHost
from medtune.specs import SourceSpec
from medtune.specs.bounded import is_utf8

__all__ = ["format_rows"]

_LOOKED_AT = 1000
"""Rows by whose columns the formatter is chosen."""
_LOOKED_AT_CHARACTERS = 300_000
_ROLES = frozenset({"system", "user", "assistant"})
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
"""Characters that are no text; tabs, line ends and page breaks are."""
_NULL = re.compile(r"column '(.+)' is (?:null|empty, missing or null)")


class _Shaped(NamedTuple):
    """A row as read, and as its formatter gets it; nothing for a row that could not be read."""

    row: Row
    values: Mapping[str, Any]


def format_rows(
    rows: Iterable[Row],
    member: SourceSpec,
    host: PluginHost,
    quarantine: Quarantine,
    notes: SourceNotes,
    name: str = "",
) -> Iterator[Example]:
    """Yield the example of each row; malformed ones go to the quarantine with their place and the reason.

    Args:
        rows: of one source, as read.
        member: formatter, mapping and labels.
        host: finds the formatter; "auto" chooses by the columns of many rows.
        quarantine: counts and keeps the malformed rows; its account takes down what is read of the others.
        notes: what was found out while reading.
        name: source that rows without one will get.

    Raises:
        DataError: no formatter fits, rows fit different ones, a mapped column is in no row, or there is no row at all.
        UnknownNameError: a role is none that a formatter reads.
    """
    shaper = Shaper(member, notes)
    _require_roles(member, host)
    shaped = (_Shaped(row, {} if row.fault else shaper.shape(row.values)) for row in rows)
    first = _first_of(shaped, member)
    chosen = _chosen_by(first, member, host, quarantine, shaper)
    account = quarantine.account.open(member, shaper, notes) if quarantine.account else None
    formatting: _Formatting | None = None
    while (seen := first.popleft() if first else next(shaped, None)) is not None:
        example, fault = None, seen.row.fault
        if not fault:
            chosen = chosen or _chosen(member, host, quarantine, [seen])
            formatting = formatting or _Formatting(chosen, shaper, account, host, name)
            example, fault = formatting.example(seen)
        if example is None:
            quarantine.refuse(seen.row.row_id, seen.row.place, fault)
        else:
            quarantine.accept()
            yield example


def _chosen_by(
    first: Iterable[_Shaped], member: SourceSpec, host: PluginHost, quarantine: Quarantine, shaper: Shaper
) -> tuple[PromptFormatter, FormatterChoice | None] | None:
    """Return what ``_chosen`` does of those rows that could be read, None where there is none of them."""
    good = [seen for seen in first if not seen.row.fault]
    _require_columns(member, shaper, good)
    return _chosen(member, host, quarantine, good) if good else None


def _chosen(
    member: SourceSpec, host: PluginHost, quarantine: Quarantine, good: Sequence[_Shaped]
) -> tuple[PromptFormatter, FormatterChoice | None]:
    """Return the formatter that the spec names, or the one that many rows fit, with what chose it."""
    if member.formatter != "auto":
        return host.find("formatter", member.formatter), None
    choice = FormatterChoice(host.all("formatter"))
    return choice.among([seen.values for seen in good], quarantine.limit), choice


def _first_of(shaped: Iterator[_Shaped], member: SourceSpec) -> deque[_Shaped]:
    """Take the rows that are looked at together, fewer of very long ones."""
    first: deque[_Shaped] = deque()
    characters = 0
    for seen in shaped:
        first.append(seen)
        characters += sum(len(v) for v in seen.values.values() if isinstance(v, str | list | dict))
        if len(first) == _LOOKED_AT or characters > _LOOKED_AT_CHARACTERS:
            break
    if not first:
        raise DataError(f"there is no row in '{member.source}'; check data.source and data.split")
    return first


def _require_roles(member: SourceSpec, host: PluginHost) -> None:
    """Refuse a role that no formatter reads; one that declares no columns may read any."""
    formatters = host.all("formatter") if member.formatter == "auto" else [host.find("formatter", member.formatter)]
    known = {c for f in formatters for kind in ("columns", "optional_columns") for c in getattr(f, kind, ())}
    if not known or (member.formatter != "auto" and _is_foreign(formatters[0], host)):
        return
    known |= {"source", METADATA, "system"}
    unknown = next((role for role in member.columns if role not in known), None)
    if unknown is not None:
        raise UnknownNameError("role of data.columns", unknown, sorted(name for name in known if name.isidentifier()))


def _require_columns(member: SourceSpec, shaper: Shaper, good: Sequence[_Shaped]) -> None:
    """Refuse a mapped column that no row has."""
    for seen in good:
        shaper.document(seen.row.values)
    wanted = {role: ", ".join(paths) for role, paths in member.columns.items() if role != METADATA}
    wanted |= {"document": member.documents["*"]} if "*" in member.documents else {}
    missing = [role for role in wanted if role not in shaper.found]
    if good and missing:
        role = missing[0]
        setting = "data.document" if role == "document" else f"data.columns.{role}"
        there = {column for seen in good for column in seen.row.values}
        raise DataError(
            f"{setting} names '{wanted[role]}', which no row of '{member.source}' has; it has {listed(there)}"
        )


def _is_foreign(formatter: PromptFormatter, host: PluginHost) -> bool:
    owner = host.provided("formatter")[formatter.name][1]
    return owner not in BUILTIN_PLUGINS


class _Formatting:
    """Formats rows with the formatter that was chosen for them."""

    def __init__(
        self,
        chosen: tuple[PromptFormatter, FormatterChoice | None],
        shaper: Shaper,
        account: MemberAccount | None,
        host: PluginHost,
        name: str,
    ) -> None:
        formatter, self._choice = chosen
        self._format: Callable[[Mapping[str, Any]], Example] = formatter.format
        self._formatter, self._shaper, self._account = formatter, shaper, account
        self._watched, self._name = _is_foreign(formatter, host), name
        if account is not None:
            account.use(formatter)
        self._labels = tuple(getattr(formatter, "label_columns", ()))
        self._texts = () if self._watched else _text_columns(formatter)

    def example(self, seen: _Shaped) -> tuple[Example | None, str]:
        """Return the example of a row, or what is wrong with it."""
        row, values = seen
        if self._labels:
            values = self._shaper.with_labels(values, self._labels)
        if self._texts:
            values = self._shaper.with_texts(values, self._texts)
        if self._choice is not None and not self._choice.agrees(values, self._formatter):
            return None, f"its columns fit another formatter than '{self._formatter.name}', which most rows fit"
        given = Watched(values) if self._watched else values
        example, fault = _formatted(
            self._format, given, row.row_id, lambda found: self._shaper.document(row.values, self._source_of(found))
        )
        if (null := _NULL.fullmatch(fault)) and (mark := self._shaper.mark_in(row.values, null[1])):
            fault = f"column '{null[1]}' holds {mark!r}, which stands for a missing value"
        if self._account is not None:
            if example is None:
                self._account.note_refused(values)
            else:
                self._account.note(row.values, values, example, given.read if isinstance(given, Watched) else ())
        return example, fault

    def _source_of(self, example: Example) -> str:
        return example.source or self._name


def _text_columns(formatter: PromptFormatter) -> tuple[str, ...]:
    """Return the columns of a formatter in which a number can only be meant as text."""
    found: set[str] = set()
    for kind in ("columns", "optional_columns"):
        found |= set(getattr(formatter, kind, ()))
    for kind in ("numbered_options", "counted_from_zero"):
        found -= set(getattr(formatter, kind, {}))
    return tuple(sorted(found - LIST_ROLES - {"source"}))


def _formatted(
    format_row: Callable[[Mapping[str, Any]], Example],
    values: Mapping[str, Any],
    row_id: str,
    document_of: Callable[[Example], str],
) -> tuple[Example | None, str]:
    """Return the example with an id, or what is wrong with the row."""
    try:
        example = format_row(values)
        fault = _fault(example)
        document = "" if fault else document_of(example)
    except MalformedRowError as error:
        return None, str(error)
    except (PluginError, NetworkRefusedError):  # not the row's fault
        raise
    except Exception as error:  # noqa: BLE001 - a user's formatter may raise anything, and quote the row
        return None, f"the formatter raised {type(error).__name__}"
    if fault:
        return None, fault
    if example.row_id and not document:
        return example, ""
    # Written out: dataclasses.replace takes three times as long, and this runs for every row.
    found = Example(
        example.messages, example.source, example.task, example.row_id or row_id, document or example.document
    )
    return found, ""


def _fault(example: Any) -> str:
    """Say what makes an example unusable, without its text; empty when nothing does."""
    if not isinstance(example, Example):
        return f"the formatter returned a {type(example).__name__}, not an Example"
    messages = cast("Sequence[Mapping[str, Any]]", example.messages)  # a user's formatter may put anything there
    if len(messages) < 2 or messages[-1].get("role") != "assistant":  # noqa: PLR2004 - a question and an answer
        return "the conversation does not end with an answer of the assistant"
    for message in messages:
        content = message.get("content")
        if not isinstance(content, str) or message.get("role") not in _ROLES:
            return "a message has no text, or a role other than system, user and assistant"
        reasoning = message.get("reasoning_content", "")
        if not isinstance(reasoning, str):
            return "a 'reasoning_content' is no text"
        if not (is_utf8(content) and is_utf8(reasoning)):
            return "a text holds half a character (a lone surrogate)"
        if control := _CONTROL.search(content) or _CONTROL.search(reasoning):
            return f"a text holds the control character U+{ord(control[0]):04X}{_named(control[0])}"
    answer = messages[-1]["content"].strip()
    if stands_for_nothing(answer):
        return f"the answer is {answer!r}, which stands for a missing value"
    return "" if answer else "the answer is empty"


def _named(control: str) -> str:
    if control == "\0":
        return " (NUL)"
    return "" if control.isascii() else ", as text has that was read in another encoding than its own"
