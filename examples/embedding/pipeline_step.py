"""A step of Airflow, Prefect or a cron job: medtune as a process of its own, with its JSON and exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RESUMABLE, LOCKED = 75, 5


class TryAgainLaterError(Exception):
    """Let the scheduler try this step again: the run was saved, or another process is at it."""


def train(spec: Path, out: Path, *more: str) -> dict[str, Any]:
    """Return the JSON of a finished run; the same call goes on with one that was stopped."""
    command = [sys.executable, "-m", "medtune", "train", str(spec), "--out", str(out), "--json", *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # progress goes to the step's log
    told = json.loads(done.stdout)
    if done.returncode == 0:
        return told
    if done.returncode in (RESUMABLE, LOCKED):
        raise TryAgainLaterError(told["error"]["message"])
    raise RuntimeError(f"{told['error']['type']}: {told['error']['message']}")  # trying again would not help


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]), Path(sys.argv[2]))))
