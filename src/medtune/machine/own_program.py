"""Starts programs of medtune's own, which import no medtune; from a locked process they are locked too.

``python own_program.py PROGRAM ARGUMENTS...`` runs PROGRAM in a locked process. It may ask servers on this machine: llama.cpp is one.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":  # by its path, wherever medtune lies
    sys.path.append(str(Path(__file__).parents[2]))

from medtune.errors.locked_mode import is_locked

__all__ = ["command_of", "main"]


def command_of(program: Path, *arguments: str) -> list[str]:
    """Return the command that runs a program, itself a file of medtune."""
    return [sys.executable, "-P", *([__file__] if is_locked() else []), str(program), *arguments]


def main(program: str, *arguments: str) -> None:
    """Run a program as Python does, with the network refused."""
    from medtune.machine.network import allow_client, lock

    lock()
    allow_client("127.0.0.1")
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
