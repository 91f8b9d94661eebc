"""The account of one source: of each column, what stands in the examples, was declared metadata, or is read by nobody."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from shlex import quote
from typing import Any, cast

from medtune.data.column_counts import ColumnCounts, texts_in
from medtune.data.formatters.answer_texts import AnswerShare, is_answer_name, share_of
from medtune.data.option_columns import OptionColumns
from medtune.data.refused_numbers import RefusedNumbers, number_of
from medtune.data.shaping import METADATA, Shaper, reach
from medtune.data.sources.names import is_plain
from medtune.data.sources.reading import SourceNotes
from medtune.errors import DataError
from medtune.plugins.contracts import Example, PromptFormatter
from medtune.specs import SourceSpec

__all__ = ["OTHERS", "MemberAccount"]

_TOLERATED = 0.02
"""Share of a source's text that may be unread."""
_EARLY_ROWS = 2000
"""Rows after which a share means something before the end; twice as much must be unread then."""
_MOST_PATHS = 300
"""Paths that are told apart: objects may have keys that are data."""
OTHERS = "(others)"
_COMPARED = 500
_SHORT = 40
"""Characters of a label, which a formatter may write in other words."""
_ENOUGH_ROWS = 40
"""Rows among which one option of four is never right by chance about once in a hundred thousand sets."""


