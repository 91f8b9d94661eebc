"""From rows to what an encoder reads: subwords of each word, windows, and the labels that carry loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medtune.backends.encoder_windows import Window, windows
from medtune.plugins.contracts import EncoderKind, EncoderRow

__all__ = ["IGNORED", "Inputs", "Piece"]

IGNORED = -100
"""Label of a token that carries no loss."""
_PROBE = "a"


@dataclass(frozen=True, slots=True)
class Piece:
    """A window of a row, ready for the encoder.

    Attributes:
        row: number of the row.
        ids: token ids, the encoder's own first and last tokens included.
        heads: place in ``ids`` of the first subword of each word that the window answers for; empty for whole texts.
        first: number of the first such word.
    """

    row: int
    ids: Sequence[int]
    heads: Sequence[int] = ()
    first: int = 0


class Inputs:
    """Cuts rows into pieces.

    Args:
        tokenizer: of the encoder.
        kind: what is answered.
        max_length: tokens of a piece.
        overlap: share that the next piece reads again.
    """

    def __init__(self, tokenizer: Any, kind: EncoderKind, max_length: int, overlap: float) -> None:
        self._tokenizer, self._kind, self._overlap = tokenizer, kind, overlap
        whole: list[int] = tokenizer(_PROBE)["input_ids"]
        bare: list[int] = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
        start = next(i for i in range(len(whole) - len(bare) + 1) if whole[i : i + len(bare)] == bare)
        self._before, self._after = whole[:start], whole[start + len(bare) :]
        self.room = max_length - len(self._before) - len(self._after)
        self.cut_words = self.long_rows = 0

    def pieces(self, rows: Sequence[EncoderRow]) -> list[Piece]:
        """Return the pieces of rows, in order; counts rows of several pieces, and words that are longer than a piece."""
        return [piece for number, row in enumerate(rows) for piece in self._pieces(number, row)]

    def targets(self, piece: Piece, row: EncoderRow, labels: int) -> list[int] | list[float]:
        """Return what a piece of a row is trained on: a label or ``IGNORED`` per token, the label, or 0.0 and 1.0 per label."""
        if self._kind is EncoderKind.LABEL:
            return [row.labels[0]]
        if self._kind is EncoderKind.LABELS:
            return [float(label in row.labels) for label in range(labels)]
        targets = [IGNORED] * len(piece.ids)
        for number, head in enumerate(piece.heads, piece.first):
            targets[head] = row.labels[number]
        return targets

    def _pieces(self, number: int, row: EncoderRow) -> list[Piece]:
        units = self._units(row)
        found = windows([len(ids) for ids in units], self.room, self._overlap)
        self.long_rows += len(found) > 1
        return [self._piece(number, units, window) for window in found]

    def _units(self, row: EncoderRow) -> list[list[int]]:
        """Return the ids of each word, or each token of a text by itself.

        A word of which the tokenizer keeps nothing, such as a lone control character, is an unknown one: it needs a label.
        """
        if self._kind is not EncoderKind.TAGS:
            ids: list[int] = self._ids([row.text[0]])[0]
            return [[token] for token in ids]
        words = self._ids([f" {word}" for word in row.text])  # as byte-level vocabularies know them inside a text
        self.cut_words += sum(len(ids) > self.room for ids in words)
        return [ids[: self.room] or [self._tokenizer.unk_token_id] for ids in words]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return found

    def _piece(self, row: int, units: Sequence[Sequence[int]], window: Window) -> Piece:
        ids, heads = list(self._before), list[int]()
        for number in range(window.start, window.end):
            if window.first <= number < window.last:
                heads.append(len(ids))
            ids += units[number]
        ids += self._after
        return Piece(row, ids, heads if self._kind is EncoderKind.TAGS else (), window.first)
