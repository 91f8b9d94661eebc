"""Whether this process was forked from one in which torch had started threads, which a fork does not take along."""

import os

from medtune.errors import ForkedProcessError

__all__ = ["note_threads", "refuse_forked"]

_THREADED: set[int] = set()
"""Ids of processes whose torch has threads, or a GPU; a forked child inherits this, and not the threads."""


def note_threads() -> None:
    """Remember that torch computed in this process."""
    import torch

    if torch.get_num_threads() > 1 or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # in torch
        _THREADED.add(os.getpid())


def refuse_forked() -> None:
    """Refuse to compute where torch would wait for threads that are not there.

    Raises:
        ForkedProcessError: the process was forked from one in which ``note_threads`` noted some.
    """
    if _THREADED and os.getpid() not in _THREADED:
        raise ForkedProcessError(os.getpid())
