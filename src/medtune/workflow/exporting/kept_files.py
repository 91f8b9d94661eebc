"""Puts files of a sealed folder back that foreign code was only to read and has changed."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medtune.runs.durable import replace_file

__all__ = ["small_files_kept"]

_LOG = logging.getLogger(__name__)
_SMALL = 4 << 20
"""Bytes of the largest file that is kept in memory: cards, configurations and tokenizers, but not all weights."""


@contextmanager
def small_files_kept(folder: Path) -> Iterator[None]:
    """At the end, put back the small files of a folder that were changed or removed inside, and say so in the log."""
    before = {file: (_seen(file), file.read_bytes()) for file in _small_files(folder)}
    try:
        yield
    finally:
        for file, (seen, content) in before.items():
            if _seen(file) != seen:
                replace_file(file, content, "a file that was changed")
                file.chmod(seen[0] & 0o777)
                _LOG.warning("'%s' was changed while it was exported, and put back", file)


def _small_files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size <= _SMALL]


def _seen(file: Path) -> tuple[int, int, int]:
    """Return mode, size and time of a file; zeros where there is none."""
    if not file.is_file():
        return 0, 0, 0
    stat = file.stat()
    return stat.st_mode, stat.st_size, stat.st_mtime_ns
