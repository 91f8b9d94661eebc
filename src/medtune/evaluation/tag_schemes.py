"""Which scheme labels of tokens are written in: read as IOB2, whatever it is."""

from collections.abc import Iterable, Sequence
from typing import Literal

from medtune.evaluation.spans import OUTSIDE, Label, spans_of

__all__ = ["Scheme", "as_iob2", "fits_iob1", "scheme_of"]

Scheme = Literal["IOB2", "IOB1"]
"""IOB2, and every scheme in which an entity's first token has a prefix of its own (BIOES, BILOU, BMES); or IOB1."""

_IOB2_PREFIX = {"B": "B", "I": "I", "O": "O", "S": "B", "U": "B", "E": "I", "L": "I", "M": "I"}
"""Single, unit, end, last and middle, as IOB2 says them."""


def scheme_of(sentences: Iterable[Sequence[Label]]) -> Scheme:
    """Tell IOB1 from the others: there entities begin with I, and B only parts one from its neighbour of the same type.

    One sentence can be both, so all of a source are needed. In the other schemes no entity begins with I.

    Args:
        sentences: labels as they are written.
    """
    found: Scheme = "IOB2"
    for labels in sentences:
        if not fits_iob1(labels):
            return "IOB2"
        if spans_of(labels, strict=False) != spans_of(labels, strict=True):
            found = "IOB1"
    return found


def fits_iob1(labels: Sequence[Label]) -> bool:
    """Whether every B parts two neighbours of one type."""
    before = OUTSIDE
    for label in labels:
        if label.prefix not in "IO" and (label.prefix != "B" or before.prefix == "O" or before.type != label.type):
            return False
        before = label
    return True


def as_iob2(labels: Sequence[Label], scheme: Scheme = "IOB2") -> list[Label]:
    """Return the labels of a sentence in IOB2.

    >>> as_iob2([Label("S", "DRUG"), Label("O"), Label("B", "SITE"), Label("E", "SITE")])[3]
    Label(prefix='I', type='SITE')
    >>> as_iob2([Label("I"), Label("I"), Label("B")], "IOB1")
    [Label(prefix='B', type=''), Label(prefix='I', type=''), Label(prefix='B', type='')]
    """
    if scheme == "IOB2":
        return [label if label.prefix in "BIO" else Label(_IOB2_PREFIX[label.prefix], label.type) for label in labels]
    begins = {span.start for span in spans_of(labels, strict=False)}
    return [Label("B", label.type) if place in begins else label for place, label in enumerate(labels)]
