"""Imports a benchmark set by its recipe, and holds what was read against the official sizes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtune.data.importers.importing import ImportReport, import_file
from medtune.data.importers.options import ImportOptions, Task
from medtune.data.importers.reading import Input
from medtune.errors import SpecError
from medtune.evaluation.packs.recipes import Pack, PackSplit, find_pack

__all__ = ["PackCheck", "find_pack", "import_pack"]


@dataclass(frozen=True, slots=True)
class PackCheck:
    """What an import found beside what a recipe says.

    Attributes:
        pack: the recipe.
        split: the official split that the file shall be.
        differences: a sentence for each count that differs.
        compared: names of the counts that were compared; none where the recipe has none that this format gives.
    """

    pack: Pack
    split: PackSplit
    differences: tuple[str, ...]
    compared: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        matches = None if not self.compared else not self.differences
        return {
            "name": self.pack.name,
            "split": self.split.name,
            "matches": matches,
            "compared": list(self.compared),
            "differences": list(self.differences),
            "licence": self.pack.licence,
        }


def import_pack(
    name: str, split: str | None, source: Input, target: Path, options: ImportOptions
) -> tuple[ImportReport, PackCheck]:
    """Import a file of a benchmark set; format, task and source are the recipe's where ``options`` leave them open.

    Raises:
        UnknownNameError: there is no such recipe or split.
        SpecError: no format reads the set, or no split is named.
        DataError: as for ``import_file``.
    """
    pack = find_pack(name)
    if not pack.format:
        raise SpecError(f"no format of `medtune import` reads {pack.title}: {pack.note}")
    if split is None:
        raise SpecError(
            f"say which split of {pack.title} '{source.path}' is: --split {'|'.join(s.name for s in pack.splits)}"
        )
    wanted = pack.split(split)
    given = replace(
        options,
        format=options.format or pack.format,
        task=options.task or Task(pack.ask),
        source=options.source or pack.name,
    )
    report = import_file(source, target, given)
    found = {"documents": (report.documents, (wanted.documents,)), "rows": (report.rows, wanted.rows)}
    if report.task is not Task.QA and report.tokens != "given":
        del found["rows"]  # sentences were cut here, not by the set's makers
    compared = {name: (count, stated) for name, (count, stated) in found.items() if count and any(stated)}
    return report, PackCheck(pack, wanted, tuple(_differences(compared)), tuple(compared))


def _differences(compared: dict[str, tuple[int, Any]]) -> Iterator[str]:
    for name, (count, stated) in compared.items():
        if count not in stated:
            official = " or ".join(f"{number:,}" for number in stated)
            yield f"{count:,} {name} were read, and the official split has {official}"
