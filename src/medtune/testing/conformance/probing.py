"""Starts the process in which a plugin is imported for the first time."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["probe", "unfit_to_import"]

_SECONDS = 50
_LASTING = ("patches", "signals", "interpreter", "logging", "environment")


def probe(target: str) -> Mapping[str, Any]:
    """Return what importing a module, an object of one ("module:name") or a file does; see ``probe.main``."""
    with tempfile.TemporaryDirectory(prefix="medtune-probe-") as name:
        folder = Path(name)
        (folder / "work").mkdir()
        question = json.dumps({"target": target, "path": [os.path.abspath(p) for p in sys.path]})  # noqa: PTH100 - as Python does
        command = [sys.executable, "-B", "-m", f"{__package__}.probe", question, str(folder / "answer.json")]
        paths = os.pathsep.join(filter(None, sys.path))
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as errors:
            try:
                done = subprocess.run(  # noqa: S603 - ourselves
                    command, cwd=folder / "work", stdin=subprocess.DEVNULL, stdout=out, stderr=errors, check=False,
                    timeout=_SECONDS, env={**os.environ, "PYTHONPATH": paths},
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return _ended(f"did not end within {_SECONDS} s")
        if not (folder / "answer.json").is_file():
            return _ended(f"ended the process with status {done.returncode}")
        found: Mapping[str, Any] = json.loads((folder / "answer.json").read_text("utf-8"))
        return found


def unfit_to_import(probed: Mapping[str, Any]) -> str:
    """Return why a plugin must not be imported in this process, after what its import did in another; empty where it may."""
    if "ended" in probed:
        return f"its import {probed['ended']}"
    changes = [
        phase["traces"][kind] for phase in probed["phases"].values() for kind in _LASTING if kind in phase["traces"]
    ]
    return f"it is not imported here, since its import changed {changes[0]}" if changes else ""


def _ended(how: str) -> Mapping[str, Any]:
    """Return what is told of a process that did not come to write anything down."""
    nothing = {
        "heavy": [],
        "printed": False,
        "warned": [],
        "filtered": False,
        "network": [],
        "files": [],
        "processes": [],
    }
    return {"ended": how, "phases": {"its import": {**nothing, "error": "", "ended": how, "traces": {}}}}
