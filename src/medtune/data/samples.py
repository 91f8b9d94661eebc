"""Collects encoded samples into flat arrays, on disk or in memory, a chunk at a time."""

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from medtune.data.pack import SampleStore
from medtune.data.supervision import Span
from medtune.errors import StorageError
from medtune.machine.owner_only import open_bytes
from medtune.plugins.contracts import Example

__all__ = ["Sample", "SampleWriter", "open_samples", "writing"]

_UINT16_IDS = 2**16
_STREAMED = ("ids", "supervised", "row_ids")
"""Arrays as long as the text; the others have one entry per sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An encoded example.

    Attributes:
        example: what was encoded.
        ids: int32 array [tokens].
        spans: the tokens of it that carry loss.
    """

    example: Example
    ids: Any
    spans: Sequence[Span]


class SampleWriter:
    """Writes ids and supervision as they come; only lengths, sources and the packing are kept in memory.

    Args:
        vocabulary: number of token ids; below 65,536 an id takes two bytes.
        folder: where the arrays are written; None keeps them in memory.
    """

    def __init__(self, vocabulary: int, folder: Path | None) -> None:
        self._folder = folder
        self._dtypes = {
            "ids": "uint16" if vocabulary <= _UINT16_IDS else "int32",
            "supervised": "uint8",
            "row_ids": "uint8",
        }
        self._sinks: dict[str, BinaryIO] = {}
        self._digest = hashlib.sha256()
        self._sources: dict[str, int] = {}
        self._source_index = array("i")
        self._row_id_lengths = array("i")
        self.lengths = array("i")
        self.supervised = 0

    def add(self, samples: Sequence[Sample]) -> None:
        """Keep a chunk of samples."""
        import numpy as np

        if not samples:
            return
        names = [sample.example.row_id.encode() for sample in samples]
        first = 0
        supervised = np.zeros(sum(len(sample.ids) for sample in samples), dtype=np.uint8)
        for sample in samples:
            for start, end in sample.spans:
                supervised[first + start : first + end] = 1
                self.supervised += end - start
            first += len(sample.ids)
            self.lengths.append(len(sample.ids))
        flat: Any = np.concatenate([sample.ids for sample in samples]).astype(self._dtypes["ids"])
        for name, content in zip(_STREAMED, (flat.data, supervised.data, b"".join(names)), strict=True):
            self._write(name, content)
        for sample, row_id in zip(samples, names, strict=True):
            self._row_id_lengths.append(len(row_id))
            self._source_index.append(self._sources.setdefault(sample.example.source, len(self._sources)))

    def finish(self, packed: list[list[int]]) -> dict[str, Any]:
        """Write the arrays of one entry per sample, and return what ``open_samples`` needs.

        Args:
            packed: sample numbers per row.
        """
        import numpy as np

        count = len(self.lengths)
        arrays = {
            "offsets": _offsets(self.lengths),
            "row_id_offsets": _offsets(self._row_id_lengths),
            "members": np.fromiter((m for row in packed for m in row), dtype=np.int64, count=count),
            "bounds": _offsets([len(row) for row in packed]),
            "source_index": np.frombuffer(self._source_index, dtype=np.int32),
        }
        for name, values in arrays.items():
            self._dtypes[name] = str(values.dtype)
            self._write(name, values.data)
        sizes = {name: sink.tell() for name, sink in self._sinks.items()}
        self._digest.update("\n".join(self._sources).encode())
        return {
            "dtypes": self._dtypes,
            "sizes": sizes,
            "sources": list(self._sources),
            "fingerprint": self._digest.hexdigest(),
        }

    def in_memory(self, facts: dict[str, Any]) -> SampleStore:
        """Return the samples that were kept in memory."""
        import numpy as np

        buffers = {name: sink.getbuffer() for name, sink in self._sinks.items() if isinstance(sink, BytesIO)}
        arrays = {name: np.frombuffer(buffers[name], dtype=kind) for name, kind in facts["dtypes"].items()}
        return SampleStore(arrays, facts["sources"], facts["fingerprint"])

    def close(self) -> None:
        """Close the files, their content safely on disk."""
        if self._folder is None:
            return
        with writing(self._folder):
            for sink in self._sinks.values():
                sink.flush()
                os.fsync(sink.fileno())
                sink.close()

    def abandon(self) -> None:
        """Close the files of a set that comes to nothing."""
        if self._folder is not None:
            for sink in self._sinks.values():
                sink.close()

    def _write(self, name: str, content: Any) -> None:
        """Append to an array, and to the fingerprint."""
        if name not in self._sinks:
            self._sinks[name] = BytesIO() if self._folder is None else _opened(self._folder / f"{name}.bin")
        if self._folder is None:
            self._sinks[name].write(content)
        else:
            with writing(self._folder):
                self._sinks[name].write(content)
        self._digest.update(content)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise StorageError when something in the block cannot be written below the cache of ``folder``."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write the cache '{folder.parent}': {error.strerror}; free space, set MEDTUNE_CACHE to another "
            "folder, or data.cache=false"
        ) from error


def _opened(path: Path) -> BinaryIO:
    with writing(path.parent):
        return open_bytes(path)


def open_samples(folder: Path, facts: dict[str, Any]) -> SampleStore | None:
    """Return the memory-mapped samples that a writer left in ``folder``; None when a file is not as it was written."""
    import numpy as np

    files = {name: folder / f"{name}.bin" for name in facts["dtypes"]}
    if any(not files[name].is_file() or files[name].stat().st_size != size for name, size in facts["sizes"].items()):
        return None
    arrays: dict[str, Any] = {
        name: np.memmap(files[name], dtype=kind, mode="r") if facts["sizes"][name] else np.empty(0, dtype=kind)
        for name, kind in facts["dtypes"].items()
    }
    return SampleStore(arrays, facts["sources"], facts["fingerprint"])


def _offsets(lengths: Sequence[int]) -> Any:
    """Return where each part begins, and the end, int64 [parts + 1]."""
    import numpy as np

    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(np.asarray(lengths, dtype=np.int64), out=offsets[1:])
    return offsets
