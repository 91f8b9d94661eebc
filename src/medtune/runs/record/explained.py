"""What of a run folder's difference to its record the marks of writers account for."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medtune.errors import DamagedArtifactError
from medtune.runs.manifest import MANIFEST, read_manifest
from medtune.runs.record.chain import Chain
from medtune.runs.record.tree import Entry, Files, measured
from medtune.runs.record.writers import Writer

__all__ = ["Difference", "difference", "left_aside", "newest_checkpoint", "sealed_folder", "sealed_now"]

_SEALED = re.compile(r"(adapter|checkpoints/step-\d+)/")
_ASIDE = ".replaced-"
"""Before the name of a sealed folder that waits until the one that takes its place is durable."""

Measure = Callable[[Iterable[str]], Mapping[str, Entry]]


@dataclass(slots=True)
class Difference:
    """What writers did since the last line.

    Attributes:
        changed: name -> what the file is now.
        removed: files that are gone.
        unproven: those among both that nobody promised; older checkpoints go without that.
    """

    changed: dict[str, Entry] = field(default_factory=dict[str, Entry])
    removed: set[str] = field(default_factory=set[str])
    unproven: set[str] = field(default_factory=set[str])

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def difference(folder: Path, chain: Chain, writers: Sequence[Writer], files: Files, measure: Measure) -> Difference:
    """Return what writers may have done: files in their scope, and sealed folders as they promised them.

    A sealed folder that nobody promised is never accounted for, nor is the newest checkpoint when it is gone.
    """
    found = Difference()
    promised = [
        (name, digest)
        for writer in writers
        for name, digests in writer.promised.items()
        if writer.may_promise(name)
        for digest in digests
    ]
    sealed = {name: sealed_now(folder, name, {d for n, d in promised if n == name}) for name, _digest in promised}
    for name in dict.fromkeys(name for name, _digest in promised):
        found.changed.update(_news(chain, sealed[name]))
    loose = [
        name
        for name in files.regular
        if not (sealed_folder(name) or _under(sealed, name)) and any(writer.may_write(name) for writer in writers)
    ]
    others = _news(chain, measure(loose))
    found.changed.update(others)
    found.unproven.update(others)
    newest = newest_checkpoint(folder, chain, [name for name, _digest in promised])
    found.removed.update(_gone(chain, writers, files, newest))
    kept = [name for name, entries in sealed.items() if entries]
    found.unproven.update(name for name in found.removed if not (sealed_folder(name) or _under(kept, name)))
    return found


def sealed_folder(name: str) -> str:
    """Return the sealed folder of a run that a file lies in, empty for other files."""
    found = _SEALED.match(name)
    return found[1] if found else ""


def left_aside(name: str, files: Files) -> bool:
    """Whether a file waits under another name for a sealed folder that is not there."""
    above, _, inside = name.partition(_ASIDE)
    target = f"{above}{inside.partition('/')[0]}/"
    return bool(inside) and not any(other.startswith(target) for other in files.regular)


def sealed_now(folder: Path, name: str, manifests: Iterable[str]) -> dict[str, Entry]:
    """Return the files of a sealed folder by its manifest, where that is one of those; else nothing."""
    own = f"{name}/{MANIFEST}"
    found = measured(folder, [own])
    if own not in found or found[own].sha256 not in set(manifests):
        return {}
    try:
        listed = read_manifest(folder / name)["files"]
    except DamagedArtifactError:
        return {}
    return found | {f"{name}/{file}": Entry(int(of["bytes"]), str(of["sha256"])) for file, of in listed.items()}


def newest_checkpoint(folder: Path, chain: Chain, promised: Sequence[str]) -> str:
    """Return the checkpoint that was written last: a promised one that is there, else the last recorded one; or nothing."""
    saved = [name for name in promised if _is_checkpoint(name) and (folder / name / MANIFEST).is_file()]
    if saved:
        return saved[-1]
    written = [sealed_folder(name) for line in chain.lines for name in line.change.changed if name in chain.files]
    return next((name for name in reversed(written) if _is_checkpoint(name)), "")


def _is_checkpoint(sealed: str) -> bool:
    return sealed.startswith("checkpoints/")


def _gone(chain: Chain, writers: Sequence[Writer], files: Files, newest: str) -> Iterator[str]:
    """Yield recorded files that a writer may have removed: of a checkpoint all or none, and while a newer one is there."""
    present = {sealed_folder(name) for name in files.regular}
    aside = {name.partition(_ASIDE)[2].partition("/")[0] for name in files.regular if left_aside(name, files)}
    for name in chain.files.keys() - files.regular.keys():
        sealed = sealed_folder(name)
        if files.hides(name) or not any(writer.may_write(name) for writer in writers):
            continue
        is_rotated = _is_checkpoint(sealed) and sealed not in present and newest not in ("", sealed)
        if not sealed or is_rotated or sealed.rpartition("/")[2] in aside:
            yield name


def _news(chain: Chain, found: Mapping[str, Entry]) -> dict[str, Entry]:
    return {name: entry for name, entry in found.items() if chain.files.get(name) != entry}


def _under(folders: Iterable[str], name: str) -> bool:
    return any(name.startswith(f"{folder}/") for folder in folders)
