"""What a check is, and where all of them are found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medtune.testing.conformance.bench import Bench
from medtune.testing.conformance.subject import Subject

__all__ = ["Case", "Check", "NotTriedError", "all_checks", "check"]


class NotTriedError(Exception):
    """A check does not apply here, or cannot be tried; says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a check looks at.

    Attributes:
        subject: the plugin.
        bench: what the checks of a plugin share.
        kind: of the thing, "observer", or "plugin" for the plugin as a whole.
        name: of the thing; empty for the plugin and its observers.
        thing: the thing; of an observer the plugin.
    """

    subject: Subject
    bench: Bench
    kind: str
    name: str
    thing: Any

    @property
    def label(self) -> str:
        """What is checked, in words."""
        return f"{self.kind} '{self.name}'" if self.name else f"{self.kind} '{self.subject.label}'"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is wanted of a plugin.

    Attributes:
        name: stable, such as "formatter-same-answer"; what ``expected_failed_checks`` takes.
        kinds: what it is tried on.
        wants: what is wanted, as a sentence.
        test: returns what was found instead as a sentence, None where all is right.
        is_heavy: whether it needs the machine learning libraries, which are then imported before it is watched.
    """

    name: str
    kinds: tuple[str, ...]
    wants: str
    test: Callable[[Case], str | None]
    is_heavy: bool = False


_CHECKS: dict[str, Check] = {}


def check(
    name: str, kinds: str, wants: str, *, is_heavy: bool = False
) -> Callable[[Callable[[Case], str | None]], Callable[[Case], str | None]]:
    """Return a decorator that registers a check; ``kinds`` are separated by spaces."""

    def register(function: Callable[[Case], str | None]) -> Callable[[Case], str | None]:
        _CHECKS[name] = Check(name, tuple(kinds.split()), wants, function, is_heavy)
        return function

    return register


def all_checks() -> list[Check]:
    """Return every check, in the order in which they are tried.

    >>> from medtune.testing.conformance import all_checks
    >>> len(all_checks()) > 40
    True
    """
    from medtune.testing.conformance import (
        adapters,
        bundles,
        calls,
        exporters,
        formatters,
        generators,
        loading,
        observers,
        quantizers,
        readers,
        tasks,
        things,
        trainers,
    )

    rooms = (
        loading,
        things,
        formatters,
        tasks,
        bundles,
        observers,
        quantizers,
        adapters,
        trainers,
        generators,
        exporters,
        readers,
    )
    order = [room.__name__ for room in (*rooms, calls)]
    return sorted(_CHECKS.values(), key=lambda each: order.index(each.test.__module__))
