"""Damages files of checkpoints in every way that disks and people do, and counts what the store notices."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from medtune.errors import DamagedArtifactError
from medtune.runs.manifest import MANIFEST, read_manifest
from medtune.runs.store import CheckpointStore
from medtune.testing.trials import Tally

__all__ = ["corrupt_checkpoints", "flip", "remove", "truncate"]


def corrupt_checkpoints(template: Path, work: Path, trials: int, seed: int = 0) -> tuple[Tally, Tally]:
    """Damage one file of the newest of two checkpoints per trial.

    Args:
        template: a ``checkpoints`` folder with at least two whole checkpoints.
        work: an empty folder to do it in.
        trials: number of damages; they go round all files and all kinds.
        seed: of places and lengths.

    Returns:
        Damages found with the file named and the older checkpoint taken instead; and intact folders taken as intact.
    """
    found, intact = Tally("corruptions"), Tally("intact checkpoints")
    draw, done = random.Random(seed), 0
    copy = work / "checkpoints"
    while done < trials:
        for damage in (flip, truncate, _zero, remove, _swap):
            for name in _names(template):
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(template, copy)
                older, newest = sorted(copy.glob("step-*"))[-2:]
                intact.count(_taken(copy, newest, None))
                if damage(newest / name, older / name, draw):
                    found.count(_taken(copy, older, name))
                    done += 1
    return found, intact


def _names(template: Path) -> list[str]:
    newest = max(template.glob("step-*"))
    return [MANIFEST, *read_manifest(newest)["files"]]


def _taken(folder: Path, expected: Path, damaged: str | None) -> str | None:
    """Return a problem unless the store takes ``expected`` and names the damaged file."""
    try:
        newest, passed = CheckpointStore(folder, 2).newest_whole()
    except DamagedArtifactError as error:
        return f"{damaged}: {error}"
    if newest is None or newest.path != expected:
        return f"{damaged}: took {newest}"
    if damaged is not None and not (len(passed) == 1 and damaged in passed[0].reason):
        return f"{damaged}: was told as {[p.reason for p in passed]}"
    return None


Damage = Callable[[Path, Path, random.Random], bool]


def flip(path: Path, _other: Path, draw: random.Random) -> bool:
    """Turn one bit of a file around; return whether there was one."""
    content = bytearray(path.read_bytes())
    if content:
        bit = draw.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(content)
    return bool(content)


def truncate(path: Path, _other: Path, draw: random.Random) -> bool:
    """Cut a file short; return whether there was anything to cut."""
    content = path.read_bytes()
    if content:
        path.write_bytes(content[: draw.randrange(len(content))])
    return bool(content)


def _zero(path: Path, _other: Path, draw: random.Random) -> bool:
    content = path.read_bytes()
    start = draw.randrange(max(1, len(content)))
    length = min(draw.choice((1, 512, 4096)), len(content) - start)
    damaged = content[:start] + bytes(length) + content[start + length :]
    path.write_bytes(damaged)
    return damaged != content


def remove(path: Path, _other: Path, _draw: random.Random) -> bool:
    """Remove a file."""
    path.unlink()
    return True


def _swap(path: Path, other: Path, _draw: random.Random) -> bool:
    """Put the other checkpoint's file here; leaves the other one whole, so that there is something to fall back to."""
    content = other.read_bytes()
    differs = content != path.read_bytes()
    path.write_bytes(content)
    return differs
