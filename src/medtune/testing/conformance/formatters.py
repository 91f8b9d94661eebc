"""Checks on formatters."""

# pyright: reportUnnecessaryIsInstance=false
# What foreign code gives may be anything, whatever its types say.

import copy
import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from medtune.plugins.contracts import Example
from medtune.testing.conformance.bench import CANARY
from medtune.testing.conformance.checks import Case, NotTriedError, check
from medtune.testing.conformance.samples import STOCK_ROWS, hostile_rows, rows_of_columns

__all__: list[str] = []

_ROLES = {"system", "user", "assistant"}
_MISSING = object()


@check("formatter-columns", "formatter", "columns and optional_columns are sets or lists of names; version is a text.")
def has_columns(case: Case) -> str | None:
    """Look at what is declared."""
    for name in ("columns", "optional_columns"):
        value = getattr(case.thing, name, ())
        if isinstance(value, str) or not isinstance(value, set | frozenset | list | tuple):
            return f"{name} is a {type(value).__name__}"
        if not all(isinstance(each, str) and each for each in value):
            return f"{name} holds something else than names"
    version = getattr(case.thing, "version", None)
    return None if version is None or isinstance(version, str) else f"version is a {type(version).__name__}"


@check(
    "formatter-example", "formatter", "format returns an Example: turns with role and content, an answer as the last."
)
def gives_example(case: Case) -> str | None:
    """Format the sample rows."""
    for row in _rows(case):
        problem = _problem(case.thing.format(copy.deepcopy(row)))
        if problem:
            return problem
    return None


@check(
    "formatter-same-answer", "formatter", "format gives equal examples for equal rows, whatever it was given between."
)
def is_deterministic(case: Case) -> str | None:
    """Format each row three times, other rows between."""
    rows = _rows(case)
    first = [copy.deepcopy(case.thing.format(copy.deepcopy(row))) for row in rows]
    for _again in range(2):
        for example, row in reversed(list(zip(first, rows, strict=True))):
            if case.thing.format(copy.deepcopy(row)) != example:
                return "another example came of an equal row"
    return None


@check("formatter-keeps-row", "formatter", "format leaves the row as it is, lists and mappings inside it too.")
def keeps_row(case: Case) -> str | None:
    """Compare with a copy."""
    for row in _rows(case):
        given = copy.deepcopy(row)
        case.thing.format(given)
        if repr(given) != repr(row):
            changed = [key for key in row if repr(given.get(key, _MISSING)) != repr(row[key])]
            return f"changed {', '.join(changed) or 'the columns'} of the row"
    return None


@check("formatter-any-mapping", "formatter", "format takes any mapping, such as a read-only one.")
def takes_mapping(case: Case) -> str | None:
    """Hand it a read-only row."""
    for row in _rows(case):
        if case.thing.format(MappingProxyType(copy.deepcopy(row))) != case.thing.format(copy.deepcopy(row)):
            return "another example came of a read-only row"
    return None


@check(
    "formatter-own-turns",
    "formatter",
    "Each example has turns of its own: a later call does not change an earlier one.",
)
def owns_turns(case: Case) -> str | None:
    """Keep an example while others are made."""
    rows = _rows(case)
    kept = [case.thing.format(copy.deepcopy(row)) for row in rows]
    before = [copy.deepcopy(each) for each in kept]
    for row in reversed(rows):
        case.thing.format(copy.deepcopy(row))
    return "an earlier example changed" if kept != before else None


@check("formatter-uses-row", "formatter", "Different rows give different examples.")
def uses_row(case: Case) -> str | None:
    """Compare the examples of different rows."""
    rows = _rows(case)
    if len(rows) < 2:  # noqa: PLR2004 - two to compare
        raise NotTriedError("there is one sample row only; give the formatter `samples`, at least two")
    texts = {repr(case.thing.format(copy.deepcopy(row)).messages) for row in rows}
    return "all sample rows gave the same turns" if len(texts) == 1 else None


@check("formatter-bad-rows", "formatter", "For a bad row format raises an Exception, or returns a whole Example.")
def survives_bad_rows(case: Case) -> str | None:
    """Spoil each column in turn."""
    for what, row in hostile_rows(_rows(case)[0]):
        found = _formatted(case, row)
        problem = _problem(found) if found is not None else None
        if problem:
            return f"a row {what}: {problem}"
    return None


@check(
    "formatter-no-none", "formatter", "A column that is null or NaN does not become the word 'None' or 'nan' in a turn."
)
def writes_no_none(case: Case) -> str | None:
    """Null each column in turn."""
    row = _rows(case)[0]
    for column in row:
        for value in (None, float("nan")):
            found = _formatted(case, {**row, column: value})
            turns = found.messages if isinstance(found, Example) else ()
            if any(str(value) in _words(turn) for turn in turns) and str(value) not in repr(row):
                return f"'{column}' {value} was written as a word"
    return None