class MemberAccount:
    """The account of one source; ``note`` is called for every row that became an example.

    A text is read when it stands in a turn of the example: what a formatter declares is not believed of long texts.
    """

    def __init__(self, name: str, member: SourceSpec, shaper: Shaper, notes: SourceNotes) -> None:
        self._name, self._member, self._shaper, self._notes = name, member, shaper, notes
        self.rows = self.earlier_answers = 0
        self._answer, self._formatter_name, self.refuses = "", "", True
        self._shares: dict[str, AnswerShare] = {}
        self._columns: dict[str, ColumnCounts] = {}
        self._known: frozenset[str] = frozenset()
        self._metadata: frozenset[str] = shaper.metadata
        self._formatter: PromptFormatter | None = None
        self._zero_based: Mapping[str, tuple[int, str]] = {}
        self._numbers: dict[str, set[int]] = {}
        self._refused = RefusedNumbers()
        self._options = OptionColumns((), (), "")

    def use(self, formatter: PromptFormatter) -> None:
        """Take down which formatter reads the rows, and what it declares."""
        self._formatter, self._formatter_name = formatter, formatter.name
        declared = [getattr(formatter, name, ()) for name in ("columns", "optional_columns")]
        self._known = frozenset(column for names in declared for column in names) | {"source"}
        self._metadata = self._shaper.metadata | frozenset(getattr(formatter, "metadata_columns", ()))
        self._zero_based = getattr(formatter, "counted_from_zero", {})
        self._options = OptionColumns(declared[0], self._known | self._metadata, getattr(formatter, "further_text", ""))
        self._refused.use(*(getattr(formatter, n, ()) for n in ("numbered_options", "label_columns", "class_columns")))

    def note(
        self, raw: Mapping[str, Any], row: Mapping[str, Any], example: Example, read: Collection[str] = ()
    ) -> None:
        """Account for one row.

        Args:
            raw: as read.
            row: as its formatter got it.
            example: what the formatter made of it.
            read: columns that the formatter was seen to look at.
        """
        self.rows += 1
        turns, self._answer = example.messages, example.messages[-1]["content"]
        said = "\n".join([text for m in turns for text in (m["content"], m.get("reasoning_content", "")) if text])
        if len(turns) > 2:  # noqa: PLR2004 - more than one exchange
            self.earlier_answers += sum(m["role"] == "assistant" for m in turns) - 1
        for column, value in row.items():
            if column in self._metadata:
                continue
            if value.__class__ is str:
                self._text(column, value, said, known=column in read)
            elif value is not None:
                self._value(column, value, said, known=column in read)
            elif column not in self._columns:
                self._of(column)  # so that an empty column is listed too
        for column in self._metadata:
            self._text_of_metadata(column, reach(raw, column))
        self._note_numbers(row)
        self._refused.note_accepted(row)
        self._options.note(row)
        if self.rows == _EARLY_ROWS:
            self._require_read(2 * _TOLERATED)

    def note_refused(self, row: Mapping[str, Any]) -> None:
        """Take down the numbers of a row that could not be used."""
        self._note_numbers(row)
        self._refused.note(row)

    def _note_numbers(self, row: Mapping[str, Any]) -> None:
        for column in self._zero_based:
            if (number := number_of(row.get(column))) is not None:
                self._numbers.setdefault(column, set()).add(number)

    def ways(self) -> str:
        """Return how rows that could not be used become readable, empty where it is not known."""
        return self._refused.advice(self._member.labels)

    def remedy(self) -> dict[str, Any]:
        """Return the settings of ``data`` that make refused rows readable, where the rows tell: labels or a formatter."""
        if (other := self._one_based()) is not None:
            return {"formatter": other[1]}
        ways = self._refused.letters(self._member.labels)
        return {"labels": ways[0]} if len(ways) == 1 else {}

    def unread_text(self) -> dict[str, float]:
        """Return path -> share of the text that nothing reads; empty where all of it together is little."""
        return self._unread(_TOLERATED)

    def _of(self, path: str) -> ColumnCounts:
        found = self._columns.get(path)
        if found is None:
            if len(self._columns) >= _MOST_PATHS:
                path = OTHERS
            found = self._columns.setdefault(path, ColumnCounts())
        return found

    def _text(self, path: str, value: str, said: str, *, known: bool) -> None:
        counts = self._of(path)
        counts.rows += 1
        counts.characters += len(value)
        if known or value in said:
            return
        bare = value.strip()
        if bare in said or (path in self._known and (len(bare) <= _SHORT or path == "source")):
            return
        counts.see_unread(bare)
        if counts.rows <= _COMPARED:
            self._shares.setdefault(path, share_of(path)).note(bare, self._answer)

    def _value(self, path: str, value: Any, said: str, *, known: bool) -> None:
        """Account for what is no text: numbers, and the texts inside lists and objects."""
        if isinstance(value, Mapping):
            for key, inner in cast("Mapping[str, Any]", value).items():
                step = f"{path}.{key}" if is_plain(key) else f"{path}.*"
                if inner is not None and step.replace("[]", "") not in self._metadata:
                    self._inner(step, inner, said, known)
        elif isinstance(value, list | tuple):
            self._elements(f"{path}[]", cast("Sequence[Any]", value), said, known)
        else:
            counts = self._of(path)
            counts.rows += 1
            if path not in self._known:
                counts.see_value(value)

    def _inner(self, path: str, value: Any, said: str, known: bool) -> None:
        if value.__class__ is str:
            self._text(path, value, said, known=known)
        elif value is not None:
            self._value(path, value, said, known=known)

    def _elements(self, path: str, values: Sequence[Any], said: str, known: bool) -> None:
        if values and all(value.__class__ is str for value in values) and (known or " ".join(values) in said):
            counts = self._of(path)
            counts.rows += 1
            counts.characters += sum(map(len, values))
            return
        for value in values:
            self._inner(path, value, said, known)

    def _text_of_metadata(self, path: str, value: Any) -> None:
        if value is not None:
            counts = self._of(path)
            counts.rows += 1
            counts.characters += sum(map(len, texts_in(value)))

    def check_numbers(self) -> None:
        """Raise DataError when options are counted from 1 where the formatter counts from 0, or classes have no names."""
        if not self._member.labels and (nameless := self._refused.nameless()):
            raise DataError(f"{nameless} ('{self._member.source}')")
        if (found := self._one_based()) is not None:
            column, other = found
            raise DataError(
                f"column '{column}' of '{self._member.source}' holds 1 to {max(self._numbers[column])} and never 0: these are "
                f"1-based, and formatter '{self._formatter_name}' counts from 0; set data.formatter={other}"
            )

    def _one_based(self) -> tuple[str, str] | None:
        """Return the column whose numbers begin with 1, and the formatter that counts so."""
        for column, (options, other) in self._zero_based.items():
            found = self._numbers.get(column, set())
            certain = self.rows >= _ENOUGH_ROWS or max(found, default=0) == options
            if found and min(found) == 1 and max(found) <= options and certain:
                return column, other
        return None

    def check(self) -> None:
        """See ``Account.check``."""
        self.check_numbers()
        self._require_read(_TOLERATED)

    def _unread(self, tolerated: float) -> dict[str, float]:
        total = sum(counts.characters for counts in self._columns.values())
        unread = {path: c.unread for path, c in self._columns.items() if c.kind == "text"}
        if not total or sum(unread.values()) <= tolerated * total:
            return {}
        return {path: unread[path] / total for path in sorted(unread, key=lambda path: -unread[path])}

    def _require_read(self, tolerated: float) -> None:
        refusal = self._options.refusal(f"{self._name}rows of '{self._member.source}'", self._member.columns)
        if refusal and self.refuses:
            raise DataError(refusal)
        unread = self._unread(tolerated)
        if not unread or not self.refuses:
            return
        shown = " and ".join(f"'{path}' ({share:.0%})" for path, share in list(unread.items())[:5] if is_plain(path))
        raise DataError(
            f"{sum(unread.values()):.0%} of the text of the {self._name}rows of '{self._member.source}' is read by "
            f"nothing: {shown or 'columns whose names look like text'}; {self._advice(next(iter(unread)))}"
        )

    def _advice(self, path: str) -> str:
        """Say how an unread column can be read, or declared."""
        column = path.replace("[]", "")
        if not is_plain(path) or "*" in path:
            return "give such columns plain names (letters, digits, _), so that data.columns can name them"
        others = ",".join((*sorted(self._shaper.metadata), column))
        declare = f"declare it with --set {quote(f'data.columns.{METADATA}={others}')}"
        if self.tells_answer(path):
            return f"it holds the answer, or what explains it, so a prompt must not: {declare}"
        if not (way := self.reading_of(path)):
            return f"take a formatter that reads it, or {declare}"
        return f"read it with --set {quote(way)}, or {declare}"

    def tells_answer(self, column: str) -> bool:
        """Whether a column nobody reads would tell the answer: by its name, or by its text in most rows."""
        return is_answer_name(column) or (column in self._shares and self._shares[column].tells)

    def reading_of(self, column: str) -> str:
        """Return the setting by which the formatter reads a further column of text; empty for none, or an answer's."""
        role = getattr(self._formatter, "further_text", None)
        if role is None or "[]" in column or "." in column or self.tells_answer(column):
            return ""
        before = self._member.columns.get(role, (role,) if role in self._columns else ())
        return f"data.columns.{role}={','.join((*before, column))}"

    def to_json(self) -> dict[str, Any]:
        """Return rows, files, columns and what is worth a look."""
        return {
            "source": self._member.source,
            "formatter": self._formatter_name,
            "rows": self.rows,
            "earlier_answers": self.earlier_answers,
            **self._notes.to_json(),
            "columns": self._table(),
            "advice": list(self._hints()),
        }

    def _table(self) -> list[dict[str, Any]]:
        total = sum(counts.characters for counts in self._columns.values()) or 1
        return [
            {
                "column": _shown(path) if path not in self._known else path,
                "state": self._state(path, counts),
                "rows": counts.rows,
                "share": round(counts.characters / total, 6),
                "unread_share": round(counts.unread / total, 6),
                "missing": self._shaper.missing.get(path, 0),
            }
            for path, counts in self._columns.items()
        ]

    def _state(self, path: str, counts: ColumnCounts) -> str:
        if path in self._metadata:
            return "metadata"
        if path and path in self._member.documents.values():
            return "document"
        if path == "source":
            return "source"
        if path in self._known or (counts.characters and not counts.unread):
            return "read" if not counts.unread else "partly read"
        if not counts.characters:
            return "numbers, unread" if counts.rows else "empty"
        return f"{counts.kind}, {'unread' if counts.unread == counts.characters else 'partly read'}"

    def _hints(self) -> Iterator[str]:
        """Yield what nobody is asked to mend, and everybody should know."""
        yield from self._refused.codes()
        for path, counts in self._columns.items():
            if not self._member.documents and counts.names_documents(path, self.rows):
                yield (
                    f"column '{path}' has {counts.values:,} values in {self.rows:,} rows: if it names patients, notes or "
                    f"documents, set {quote(f'data.document={path}')}, so that rows of one are not held out from the others"
                )


def _shown(path: str) -> str:
    return path if is_plain(path) or path == OTHERS else "(unnamed)" if not path else "(name looks like text)"
