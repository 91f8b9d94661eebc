"""Reads the recipes beside this file, and tells by its size which official split some rows are."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from medtune.errors import UnknownNameError

__all__ = ["Pack", "PackSplit", "Published", "find_pack", "packs", "split_of"]


@dataclass(frozen=True, slots=True)
class PackSplit:
    """An official split.

    Attributes:
        name: "train", "dev" or "test".
        files: names under which it is published.
        documents: in it; None where no count could be verified.
        rows: sentences or questions in it, as published copies count them; empty where none could be verified.
    """

    name: str
    files: Sequence[str] = ()
    documents: int | None = None
    rows: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """A figure that somebody published.

    Attributes:
        system: what was measured.
        split: on which official split.
        metric: the figure of medtune's that is counted in the same way.
        value: between 0 and 1.
        citation: where it stands.
    """

    system: str
    split: str
    metric: str
    value: float
    citation: str


@dataclass(frozen=True, slots=True)
class Pack:
    """A benchmark set.

    Attributes:
        name: what `medtune import --pack` takes.
        title: its own name.
        task: of medtune's tasks, the one that scores it.
        format: of `medtune import`; empty where none reads its files.
        ask: what `medtune import --task` has rows ask.
        home: where it is published.
        licence: its terms, as far as they could be verified.
        citation: of the set.
        note: what else a user should know.
        sources: where the counts come from.
        splits: official ones.
        published: figures with the way they were counted.
        types: kinds of entity that the published figures tell apart; 0 for other tasks.
    """

    name: str
    title: str
    task: str
    format: str
    ask: str
    home: str
    licence: str
    citation: str
    note: str
    sources: str
    splits: Sequence[PackSplit]
    published: Sequence[Published]
    types: int = 0

    def split(self, name: str) -> PackSplit:
        """Return a split by its name; UnknownNameError where there is none."""
        known = {split.name: split for split in self.splits}
        if name not in known:
            raise UnknownNameError(f"split of {self.title}", name, known)
        return known[name]

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return asdict(self)


@lru_cache(maxsize=1)
def packs() -> Mapping[str, Pack]:
    """Return name -> recipe, by name."""
    folder = files("medtune.evaluation.packs")
    found = [_read(f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".toml")]
    return {pack.name: pack for pack in sorted(found, key=lambda pack: pack.name)}


def find_pack(name: str) -> Pack:
    """Return a recipe by its name; UnknownNameError, with the near misses, where there is none."""
    if name not in packs():
        raise UnknownNameError("pack", name, packs())
    return packs()[name]


def split_of(task: str, rows: int, documents: int) -> tuple[Pack, PackSplit] | None:
    """Return the one official split that has a task's rows and documents; None where none has, or several have.

    Args:
        task: that scores the rows.
        rows: how many there are, of one source.
        documents: that they name; 0 where they name none.
    """
    found = [
        (pack, split)
        for pack in packs().values()
        for split in pack.splits
        if pack.task == task and rows in split.rows and (not documents or split.documents in (None, documents))
    ]
    return found[0] if len(found) == 1 else None


def _read(text: str) -> Pack:
    values = tomllib.loads(text)
    splits = [PackSplit(name, **split) for name, split in values.pop("splits", {}).items()]
    published = [Published(**each) for each in values.pop("published", [])]
    return Pack(splits=splits, published=published, **values)