@check(
    "formatter-round-trip",
    "formatter",
    "Through a chat template, the answer alone is supervised, once, to its end.",
    is_heavy=True,
)
def survives_round_trip(case: Case) -> str | None:
    """Encode the rows as training does, and decode what is supervised."""
    from transformers import AutoTokenizer

    from medtune.tuner import MedTuner

    rows = _rows(case)
    tuner = MedTuner.from_bundle("demo", data=[copy.deepcopy(row) for row in rows], formatter=_Renamed(case.thing))
    encoded = tuner.preview(len(rows))
    if "tokenizer" not in {key for key, _name in case.bench.kept}:
        case.bench.kept["tokenizer", ""] = AutoTokenizer.from_pretrained(str(tuner.spec.model.path))
    tokenizer: Any = case.bench.kept["tokenizer", ""]
    answers = [case.thing.format(copy.deepcopy(row)).messages[-1] for row in rows]
    thought = any("reasoning_content" in answer for answer in answers)  # which then comes before the answer
    wanted = tuple(_plain(answer["content"]) for answer in answers)
    for each in encoded:
        start = each.supervised.index(1) if 1 in each.supervised else len(each.supervised)
        if set(each.supervised[start:]) != {1}:
            return "what is supervised is not one stretch that ends with the row"
        text = _plain(tokenizer.decode(each.input_ids[start:], skip_special_tokens=True))
        if not (text.endswith(wanted) if thought else text in wanted):
            return "what is supervised is not the answer"
    return None


class _Renamed:
    """The formatter under a name that no other one has."""

    name = "formatter-in-conformance-kit"

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def format(self, row: Mapping[str, Any]) -> Example:
        """Format by the thing."""
        found: Example = self._thing.format(row)
        return found


def _rows(case: Case) -> list[dict[str, Any]]:
    """Return sample rows: the formatter's own, or those that its columns allow, or stock rows that it takes."""
    if inspect.iscoroutinefunction(case.thing.format):
        raise NotTriedError("format is a coroutine")
    key = f"rows of {case.kind}", case.name
    if key not in case.bench.kept:
        own: Sequence[Mapping[str, Any]] = getattr(case.thing, "samples", ())
        case.bench.kept[key] = [dict(row) for row in own] or _taken(case)
    rows: list[dict[str, Any]] = case.bench.kept[key]
    if not rows:
        raise NotTriedError("it took no stock row; give the formatter `samples`, a list of rows that it takes")
    return rows


def _taken(case: Case) -> list[dict[str, Any]]:
    columns = getattr(case.thing, "columns", ())
    columns = sorted(columns) if isinstance(columns, set | frozenset | list | tuple) else []
    offered = [dict(row) for row in STOCK_ROWS if set(columns) <= row.keys()]
    for rows in (offered, rows_of_columns(columns) if columns else []):
        taken = [row for row in rows if _formatted(case, row) is not None]
        if taken:
            return taken
    return []


def _formatted(case: Case, row: Mapping[str, Any]) -> Any:
    """Return what comes of a row, None where it is refused; note a refusal that quotes the row."""
    try:
        return case.thing.format(copy.deepcopy(dict(row)))
    except Exception as error:  # noqa: BLE001 - any refusal will do
        if type(error).__name__ == "MalformedRowError" and CANARY in str(error):
            case.bench.of(case.label).quoted.append("in the sentence of a MalformedRowError")
        return None


def _problem(found: Any) -> str | None:
    """Return what is wrong with an example."""
    if not isinstance(found, Example):
        return f"format returned a {type(found).__name__}"
    if isinstance(found.messages, str) or not isinstance(found.messages, Sequence) or not found.messages:
        return f"its messages are a {type(found.messages).__name__} that holds no turns"
    for turn in found.messages:
        if not isinstance(turn, Mapping) or turn.get("role") not in _ROLES or not isinstance(turn.get("content"), str):
            return "a turn has no role of system, user and assistant with a text as content"
    if found.messages[-1]["role"] != "assistant":
        return "the last turn is not the assistant's"
    for name in ("source", "row_id", "document"):
        if not isinstance(getattr(found, name), str):
            return f"{name} is a {type(getattr(found, name)).__name__}"
    if not (found.task is None or isinstance(found.task, str)):
        return f"task is a {type(found.task).__name__}"
    return None


def _words(turn: Mapping[str, Any]) -> list[str]:
    return [word.strip(".,:;!?()[]'\"") for word in str(turn["content"]).split()]


def _plain(text: str) -> str:
    """Return text without white space, which a template may strip."""
    return "".join(text.split())
