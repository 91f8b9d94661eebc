"""Which terms a repository is under, as its own card says; read off the cache, asking for nothing."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from medtune.data.hub.repository import Repository
from medtune.specs.bounded import bounded_text, yaml_value

__all__ = ["stated_terms"]

_HEAD = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


_LONGEST_CARD = 2**20


def stated_terms(repository: Repository) -> str | None:
    """Return a sentence on the terms of a repository; None while its card is not in the cache."""
    commit = repository.cached_commit()
    snapshot = repository.at(commit).snapshot if commit else Path()
    if commit is None or not snapshot.is_dir():
        return None
    stated = _stated(snapshot / "README.md")
    if stated is None:
        return f"{repository.name}: its card on the hub states no licence; ask its owner before you use it"
    return f"{repository.name}: {stated}, as its card on the hub says"


def _stated(card: Path) -> str | None:
    values: Any = None
    with suppress(OSError, ValueError):
        head = _HEAD.match(bounded_text(card, _LONGEST_CARD))
        values = yaml_value(head[1]) if head else None
    if not isinstance(values, dict):
        return None
    licence: Any = values.get("license")
    if licence == "other":
        licence = values.get("license_name") or licence
    found = ", ".join(map(str, licence)) if isinstance(licence, list) else licence
    return " ".join(str(found).split())[:200] if found else None
