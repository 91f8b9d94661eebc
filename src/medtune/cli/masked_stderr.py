"""Masks credentials in what reaches stderr while a command runs: tracebacks, warnings and logs of any library."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medtune.errors.masking import masked

__all__ = ["masked_stderr"]


@contextmanager
def masked_stderr() -> Iterator[None]:
    """Mask what Python code writes to ``sys.stderr`` in the block; what a child process writes is its own."""
    stream = sys.stderr
    if stream is None:  # closed by the shell
        yield
        return
    sys.stderr = _Masked(stream)
    try:
        yield
    finally:
        sys.stderr = stream


class _Masked:
    """A text stream that masks what is written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` masked."""
        self._stream.write(masked(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write lines masked."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
