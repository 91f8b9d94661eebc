"""Reads the locked requirements: releases, and the hashes of their files."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["LOCKS", "ROOT", "Locked", "read_lock", "read_locks"]

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-torch.lock")
"""What `make test` installs; requirements-cuda.lock belongs to one of torch's builds."""

_HASH = re.compile(r" --hash=sha256:([0-9a-f]{64})(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Locked:
    """A release, by the canonical name of its package, and the SHA-256 of each of its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def read_lock(text: str) -> list[Locked]:
    """Return the releases of a lock; raises ValueError for a line that is none."""
    lines = text.replace("\\\n", " ").splitlines()
    return [_locked(line) for line in lines if line.strip() and not line.startswith("#")]


def read_locks(root: Path = ROOT) -> list[Locked]:
    """Return the releases of all locks that `make test` installs."""
    return [each for name in LOCKS for each in read_lock((root / name).read_text("utf-8"))]


def _locked(line: str) -> Locked:
    told = Requirement(_HASH.sub("", line))
    (pin,) = told.specifier
    if pin.operator != "==":
        raise ValueError(f"no locked release: '{line}'")
    return Locked(canonicalize_name(told.name), pin.version, str(told.marker or ""), tuple(_HASH.findall(line)))
