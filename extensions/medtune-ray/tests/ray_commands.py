"""Runs of the command in processes of their own, as its users have them; ray is imported in those only."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
SPEC = """
bundle = "demo"
[train]
max_steps = 16
save_strategy = "steps"
save_steps = 2
logging_steps = 1
[data]
limit = 60
[eval]
enabled = false
"""


def command(*arguments):
    return [sys.executable, "-m", "medtune_ray", *map(str, arguments), "--json"]


def environment(cache):
    path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"PYTHONPATH": path, "MEDTUNE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return {**{k: v for k, v in os.environ.items() if not k.startswith("RAY_")}, **own}


class Command:
    """``python -m medtune_ray``, started, watched, and read."""

    def __init__(self, folder, cache):
        self.folder, self._environment = folder, environment(cache)

    def start(self, *arguments, before=(), **more):
        return subprocess.Popen(
            [*before, *command(*arguments)],
            cwd=self.folder,
            env={**self._environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, **more):
        return self.read(self.start(*arguments, **more))

    @staticmethod
    def read(started):
        """Return the exit code, the object on stdout, and stderr."""
        said, told = started.communicate(timeout=400)
        lines = said.splitlines()
        assert lines, told
        return started.returncode, json.loads(lines[-1]), told


def until(claim, what, started=None, seconds=180):
    """Wait until something is so; what does not come, or a process that ended before it, is an error."""
    deadline = time.monotonic() + seconds
    while not claim():
        if started is not None and started.poll() is not None:
            pytest.fail(f"the command ended before {what}: {started.communicate()}")
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
