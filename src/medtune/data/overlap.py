"""Finds training rows that also stand among the evaluation rows: exactly, but for case and marks, or nearly."""

import hashlib
import re
import string
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medtune.plugins.contracts import Example

__all__ = ["KINDS", "OverlapFinder"]

KINDS = ("exact", "normalised", "near")
"""Same text; same question but for case, spaces and punctuation; half of the n-grams that tell an evaluation row apart."""

_GRAM = 13  # tokens; shorter runs recur by chance in clinical language
_SHARED = 0.5  # share of an evaluation row's own n-grams that make a near duplicate
_SHARED_BY = 2  # evaluation rows that may share an n-gram before it counts as paraphrase, not content
_MET_IN = (20, 1000)  # so many training rows, and one more per thousand, may hold it before it counts as paraphrase
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 2**64)
_CAPITALS = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_MARKS = bytes(c for c in range(128) if not chr(c).isalnum())
_ANY_MARK = re.compile(r"[\W_]+")


@dataclass
class OverlapFinder:
    """Compares training rows with a fixed set of evaluation rows.

    Args:
        examples: evaluation rows.
        token_ids: their ids, one array each.

    Attributes:
        counts: source -> kind -> training rows found.
        evaluation_rows: ids of evaluation rows that have a counterpart in the training rows.
    """

    examples: Sequence[Example]
    token_ids: Sequence[Any]
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    evaluation_rows: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self._exact = {_digest(_text(e)): e.row_id for e in self.examples}
        self._normalised = {_digest(_bare(e)): e.row_id for e in self.examples}
        self._grams = _GramIndex(self.token_ids)

    def find(self, examples: Sequence[Example], token_ids: Sequence[Any]) -> list[str | None]:
        """Return the kind of overlap of each training row, None for none, and count it."""
        if not self.examples:
            return [None] * len(examples)
        near = self._grams.near(token_ids)
        found = [self._kind(example, near.get(i)) for i, example in enumerate(examples)]
        for example, kind in zip(examples, found, strict=True):
            if kind:
                self.counts[example.source][kind] += 1
        return found

    def _kind(self, example: Example, near: int | None) -> str | None:
        match = self._exact.get(_digest(_text(example)))
        if match is not None:
            self.evaluation_rows.add(match)
            return "exact"
        match = self._normalised.get(_digest(_bare(example)))
        if match is not None:
            self.evaluation_rows.add(match)
            return "normalised"
        if near is not None:
            self.evaluation_rows.add(self.examples[near].row_id)
            return "near"
        return None


class _GramIndex:
    """The n-grams that tell evaluation rows apart, and which rows hold each.

    Text that rows of one task share, such as the instruction, is left out: n-grams of several evaluation rows from
    the start, and those that many training rows turn out to hold as they are met.
    """

    def __init__(self, token_ids: Sequence[Any]) -> None:
        import numpy as np

        rows = [np.unique(_rolling(ids)) for ids in token_ids]
        grams = np.concatenate(rows) if rows else np.empty(0, dtype=np.uint64)
        owners = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        values, where, times = np.unique(grams, return_inverse=True, return_counts=True)
        own = times[where] <= _SHARED_BY
        self._values = values[times <= _SHARED_BY]
        self._owner_grams = np.searchsorted(self._values, grams[own])  # entry -> n-gram, and entry -> row that holds it
        self._owners = owners[own]
        self._by_gram = np.argsort(self._owner_grams, kind="stable")
        self._first = np.searchsorted(self._owner_grams[self._by_gram], np.arange(len(self._values) + 1))
        self._met = np.zeros(len(self._values), dtype=np.int64)
        self._seen = 0
        self._count = len(rows)
        bits = max(10, int(16 * len(self._values)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(2**bits, dtype=bool)
        self._filter[self._values >> self._shift] = True

    def near(self, token_ids: Sequence[Any]) -> dict[int, int]:
        """Return training row -> evaluation row, for rows that hold enough of an evaluation row's n-grams."""
        import numpy as np

        if not len(self._values) or not token_ids:
            return {}
        rows, grams = self._hits(token_ids)
        self._met += np.bincount(grams, minlength=len(self._values))
        self._seen += len(token_ids)
        content = self._met <= _MET_IN[0] + self._seen // _MET_IN[1]
        needed = np.ceil(_SHARED * np.bincount(self._owners[content[self._owner_grams]], minlength=self._count))
        rows, grams = rows[content[grams]], grams[content[grams]]
        lengths = self._first[grams + 1] - self._first[grams]
        starts = np.repeat(self._first[grams] - np.cumsum(lengths) + lengths, lengths)
        owners = self._owners[self._by_gram[starts + np.arange(lengths.sum())]]
        pairs, shared = np.unique(np.repeat(rows, lengths) * self._count + owners, return_counts=True)
        enough = shared >= needed[pairs % self._count]
        ranked = np.argsort(shared[enough], kind="stable")  # the best match comes last, and stays in the mapping
        found = pairs[enough][ranked]
        return dict(zip((found // self._count).tolist(), (found % self._count).tolist(), strict=True))

    def _hits(self, token_ids: Sequence[Any]) -> tuple[Any, Any]:
        """Return training row and n-gram number of each n-gram known here, once per row."""
        import numpy as np

        lengths = np.array([len(ids) for ids in token_ids])
        grams = _rolling(np.concatenate(token_ids))
        maybe = np.flatnonzero(self._filter[grams >> self._shift])  # spares nearly all of the binary searches
        number = np.searchsorted(self._values, grams[maybe])
        number[number == len(self._values)] = 0
        ends = np.cumsum(lengths)
        row = np.searchsorted(ends, maybe, side="right")
        known = (self._values[number] == grams[maybe]) & (maybe + _GRAM <= ends[row])
        once = np.unique(row[known] * len(self._values) + number[known])
        return once // len(self._values), once % len(self._values)


def _rolling(ids: Any) -> Any:
    """Return a hash of every run of ``_GRAM`` tokens, uint64 [tokens - n + 1], modulo 2**64.

    Prefix sums of id * base**position, brought back to position 0 by the inverse, instead of a pass per token of a run.
    """
    import numpy as np

    values = np.asarray(ids).astype(np.uint64) + np.uint64(1)
    if len(values) < _GRAM:
        return np.empty(0, dtype=np.uint64)
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * _powers(_BASE, len(values)), out=sums[1:])
    count = len(values) - _GRAM + 1
    return (sums[_GRAM:] - sums[:-_GRAM]) * _powers(_INVERSE, count)


def _powers(base: int, count: int) -> Any:
    import numpy as np

    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, out=powers)


def _text(example: Example) -> str:
    return "\x00".join(m["content"] for m in example.messages)


def _bare(example: Example) -> str:
    """Return the question without case, spaces and marks."""
    question = "".join(m["content"] for m in example.messages[:-1])
    if question.isascii():  # a tenth of the time
        return question.encode().translate(_CAPITALS, _MARKS).decode()
    return _ANY_MARK.sub("", unicodedata.normalize("NFKC", question).casefold())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
