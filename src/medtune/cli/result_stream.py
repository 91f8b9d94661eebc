"""Keeps stdout for a command's result alone: whatever else is printed, by whom and however, goes to stderr."""

import io
import os
import sys
from contextlib import ExitStack, redirect_stdout, suppress
from types import TracebackType
from typing import Any, Self

__all__ = ["ResultStream", "print_result"]

_STDOUT, _STDERR = 1, 2
_open: list[Any] = []
"""Where results go while other prints do not; the innermost last."""


def print_result(line: str) -> None:
    """Print a line of the result on stdout."""
    print(line, file=_open[-1] if _open else None, flush=bool(_open))


class ResultStream:
    """A context in which only ``print_result`` reaches stdout.

    What Python prints, what is written to file descriptor 1, and what child processes print, goes to stderr.

    Args:
        ends_process: whether it stays so afterwards, for what is printed on the way out.
    """

    def __init__(self, *, ends_process: bool = False) -> None:
        self._ends_process, self._held = ends_process, ExitStack()

    def __enter__(self) -> Self:
        stdout = sys.stdout
        if stdout is not None:  # closed by the shell
            stdout.flush()
        kept = _led_away()
        if kept is not None:
            self._held.callback(_restore, stdout, kept)
        if kept is None or not _is_real(stdout):  # caught, by a test say: it is written to as it is
            _open.append(stdout)
        else:
            _open.append(os.fdopen(os.dup(kept), "w", encoding=stdout.encoding, errors=stdout.errors))
            self._held.callback(_open[-1].close)
        self._held.enter_context(redirect_stdout(sys.stderr))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open.pop()
        if self._ends_process:
            self._held.pop_all()
        else:
            self._held.close()


def _led_away() -> int | None:
    """Lead descriptor 1 to stderr and return what it was; None where there is no such descriptor."""
    with suppress(OSError):
        kept = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        return kept
    return None


def _restore(stdout: Any, kept: int) -> None:
    if stdout is not None:
        stdout.flush()  # what was printed through a stream taken before belongs to stderr too
    os.dup2(kept, _STDOUT)
    os.close(kept)


def _is_real(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == _STDOUT)
    except (AttributeError, ValueError, io.UnsupportedOperation):
        return False
