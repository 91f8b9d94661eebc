"""Finds the identifiers in a text, by rules and word lists alone."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from medtune.data.identifiers.dates import find_dates
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.labelled import find_labelled
from medtune.data.identifiers.links import find_links
from medtune.data.identifiers.machine_lines import find_in_lines
from medtune.data.identifiers.name_dictated import find_dictated
from medtune.data.identifiers.names import find_names
from medtune.data.identifiers.numbers import find_numbers
from medtune.data.identifiers.places import find_places
from medtune.data.identifiers.places_beside import find_places_beside
from medtune.data.identifiers.plain_form import plain_form
from medtune.data.identifiers.text import read_text

__all__ = ["find_identifiers"]

_RULES = (find_links, find_labelled, find_numbers, find_in_lines, find_dates, find_places, find_names, find_dictated)
"""In the order in which the kind of a place is told, where two rules find it."""
_BESIDE = frozenset({Kind.NAME, Kind.DATE, Kind.PLACE})
"""Kinds beside which a place may stand."""
_SHORT = 400
"""Characters of a text that may come again."""
_LAST = frozenset({Kind.OTHER_NUMBER})
"""Kinds that any other one goes before."""


def find_identifiers(text: str) -> list[Finding]:
    """Return where identifiers stand in a text, in order and apart from each other.

    >>> [(f.kind.value, "Seen on 3 May 2021 by Dr. Harrow"[f.start:f.end]) for f in find_identifiers("Seen on 3 May 2021 by Dr. Harrow")]
    [('date', '3 May 2021'), ('name', 'Harrow')]
    """
    if not text or text.isspace():
        return []
    if len(text) <= _SHORT:
        return list(_of_short(text))
    return _found(text)


@lru_cache(maxsize=2048)
def _of_short(text: str) -> tuple[Finding, ...]:
    """Return the same of a short text; an instruction that every row repeats is looked at once."""
    return tuple(_found(text))


def _found(text: str) -> list[Finding]:
    plain = plain_form(text)
    seen = read_text(plain.text)
    found = [finding for rule in _RULES for finding in rule(seen)]
    found += find_places_beside(seen, [each for each in found if each.kind in _BESIDE])
    return [Finding(each.kind, *plain.original(each.start, each.end)) for each in _apart(found)]


def _apart(found: Iterable[Finding]) -> Iterator[Finding]:
    """Join findings that overlap; the joined one has the kind of the first rule that found one of them."""
    ranked = [(finding, rank + 1000 * (finding.kind in _LAST)) for rank, finding in enumerate(found)]
    ranked.sort(key=lambda each: (each[0].start, -each[0].end))
    current: tuple[Finding, int] | None = None
    for finding, rank in ranked:
        if current is None:
            current = finding, rank
        elif finding.start < current[0].end:
            kept, best = current
            kind, best = (finding.kind, rank) if rank < best else (kept.kind, best)
            current = Finding(kind, kept.start, max(kept.end, finding.end)), best
        else:
            yield current[0]
            current = finding, rank
    if current is not None:
        yield current[0]
