"""How much room a run takes on the disk."""

from pathlib import Path

__all__ = ["bytes_to_keep", "expected_bytes", "nearest_folder"]

_BYTES_PER_PARAMETER = 12  # fp32 value and two fp32 moments
_OVERHEAD_BYTES = 1 << 20


def expected_bytes(trainable: int) -> int:
    """Return the size of a checkpoint of that many trainable parameters, before one was written."""
    return trainable * _BYTES_PER_PARAMETER + _OVERHEAD_BYTES


def bytes_to_keep(trainable: int, keep: int, *, resuming: bool) -> int:
    """Return the disk space that a run still needs for its checkpoints and adapter.

    A run that is resumed has its checkpoints; both need room for one more while the oldest still stands, and the adapter.
    """
    return (2 if resuming else keep + 2) * expected_bytes(trainable)


def nearest_folder(path: Path) -> Path:
    """Return the path itself, or the nearest above it that exists: its file system takes what will lie there."""
    existing = path.expanduser().absolute()
    while not existing.exists():
        existing = existing.parent
    return existing
