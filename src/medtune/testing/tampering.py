"""Tampers with run folders in every way that a hand can, seals them anew as a forger would, and counts what is found."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from medtune.errors import MedtuneError
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import MANIFEST, seal_folder
from medtune.runs.record.chain import Change, append, read_chain
from medtune.runs.record.tree import RECORD, files_of, measured
from medtune.runs.verification import verify_all
from medtune.testing.corruption import flip, remove, truncate
from medtune.testing.trials import Tally

__all__ = ["DAMAGES", "Case", "cases", "reseal", "tamper"]

_FOUND = 4
"""Exit code of ``verify`` for a run that was tampered with."""

Damage = Callable[[Path, Path, random.Random], bool]
"""Changes a file; the second path is the same file of another run. Returns whether anything differs now."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file of a run folder, and what is done to it."""

    file: str
    damage: str


def cases(run: Path) -> Iterator[Case]:
    """Yield every damage of every file of a run folder, its record and signatures included."""
    names = [*sorted(files_of(run).regular), RECORD]
    for damage in DAMAGES:
        for name in names:
            yield Case(name, damage)


def tamper(run: Path, other: Path, work: Path, chosen: list[Case], *, key: Path | None = None, seed: int = 0) -> Tally:
    """Do each case to a copy of a run, and count those that ``verify`` finds.

    Args:
        run: a whole run, signed where a key is given.
        other: another run of the same shape.
        work: an empty folder to do it in.
        chosen: what to do; a case that changes nothing is left out.
        key: public key: the copy is then sealed anew as a forger without the private key would, before it is verified.
        seed: of places and lengths.
    """
    tally, draw = Tally("tampered, and sealed anew" if key else "tampered"), random.Random(seed)
    for case in chosen:
        copy = work / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        if not DAMAGES[case.damage](copy / case.file, other / case.file, draw):
            continue
        if key is not None:
            reseal(copy)
        tally.count(_missed(copy, key, f"{case.damage} {case.file}"))
    return tally


def reseal(run: Path) -> None:
    """Compute every hash and line anew, as a forger without a key can: manifests, ``run.json``, and the whole record."""
    for folder in [run / "adapter", *(run / "checkpoints").glob("step-*")]:
        step = folder.name.partition("-")[2]
        if folder.is_dir() and not any(path.is_symlink() for path in folder.rglob("*")):
            (folder / MANIFEST).unlink(missing_ok=True)
            seal_folder(folder, {"step": int(step)} if step.isdigit() else {})
    facts, run_id = _facts_of(run)
    (run / RECORD).unlink(missing_ok=True)
    try:
        RunFolder(run).update()
    except MedtuneError:  # he cannot mend what is no record any more
        run_id = run_id or "0"
    append(run, run_id, Change("train", measured(run, files_of(run).regular), facts=facts))


def _facts_of(run: Path) -> tuple[dict[str, object], str]:
    try:
        chain = read_chain(run)
    except MedtuneError:
        chain = None
    if chain is not None:
        return chain.facts, chain.run_id
    try:
        return {}, str(json.loads((run / "run.json").read_bytes())["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, "0"


def _missed(run: Path, key: Path | None, what: str) -> str | None:
    """Return a problem unless a run is refused with exit code 4 and a file is named."""
    try:
        found = verify_all(RunFolder(run), key)
    except MedtuneError as error:
        return None if error.exit_code == _FOUND else f"{what}: {error}"
    if found.exit_code != _FOUND or not found.problems:
        return f"{what}: exit code {found.exit_code}"
    return None


def _add(path: Path, _other: Path, _draw: random.Random) -> bool:
    path.with_name(f"{path.stem}-2{path.suffix}").write_bytes(path.read_bytes())
    return True


def _rename(path: Path, _other: Path, _draw: random.Random) -> bool:
    path.rename(path.with_name(f"renamed-{path.name}"))
    return True


def _swap(path: Path, other: Path, _draw: random.Random) -> bool:
    content = other.read_bytes() if other.is_file() else b""
    differs = bool(content) and content != path.read_bytes()
    if differs:
        path.write_bytes(content)
    return differs


def _empty(path: Path, _other: Path, _draw: random.Random) -> bool:
    had = path.stat().st_size > 0
    path.write_bytes(b"")
    return had


def _extend(path: Path, _other: Path, draw: random.Random) -> bool:
    with path.open("ab") as file:
        file.write(draw.randbytes(draw.choice((1, 16, 4096))))
    return True


def _cut_line(path: Path, _other: Path, draw: random.Random) -> bool:
    """Cut a line out, the last one half of the time; of a file with one line, or of another kind, nothing."""
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) < 2 or path.suffix not in (".jsonl", ".json", ".html", ".md"):  # noqa: PLR2004 - one must stay
        return False
    del lines[draw.choice((-1, draw.randrange(len(lines))))]
    path.write_bytes(b"".join(lines))
    return True


def _link(path: Path, other: Path, _draw: random.Random) -> bool:
    if not other.is_file():
        return False
    path.unlink()
    path.symlink_to(other)
    return True


DAMAGES: dict[str, Damage] = {
    "flip a bit of": flip,
    "truncate": truncate,
    "remove": remove,
    "add a copy beside": _add,
    "rename": _rename,
    "swap with another run's": _swap,
    "empty": _empty,
    "append to": _extend,
    "cut a line out of": _cut_line,
    "put a link in the place of": _link,
}
"""Name -> what is done to a file."""
