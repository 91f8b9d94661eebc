"""Which terms a repository is under, as its own card says; read off the cache, asking for nothing."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from medtune.data.hub.repository import Repository

__all__ = ["stated_terms"]

_HEAD = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


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
    import yaml

    values: Any = None
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        head = _HEAD.match(card.read_text("utf-8"))
        values = yaml.safe_load(head[1]) if head else None
    if not isinstance(values, dict):
        return None
    licence: Any = values.get("license")
    if licence == "other":
        licence = values.get("license_name") or licence
    found = ", ".join(map(str, licence)) if isinstance(licence, list) else licence
    return " ".join(str(found).split())[:200] if found else None
