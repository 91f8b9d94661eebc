"""Columns of tokens and tags: CoNLL files of two to ten columns, and their kin."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from medtune.data.importers.documents import Sentence, Told
from medtune.data.importers.reading import Input, lines_of, open_text
from medtune.data.importers.schemes import split_tag
from medtune.errors import DataError, SpecError

__all__ = ["UNREAD_TAGS", "looks_like_columns", "read_columns"]

UNREAD_TAGS = "sentences with a tag that is none of B, I, O, E, S, L, U and M"

_TAG = re.compile(r"[BIESLUM](?:[-_].+)?|O|.+[-_][BIESLUM]")
_DOCUMENT = re.compile(r"-DOCSTART-(?:[\s(]+(.*?)\)?)?\s*$")
_NAMED = re.compile(r"#+\s*(?:newdoc(?:\s+id)?|doc(?:ument)?(?:_id)?|MEDLINE|PMID)\s*[:=]?\s*(\S+).*", re.IGNORECASE)
_COMMENT = re.compile(r"#[ #\t]|#$|##|# ?\w+ ?=")
_SAMPLE = 5000
"""Lines by which the columns are told apart."""
_TAGS = 0.95
"""Share of a column that must be tags; what is not is counted when it is read."""
_TYPE = re.compile(r"[A-Za-z][\w /+&.-]{0,39}")
_MOST_TYPES = 50
_FEW_TYPES = 2
_OUTSIDE = 0.2
"""Share of a column of types without a prefix that must be O, so that other columns of a few words are none."""
_FEWEST, _MOST = 2, 10
_DELIMITERS = ("\t", "||", None)
"""None is white space."""


class _Layout(NamedTuple):
    """Where token and tag stand, from 0, what separates columns, and the line that names them, empty where none does.

    ``bare`` says that tags are types without a prefix, or O.
    """

    delimiter: str | None
    columns: int
    token: int
    tag: int
    header: str
    bare: bool = False


def looks_like_columns(lines: Sequence[str]) -> bool:
    """Whether lines are columns with one of tags among them; the last line may be cut off."""
    return _layout(_data_lines(lines[:-1] or lines), None, None) is not None


def read_columns(source: Input, told: Told) -> Iterator[Sentence]:
    """Yield the sentences of a file of columns.

    The tag column is the last one that holds B, I, O, E, S, L, U or M tags, nearly nothing else, or O and a few types without
    a prefix (IO); the token column is the first other one that does not hold numbers alone. Blank lines end sentences, ``-DOCSTART-`` and comments that name one begin
    documents.

    Raises:
        DataError: no column holds tags.
        SpecError: a column that the user names is not there.
    """
    with open_text(source.path, source.encoding, told) as text:
        sample = [line for _number, line in islice(lines_of(text), _SAMPLE)]
    layout = _layout(_data_lines(sample), source.token_column, source.tag_column)
    if layout is None:
        raise DataError(
            f"'{source.path}' has no column of tags such as O, B-Disease and I-Disease, or O and Disease; name it with "
            "--tag-column"
        )
    with open_text(source.path, source.encoding, told) as text:
        yield from _Reader(source, layout, told).sentences(lines_of(text))


class _Reader:
    """Gathers lines to sentences."""

    def __init__(self, source: Input, layout: _Layout, told: Told) -> None:
        self._name, self._layout, self._told = source.path.name, layout, told
        self._document = ""
        self._documents = 0
        self._begin(1)

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        number = 0
        for number, line in lines:
            if not line.strip() or (line == self._layout.header and not self._tokens):
                yield from self._end(number + 1)
            elif named := self._named(line):
                yield from self._end(number + 1)
                self._document = named
            elif not self._is_comment(line):
                self._take(line)
        yield from self._end(number + 1)

    def _begin(self, number: int) -> None:
        self._tokens, self._tags = list[str](), list[str]()
        self._first, self._fault = number, ""

    def _end(self, following: int) -> Iterator[Sentence]:
        place = f"{self._name}:{self._first}"
        if self._fault:
            self._told.leave_out(self._fault, place)
        elif self._tokens:
            yield Sentence(self._document, place, self._tokens, self._tags, self._layout.bare)
        self._begin(following)

    def _named(self, line: str) -> str:
        """Return the document that a line begins, empty for another line."""
        if found := _DOCUMENT.match(line):
            self._documents += 1
            named = " ".join(w for w in (found[1] or "").split() if w not in {"O", "X", "_", "-X-", "-"}).strip("()")
            return named or f"{self._name}#{self._documents}"
        found = _NAMED.match(line)
        return found[1] if found and not self._holds_token(line) else ""

    def _is_comment(self, line: str) -> bool:
        return _COMMENT.match(line) is not None and not self._holds_token(line)

    def _holds_token(self, line: str) -> bool:
        """Whether a line that looks like a comment has all columns and a tag: its token is a number sign then."""
        fields = _split(line, self._layout.delimiter)
        return len(fields) == self._layout.columns and split_tag(self._tag(fields))[0] != "?"

    def _tag(self, fields: Sequence[str]) -> str:
        """Return the tag of a line, with its prefix."""
        tag = fields[self._layout.tag].strip()
        return f"I-{tag}" if self._layout.bare and split_tag(tag)[0] == "?" and _TYPE.fullmatch(tag) else tag

    def _take(self, line: str) -> None:
        fields = _split(line, self._layout.delimiter)
        if self._layout.token == 1 and re.fullmatch(r"\d+[-.]\d+", fields[0]):
            return  # CoNLL-U: a range of words, or an empty one
        if len(fields) <= max(self._layout.token, self._layout.tag):
            self._fault = "sentences with a line of too few columns"
            return
        token, tag = " ".join(fields[self._layout.token].split()), self._tag(fields)
        if not token:
            self._fault = "sentences with an empty token"
        elif split_tag(tag)[0] == "?":
            self._fault = UNREAD_TAGS
        self._tokens.append(token)
        self._tags.append(tag)


def _layout(lines: Sequence[str], token: int | None, tag: int | None) -> _Layout | None:
    """Return how columns stand, None when no column holds tags."""
    if not lines:
        return None
    delimiter = next((d for d in _DELIMITERS if d is None or 2 * sum(d in line for line in lines) > len(lines)), None)
    rows = [_split(line, delimiter) for line in lines]
    columns = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [row for row in rows if len(row) == columns]
    if not _FEWEST <= columns <= _MOST or 2 * len(rows) < len(lines):
        return None
    for name, given in (("--token-column", token), ("--tag-column", tag)):
        if given is not None and given > columns:
            raise SpecError(f"{name} {given} is not there: the file has {columns} columns")
    found, header = (tag - 1 if tag else _tag_column(rows, columns)), ""
    if found is None and len(rows) > 1:
        found, header, rows = _tag_column(rows[1:], columns), lines[0], rows[1:]
    if found is None:
        return None
    words = [c for c in range(columns) if c != found and not all(_is_number(row[c]) for row in rows)]
    at = token - 1 if token else (words or [1 if found == 0 else 0])[0]
    values = Counter(row[found].strip() for row in rows)
    return _Layout(delimiter, columns, at, found, header, not _are_tags(values) and _are_types(values))


def _tag_column(rows: Sequence[Sequence[str]], columns: int) -> int | None:
    """Return the last column of tags: nearly all of them are, and some are O or have a type; or of bare types and O."""
    for column in reversed(range(columns)):
        values = Counter(row[column].strip() for row in rows)
        if _are_tags(values) or _are_types(values):
            return column
    return None


def _are_tags(values: Counter[str]) -> bool:
    tags = sum(times for value, times in values.items() if value == "_" or _TAG.fullmatch(value))
    known = "O" in values or any("-" in value for value in values)
    return known and tags >= _TAGS * values.total() and not _are_types(values)


def _are_types(values: Counter[str]) -> bool:
    """Whether these are O, often, and a few types, none of them with a prefix."""
    types = [value for value in values if value not in ("O", "_", "-")]
    plain = all(split_tag(value)[0] == "?" and _TYPE.fullmatch(value) for value in types)
    return (
        plain and 0 < len(types) <= _MOST_TYPES and values["O"] >= _OUTSIDE * values.total() and _repeat(values, types)
    )


def _repeat(values: Counter[str], types: Sequence[str]) -> bool:
    """Whether types come again, as labels do and the words of a text do not."""
    return len(types) <= _FEW_TYPES or 2 * len(types) <= sum(values[value] for value in types)


def _data_lines(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.strip() and not _DOCUMENT.match(line) and not _COMMENT.match(line)]


def _split(line: str, delimiter: str | None) -> list[str]:
    return line.split() if delimiter is None else line.rstrip("\t ").split(delimiter)


def _is_number(value: str) -> bool:
    return re.fullmatch(r"\d+(?:[-.]\d+)?", value.strip()) is not None
