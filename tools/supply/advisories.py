"""Compares locked releases and the floors of pyproject.toml with the stored advisories."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from supply.locks import ROOT, Locked

__all__ = ["Advisories", "floors", "read_advisories"]


@dataclass(frozen=True, slots=True)
class Advisories:
    """Advisories as TOML values, and the day up to which they are known."""

    as_of: date
    entries: tuple[Mapping[str, Any], ...]

    def against(self, releases: Iterable[tuple[str, str]], *, accept_unreached: bool) -> Iterator[str]:
        """Yield a sentence for each advisory that names one of these (package, version)."""
        found = {canonicalize_name(name): Version(version) for name, version in releases}
        for entry in self.entries:
            version = found.get(canonicalize_name(entry["package"]))
            if version is None or version >= Version(entry["below"]):
                continue
            if not (accept_unreached and entry.get("unreached")):
                yield f"{entry['package']} {version} is below {entry['below']}: {entry['what']} ({entry['ids'][0]})"

    def of_locks(self, locks: Iterable[Locked]) -> Iterator[str]:
        """Yield what names a locked release."""
        return self.against(((each.name, each.version) for each in locks), accept_unreached=False)


def read_advisories(path: Path = ROOT / "tools" / "advisories.toml") -> Advisories:
    """Return the stored advisories."""
    values = tomllib.loads(path.read_text("utf-8"))
    return Advisories(values["as_of"], tuple(values["advisory"]))


def floors(pyproject: str) -> list[tuple[str, str]]:
    """Return (package, lowest version that is allowed) for each requirement of a pyproject.toml, extras included."""
    project = tomllib.loads(pyproject)["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    found = [(each.name, re.search(r">=([^,]+)", str(each.specifier))) for each in map(Requirement, lines)]
    return [(name, floor[1]) for name, floor in found if floor]
