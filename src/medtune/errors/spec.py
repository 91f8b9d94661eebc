"""A spec or an argument that cannot be used as written."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from medtune.errors.root import MedtuneError

__all__ = [
    "BaseUnsuitedError",
    "InvalidValueError",
    "Mistake",
    "SpecChangedError",
    "SpecError",
    "SpecValidationError",
    "UnknownKey",
    "UnknownKeyError",
    "UnknownNameError",
    "UnknownSetError",
    "UnsupportedVersionError",
]


class SpecError(MedtuneError):
    """The spec, or a command line argument, cannot be used as written."""

    exit_code = 2


class UnknownKey(NamedTuple):
    """A key that no field has.

    Attributes:
        key: dotted.
        where: file and line, or its place in the spec.
        known: keys that may stand there.
        meant: what the key of another program means here; empty where none is known to have it.
    """

    key: str
    where: str
    known: tuple[str, ...]
    meant: str = ""

    def told(self) -> str:
        """Return a sentence on it."""
        return f"unknown key '{self.key}' at {self.where}; {self.meant or _nearest(self.key.rpartition('.')[2], self.known)}"


class UnknownKeyError(SpecError):
    """A spec holds a key that no field has, or several: ``keys`` has all of them, ``key`` the first."""

    def __init__(
        self, key: str, where: str, known: Iterable[str], meant: str = "", further: Sequence[UnknownKey] = ()
    ) -> None:
        self.key, self.where, self.known = key, where, sorted(known)
        self.keys = (UnknownKey(key, where, tuple(self.known), meant), *further)
        foreign = sum(bool(each.meant) for each in self.keys)
        taken = "; medtune init --from CONFIG makes a spec of another program's configuration" if foreign > 1 else ""
        super().__init__("; ".join(each.told() for each in self.keys) + taken)


class InvalidValueError(SpecError):
    """A spec field has a value of the wrong type or outside its range, or fields (then ``field`` is empty) that do not go together."""

    def __init__(self, field: str, where: str, reason: str) -> None:
        self.field, self.where, self.reason = field, where, reason
        named = f"'{field}' at {where}" if field else where
        super().__init__(f"{named} cannot be used: {reason}")


class Mistake(NamedTuple):
    """What is wrong at one place of a spec.

    Attributes:
        location: keys from the spec down to the value.
        is_unknown: whether no field has that key.
        reason: why the value cannot be used; of an unknown key, what another program's key of that name means here, if any has one.
    """

    location: tuple[str, ...]
    is_unknown: bool
    reason: str


class SpecValidationError(SpecError, ValueError):
    """A spec cannot be made of the values that it was given in Python; a ValueError too, as pydantic's own is."""

    def __init__(self, spec: str, mistakes: Sequence[Mistake], known: Iterable[str] = ()) -> None:
        self.spec, self.mistakes, self.known = spec, tuple(mistakes), sorted(known)
        super().__init__("; ".join(map(self._told, self.mistakes)))

    def _told(self, mistake: Mistake) -> str:
        field = ".".join(mistake.location)
        if not mistake.is_unknown:
            return (
                f"'{field}' of {self.spec} cannot be used: {mistake.reason}"
                if field
                else f"{self.spec}: {mistake.reason}"
            )
        known = f"; {_nearest(field, self.known)}" if len(mistake.location) == 1 else ""
        return f"unknown key '{field}' of {self.spec}{f'; {mistake.reason}' if mistake.reason else known}"


class UnknownNameError(SpecError):
    """No plugin registered a backend, formatter, task or bundle of this name."""

    def __init__(
        self, kind: str, name: str, registered: Iterable[str], disabled: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.kind, self.name, self.registered, self.disabled = kind, name, sorted(registered), dict(disabled)
        lost = "".join(
            f"; plugin '{plugin}', which may have it, is not used: {why}" for plugin, why in disabled.items()
        )
        super().__init__(f"no {kind} named '{name}'; {_nearest(name, self.registered, 'registered')}{lost}")


class UnknownSetError(SpecError):
    """The cache holds no prepared set whose key begins so, or several."""

    def __init__(self, key: str, cache: str, matches: int) -> None:
        self.key, self.cache, self.matches = key, cache, matches
        found = f"{matches} prepared sets whose keys begin" if matches else "no prepared set whose key begins"
        super().__init__(f"the cache '{cache}' has {found} with '{key}'; `medtune cache list` has all of them")


class SpecChangedError(SpecError):
    """A run cannot be resumed, because its spec, data set or prompt contract is no longer the one it began with."""

    def __init__(self, path: str, changes: Sequence[str]) -> None:
        self.path, self.changes = path, tuple(changes)
        told = "; ".join(self.changes)
        super().__init__(
            f"run '{path}' cannot be resumed with other settings: {told}; restore them, or choose another output_dir"
        )


class UnsupportedVersionError(SpecError):
    """An installed library lacks, or has changed, what medtune relies on."""

    def __init__(self, library: str, installed: str, fault: str, tested: tuple[str, str]) -> None:
        self.library, self.installed, self.fault, self.tested = library, installed, fault, tested
        releases = " to ".join(dict.fromkeys(tested))
        super().__init__(f"{library} {installed} {fault}; medtune is tested with {releases}: install one of these")


class BaseUnsuitedError(SpecError):
    """A base model cannot be used for what the spec asks; ``check`` names the check that found it."""

    def __init__(self, check: str, base: str, problem: str, instead: str) -> None:
        self.check, self.base, self.problem, self.instead = check, base, problem, instead
        super().__init__(f"the base '{base}' {problem}; {instead}")


def _nearest(word: str, known: Sequence[str], label: str = "known here") -> str:
    """Say which known names come closest to ``word``, or list them all."""
    listing = f"{label}: " + (", ".join(f"'{k}'" for k in known) or "nothing")
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'? {listing}" if close else listing
