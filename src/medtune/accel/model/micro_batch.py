"""Chooses the few samples on which a run's loss is proved: of unlike lengths, out of the first rows that it trains on."""

from collections.abc import Iterator
from dataclasses import replace

from medtune.data.leaks import part_of
from medtune.errors import DataError
from medtune.plugins.contracts import PackedRow, PackedRows

__all__ = ["SMALLEST", "choose_rows"]

SMALLEST = 48
"""Tokens below which fewer prove nothing."""
_LOOKED_AT = 64
_TOGETHER = 3
_SHORTEST = 4
"""Tokens of a sample in which one half can be changed and the other looked at."""
_UNMARKED = 4
"""Share, as its inverse, of a sample's end that is given loss where the sample has none."""


def choose_rows(rows: PackedRows, first: int, vocabulary: int, most_tokens: int, *, packs: bool) -> list[PackedRow]:
    """Return rows of samples that stand for a run's micro-batch, each with loss in every sample.

    Three samples, a middle one, a long and a short one, share a row where the run packs. A variant of the middle one, with the same
    prompt and another answer, stands alone in the next row, so that a common prefix is there too.

    Args:
        rows: the training rows.
        first: how many of them to look at, more where these hold fewer than three samples.
        vocabulary: number of token ids.
        most_tokens: of all samples together; longer samples lose their ends.
        packs: whether samples share rows.

    Raises:
        DataError: no sample has as many as four tokens.
    """
    found = sorted(_samples(rows, first), key=lambda row: len(row.input_ids))
    if not found:
        raise DataError(
            f"no training row holds a sample of {_SHORTEST} tokens or more; nothing can be proved or learnt"
        )
    middle, long, short = found[len(found) // 2], found[-1], found[0]
    half = max(_SHORTEST, most_tokens // 2)
    chosen = [_with_loss(_cut(row, most)) for row, most in ((middle, half // 3), (long, half), (short, half // 3))]
    alone = _varied(chosen[0], vocabulary)
    return [*([_joined(chosen)] if packs else chosen), alone]


def _samples(rows: PackedRows, first: int) -> Iterator[PackedRow]:
    """Yield the samples of the first rows, each alone, and of further ones until there are three."""
    count = 0
    for number in range(min(len(rows), max(first, _LOOKED_AT))):
        if number >= first and count >= _TOGETHER:
            return
        row = rows[number]
        for place, length in enumerate(row.lengths):
            if length >= _SHORTEST:
                count += 1
                yield part_of(row, [place])


def _cut(row: PackedRow, most: int) -> PackedRow:
    return part_of(row, [0], max(_SHORTEST, most))


def _with_loss(row: PackedRow) -> PackedRow:
    """Return the sample with loss on its end where it has none: a base can be proved on a prompt as well."""
    if any(row.supervised[1:]):
        return row
    length = len(row.input_ids)
    begins = length - max(1, length // _UNMARKED)
    return replace(row, supervised=[int(place >= begins) for place in range(length)])


def _varied(row: PackedRow, vocabulary: int) -> PackedRow:
    """Return the sample with other tokens where it has loss."""
    pairs = zip(row.input_ids, row.supervised, strict=True)
    return replace(row, input_ids=[(int(i) + 1) % vocabulary if marked else int(i) for i, marked in pairs])


def _joined(samples: list[PackedRow]) -> PackedRow:
    return PackedRow(
        input_ids=[int(i) for row in samples for i in row.input_ids],
        supervised=[int(s) for row in samples for s in row.supervised],
        lengths=[len(row.input_ids) for row in samples],
        samples=[row.samples[0] for row in samples],
    )
