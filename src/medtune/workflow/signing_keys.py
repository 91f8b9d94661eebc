"""Makes the key pair by which runs are signed."""

import os
from collections.abc import Callable
from pathlib import Path

from medtune.errors import SpecError
from medtune.runs.folder import RunFolder
from medtune.runs.record.keys import PASSPHRASE, generate_key

__all__ = ["new_key"]


def new_key(path: Path, ask: Callable[[], str] | None = None) -> Path:
    """Write a private key and the public one beside it, whose path is returned.

    Args:
        path: of the private key.
        ask: called for a passphrase where the environment holds none; None for a key without one, unless it does.

    Raises:
        SpecError: a file is there already, it would lie in a run folder, or a passphrase is wanted and none is given.
    """
    run = next((above for above in path.resolve().parents if RunFolder(above).record_path.exists()), None)
    if run is not None:
        raise SpecError(f"'{path}' would lie in the run '{run}', and go wherever that goes; keep the key elsewhere")
    given = os.environ.get(PASSPHRASE) or (ask() if ask else "")
    if ask is not None and not given:
        raise SpecError(f"no passphrase was given; set {PASSPHRASE}, or run the command in a terminal")
    return generate_key(path, given or None)
