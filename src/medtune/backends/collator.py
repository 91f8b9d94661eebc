"""Turns row numbers into the tensors of a micro-batch, with the counts that records need.

Imported inside ``TrlTrainer.fit`` only: it loads torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from medtune.backends.by_source import SourceLosses
from medtune.data.pack import to_batch
from medtune.plugins.contracts import Job, PackedRow

__all__ = ["PackedCollator", "source_numbers"]

_IGNORED = -100


class PackedCollator:
    """Turns row numbers into tensors, with the token counts beside them as plain integers.

    Args:
        job: whose rows.
        arrange: lays the tensors out for the fast path while they are on the host; None where it is off.
        by_source: numbers the sources.
    """

    def __init__(self, job: Job, arrange: Callable[[Any, Any, Any], Any] | None, by_source: SourceLosses) -> None:
        self._by_source = by_source
        self._arrange = arrange
        self._rows = job.rows
        self._max_length = job.spec.train.max_length
        self._pad_id = job.loaded.tokenizer.pad_token_id

    def __call__(self, features: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """Return the tensors of the rows that features name by ``row``, and the counts of their tokens as plain integers.

        A row named by its complement (``~row``) stands in where a process has none left: it counts for nothing, and ``blank`` says so.
        """
        numbers = [feature["row"] for feature in features]
        is_blank = numbers[0] < 0
        rows = [self._rows[~number if is_blank else number] for number in numbers]
        arrays = to_batch(rows, self._max_length, self._pad_id)
        batch: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self._arrange is not None:
            batch["packed"] = self._arrange(batch["input_ids"], batch["position_ids"], batch["labels"])
        batch["tokens"] = sum(len(row.input_ids) for row in rows)
        batch["sources"] = torch.from_numpy(self._sources_of(rows))
        places = batch["sources"][:, 1:][batch["labels"][:, 1:] != _IGNORED]
        if self._arrange is not None:  # picked on the host, where nothing waits
            batch["supervised_sources"] = [places]
        names, counts = list(self._by_source.numbers), torch.bincount(places).tolist()
        batch["supervised"] = len(places)
        # no Counter: torch's loaders pin a mapping by ``update``, which would count twice
        batch["supervised_by_source"] = {names[place]: n for place, n in enumerate(counts) if n}
        batch["samples"] = [sample for row in rows for sample in row.samples]
        if is_blank:  # a tensor, which stays where a micro-batch is halved
            nothing = {"tokens": 0, "supervised": 0, "supervised_by_source": {}, "samples": []}
            batch |= {**nothing, "blank": torch.ones(len(rows), dtype=torch.bool)}
        return batch

    def _sources_of(self, rows: Sequence[PackedRow]) -> Any:
        """Return the number of each token's source, int64 [rows, max_length]; padding has any."""
        import numpy as np

        numbers = np.zeros((len(rows), self._max_length), dtype=np.int64)
        for row, line in zip(rows, numbers, strict=True):
            own = [self._by_source.number_of(self._rows.source(sample)) for sample in row.samples]
            line[: len(row.input_ids)] = np.repeat(own, row.lengths)
        return numbers


def source_numbers(inputs: Mapping[str, Any]) -> Any:
    """Return the number of the source of each supervised token, int64 [supervised]."""
    if "supervised_sources" in inputs:
        return inputs["supervised_sources"][0]
    return inputs["sources"][:, 1:][inputs["labels"][:, 1:] != _IGNORED]
