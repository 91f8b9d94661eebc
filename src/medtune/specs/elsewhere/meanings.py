"""What a key of another program can mean here: the same, something changed, nothing that is offered, or nothing that is needed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "ABSENT",
    "CHANGED",
    "NOT_NEEDED",
    "REFUSED",
    "SAME",
    "UNKNOWN",
    "Finding",
    "Meaning",
    "Outcome",
    "Program",
    "changed",
    "is_off",
    "jointly",
    "one_of",
    "refused",
    "same",
    "unneeded",
]

SAME, CHANGED, REFUSED, NOT_NEEDED, UNKNOWN = "same", "changed", "refused", "not needed", "unknown"


class _Absent:
    """Stands for no value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


class Outcome(NamedTuple):
    """What becomes of one value, where that is not what becomes of every value of its key.

    Attributes:
        verdict: one of those above.
        why: a few words.
        value: of the spec's field, ABSENT for none.
    """

    verdict: str
    why: str
    value: Any = ABSENT


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a key means.

    Attributes:
        verdict: what becomes of it.
        field: dotted field of a spec that it stands for; empty where there is none.
        why: a few words.
        take: from its value to that of the field, or to an outcome of its own.
    """

    verdict: str
    field: str = ""
    why: str = ""
    take: Callable[[Any], Any] = lambda value: value


class Finding(NamedTuple):
    """What became of one key of a configuration.

    Attributes:
        key: as it was written; in brackets where nothing was.
        value: as it was written.
        verdict: one of those above.
        field: dotted field of the spec, empty for none.
        why: a few words.
    """

    key: str
    value: Any
    verdict: str
    field: str = ""
    why: str = ""


def _nothing(_given: Mapping[str, Any], _values: dict[str, Any]) -> Iterator[Finding]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Program:
    """A training program whose configurations can be read.

    Attributes:
        name: what it is called.
        keys: key -> meaning.
        marks: keys that hardly another program has.
        defaults: dotted field -> value where no key was given, as far as medtune's own default is another one.
        notes: what differs whatever is configured: what, and how.
        finish: given all keys and the values of fields so far, completes these by what several keys say together.
    """

    name: str
    keys: Mapping[str, Meaning]
    marks: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[tuple[str, str], ...] = ()
    finish: Callable[[Mapping[str, Any], dict[str, Any]], Iterator[Finding]] = _nothing


def same(dotted: str, why: str = "", take: Callable[[Any], Any] = lambda value: value) -> Meaning:
    """Return the meaning of a key that a field has too."""
    return Meaning(SAME, dotted, why, take)


def changed(dotted: str, why: str, take: Callable[[Any], Any] = lambda value: value) -> Meaning:
    """Return the meaning of a key that a field has with another effect; without a field, what is done instead."""
    return Meaning(CHANGED, dotted, why, take if dotted else lambda _value: ABSENT)


def is_off(value: Any) -> bool:
    """Whether a value switches nothing on."""
    return value is None or value is False or value in (0, "", "no", "none", "None") or value in ([], {}, ())


def refused(why: str) -> Meaning:
    """Return the meaning of a key that nothing here stands for; one that is off is not needed."""
    return Meaning(
        REFUSED,
        "",
        why,
        lambda value: Outcome(NOT_NEEDED, "is off there, and not offered here") if is_off(value) else ABSENT,
    )


def unneeded(why: str, *names: str) -> dict[str, Meaning]:
    """Return name -> meaning of keys that change no result."""
    return {name: Meaning(NOT_NEEDED, "", why, lambda _value: ABSENT) for name in names}


def jointly(dotted: str, why: str = "") -> Meaning:
    """Return the meaning of a key that says its field together with others, which ``Program.finish`` reads."""
    return Meaning(SAME, dotted, why, lambda _value: ABSENT)


def one_of(names: Mapping[Any, Any], why: str, otherwise: str = REFUSED) -> Callable[[Any], Any]:
    """Return a taker of known values; another one has the verdict ``otherwise``."""

    def take(value: Any) -> Any:
        try:
            return names[value]
        except (KeyError, TypeError):
            return Outcome(otherwise, why)

    return take
