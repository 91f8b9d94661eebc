"""Changes the library in small ways and counts how many changes its tests notice: ``python tools/mutants.py``.

mutmut (the extra ``proof``) writes every mutant of the rooms below in a copy of the tree; some are drawn with a seed, and
each is run on its room's tests that reach the function, the fast ones first. Printed are the share that was killed per
room, and every survivor with its change. Equivalent mutants count as survivors; so do those that no test reaches.
mutmut leaves decorated functions (properties) alone. Takes about an hour for 300, most of it in ``workflow``.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOMS: Mapping[str, Sequence[str]] = {
    "planning": ["tests/planning"],
    "runs": ["tests/runs"],
    "evaluation": ["tests/evaluation"],
    "workflow": ["tests/workflow", "tests/test_tuner.py"],
}
_COPIED = ("src", "tests", "tools", "docs", "examples", "benchmarks", "pyproject.toml", "README.md", "CHANGELOG.md")
_GENERATE = """
from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants
copy_src_dir(), copy_also_copy_files(), create_mutants(1)
"""
_KILLED = {
    1: "killed",
    2: "killed",
    3: "killed",
    36: "timeout",
    24: "timeout",
    -24: "timeout",
    152: "timeout",
    255: "timeout",
}
"""Exit codes of a mutant's run that say its tests noticed: pytest's own (2 where a mutant interrupts it), and those of a time
limit."""
_SURVIVED = {0: "survived", 5: "no test reaches it", 33: "no test reaches it"}
_CONFIG = """# the test of a time budget says nothing of a mutant, which is slower by its choosing
[tool.mutmut]
source_paths = ["src"]
only_mutate = {files}
also_copy = {copied}
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-seed=0", "--timeout=200", "-k", "not tenth_of_the_budget"]
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 10.0
timeout_constant = 60.0
track_dependencies = false
use_git_change_detection = false
"""


def main() -> None:
    """Draw, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="mutants drawn over all rooms")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--room", action="append", choices=[*_ROOMS], help="run only these rooms' share of the draw")
    parser.add_argument("--folder", type=Path, default=Path("build/mutants"), help="where the copy is made")
    given = parser.parse_args()
    folder: Path = given.folder.resolve()
    _copy_tree(folder)
    every = _generate(folder)
    drawn = sorted(random.Random(given.seed).sample(every, min(given.count, len(every))))
    print(f"{len(every)} mutants, {len(drawn)} drawn with seed {given.seed}", flush=True)
    outcomes: dict[str, str] = {}
    for room in given.room or _ROOMS:
        found = _run_room(folder, room, [name for name in drawn if _room_of(name) == room])
        outcomes |= found
        print(_figure(room, found), flush=True)
        for name, outcome in found.items():
            if outcome not in _KILLED.values():
                print(f"\n{outcome}: {name}\n{_change(folder, name)}", flush=True)
    print(_figure("all", outcomes))


def _copy_tree(folder: Path) -> None:
    """Lay a fresh copy of what the tests need; an earlier one goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _COPIED:
        if Path(name).is_dir():
            shutil.copytree(name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(name, folder / name)
    (folder / "mutants" / "src").mkdir(parents=True)


def _configure(folder: Path, tests: Sequence[str]) -> None:
    own = Path("pyproject.toml").read_text("utf-8")
    files = [f"src/medtune/{room}/*" for room in _ROOMS]
    (folder / "pyproject.toml").write_text(
        own + _CONFIG.format(files=files, copied=list(_COPIED[1:]), tests=list(tests)), "utf-8"
    )


def _generate(folder: Path) -> list[str]:
    """Write all mutants and return their names, sorted."""
    _configure(folder, [])
    _call(folder, [sys.executable, "-c", _GENERATE])
    return sorted(_exit_codes(folder))


def _run_room(folder: Path, room: str, names: Sequence[str]) -> dict[str, str]:
    """Run mutants of one room on its tests and return what became of each."""
    if not names:
        return {}
    _configure(folder, _ROOMS[room])
    (folder / "mutants" / "mutmut-stats.json").unlink(
        missing_ok=True
    )  # which tests reach what, of another room's tests
    _call(folder, [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names])
    codes = _exit_codes(folder)
    known = {**_KILLED, **_SURVIVED}
    return {
        name: "not run" if (code := codes[name]) is None else known.get(code, f"exit code {code}") for name in names
    }


def _exit_codes(folder: Path) -> dict[str, int | None]:
    """Return mutant -> exit code of its run, None before that."""
    codes: dict[str, int | None] = {}
    for file in (folder / "mutants" / "src").rglob("*.meta"):
        codes |= json.loads(file.read_text("utf-8"))["exit_code_by_key"]
    return codes


def _call(folder: Path, command: Sequence[str]) -> str:
    """Run a command in the copy, so that the mutants are what gets imported; its output is shown when it fails."""
    mutants = folder / "mutants"
    paths = os.pathsep.join([str(mutants / "src"), str(mutants / "tools")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}\n'{' '.join(command)[:80]}' failed")
    return done.stdout


def _change(folder: Path, name: str) -> str:
    """Return a mutant's lines as a diff without context."""
    lines = _call(folder, [sys.executable, "-m", "mutmut", "show", name]).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def _figure(room: str, outcomes: Mapping[str, str]) -> str:
    killed = sum(outcome in _KILLED.values() for outcome in outcomes.values())
    return f"{room}: {killed} of {len(outcomes)} killed ({killed / max(len(outcomes), 1):.1%})"


def _room_of(name: str) -> str:
    return name.split(".")[1]


if __name__ == "__main__":
    main()
