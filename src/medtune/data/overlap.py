"""Finds training rows that also stand among the evaluation rows: exactly, but for case and marks, or nearly."""

import hashlib
import string
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medtune.plugins.contracts import Example

__all__ = ["KINDS", "OverlapFinder"]

KINDS = ("exact", "normalised", "near")
"""Same text; same but for case, spaces and punctuation; half of the n-grams that tell an evaluation row apart."""

_GRAM = 13  # tokens; shorter runs recur by chance in clinical language
_SHARED = 0.5  # share of an evaluation row's own n-grams that make a near duplicate
_COMMON = 2  # evaluation rows that may share an n-gram before it counts as wording of the instruction
_BASE = 1_000_003  # odd multiplier of the rolling hash, modulo 2**64
_MARKS = dict.fromkeys(map(ord, string.punctuation + string.whitespace + "\x00"))


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
        self._index_grams()

    def find(self, examples: Sequence[Example], token_ids: Sequence[Any]) -> list[str | None]:
        """Return the kind of overlap of each training row, None for none, and count it."""
        if not self.examples:
            return [None] * len(examples)
        near = self._near(token_ids)
        found = [self._kind(example, near.get(i)) for i, example in enumerate(examples)]
        for example, kind in zip(examples, found, strict=True):
            if kind:
                self.counts[example.source][kind] += 1
        return found

    def _kind(self, example: Example, near: int | None) -> str | None:
        for kind, known, text in (
            ("exact", self._exact, _text(example)),
            ("normalised", self._normalised, _bare(example)),
        ):
            match = known.get(_digest(text))
            if match is not None:
                self.evaluation_rows.add(match)
                return kind
        if near is not None:
            self.evaluation_rows.add(self.examples[near].row_id)
            return "near"
        return None

    def _index_grams(self) -> None:
        """Sort the n-grams of the evaluation rows, without those that several rows share."""
        import numpy as np

        rows = [np.unique(_grams(ids)) for ids in self.token_ids]
        grams = np.concatenate(rows) if rows else np.empty(0, dtype=np.uint64)
        owners = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        values, where, times = np.unique(grams, return_inverse=True, return_counts=True)
        own = times[where] <= _COMMON
        order = np.argsort(grams[own], kind="stable")
        self._grams, self._owners = grams[own][order], owners[own][order]
        self._needed = np.maximum(1, np.ceil(_SHARED * np.bincount(self._owners, minlength=len(rows))))
        self._known = values[times <= _COMMON]

    def _near(self, token_ids: Sequence[Any]) -> dict[int, int]:
        """Return training row -> evaluation row for rows that share enough n-grams."""
        import numpy as np

        if not len(self._known):
            return {}
        lengths = np.array([len(ids) for ids in token_ids])
        grams = _grams(np.concatenate(token_ids))
        last = np.repeat(np.cumsum(lengths), lengths)[: len(grams)]
        position = np.searchsorted(self._known, grams)
        position[position == len(self._known)] = 0
        inside = (self._known[position] == grams) & (np.arange(len(grams)) + _GRAM <= last)
        hits: dict[int, set[Any]] = defaultdict(set)
        rows = np.repeat(np.arange(len(lengths)), lengths)[: len(grams)][inside]
        for row, gram in zip(rows.tolist(), grams[inside], strict=True):
            hits[row].add(gram)
        return {row: best for row, shared in hits.items() if (best := self._best(shared)) is not None}

    def _best(self, grams: set[Any]) -> int | None:
        owners: Counter[int] = Counter()
        for gram in grams:
            at = int(self._grams.searchsorted(gram))
            while at < len(self._grams) and self._grams[at] == gram:
                owners[int(self._owners[at])] += 1
                at += 1
        owner, times = owners.most_common(1)[0]
        return owner if times >= self._needed[owner] else None


def _grams(ids: Any) -> Any:
    """Return the rolling hash of every run of ``_GRAM`` tokens, uint64 [tokens - n + 1]."""
    import numpy as np

    values = np.asarray(ids).astype(np.uint64)
    count = max(0, len(values) - _GRAM + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(_GRAM):
        hashes = hashes * np.uint64(_BASE) + (values[offset : offset + count] + np.uint64(1))
    return hashes


def _text(example: Example) -> str:
    return "\x00".join(m["content"] for m in example.messages)


def _bare(example: Example) -> str:
    """Return the prompt without case, spaces and marks."""
    return "".join(m["content"] for m in example.messages[:-1]).lower().translate(_MARKS)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
