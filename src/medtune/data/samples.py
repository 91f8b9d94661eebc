"""Collects encoded samples into flat arrays."""

import hashlib
from typing import Any

from medtune.plugins.contracts import Example

__all__ = ["SampleWriter"]

_UINT16_IDS = 2**16


class SampleWriter:
    """Keeps ids and supervision compactly, in bounded pieces.

    Args:
        vocabulary: number of token ids; below 65,536 an id takes two bytes.
    """

    def __init__(self, vocabulary: int) -> None:
        self._dtype = "uint16" if vocabulary <= _UINT16_IDS else "int32"
        self._ids: list[Any] = []
        self._masks: list[Any] = []
        self._row_ids: list[str] = []
        self._sources: dict[str, int] = {}
        self._source_index: list[int] = []
        self.lengths: list[int] = []
        self.supervised = 0

    def add(self, example: Example, ids: Any, supervised: Any) -> None:
        """Keep a sample: ids [tokens] and 0/1 supervision [tokens]."""
        self._ids.append(ids.astype(self._dtype))
        self._masks.append(supervised)
        self._row_ids.append(example.row_id)
        self._source_index.append(self._sources.setdefault(example.source, len(self._sources)))
        self.lengths.append(len(ids))
        self.supervised += int(supervised.sum())

    def arrays(self, packed: list[list[int]]) -> tuple[dict[str, Any], dict[str, list[str]], str]:
        """Return the arrays of ``SampleStore``, its names, and the fingerprint over both."""
        import numpy as np

        arrays = {
            "ids": np.concatenate(self._ids),
            "supervised": np.concatenate(self._masks),
            "offsets": np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64),
            "members": np.fromiter((m for row in packed for m in row), dtype=np.int64, count=len(self.lengths)),
            "bounds": np.concatenate([[0], np.cumsum([len(row) for row in packed])]).astype(np.int64),
            "source_index": np.array(self._source_index, dtype=np.int32),
        }
        names = {"row_ids": self._row_ids, "sources": list(self._sources)}
        digest = hashlib.sha256()
        for name in sorted(arrays):
            digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
        return arrays, names, digest.hexdigest()
