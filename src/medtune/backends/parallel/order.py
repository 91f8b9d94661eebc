"""Divides the rows of every update among the processes, so that each update is that of one process.

Accelerate's own way begins an epoch anew where its rows do not divide, so rows at its beginning would count twice.
"""

import math
from collections.abc import Iterator
from typing import Any

from accelerate.data_loader import prepare_data_loader
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

__all__ = ["UpdateShare", "shared_loader"]


class UpdateShare(BatchSampler):
    """The micro-batches of one process, all processes having equally many.

    Each update takes the next rows of the order. Its micro-batches go round the processes; where an epoch ends before all have one,
    the others are given ``[~row]``: a row that is passed with theirs and counts for nothing.

    Args:
        sampler: the order of all rows; the same on all processes.
        micro: rows of a micro-batch.
        times: micro-batches of an update, of each process.
        place: number of this process, and how many there are.

    >>> [list(UpdateShare(range(7), 1, 2, (process, 2))) for process in (0, 1)]
    [[[0], [2], [4], [6]], [[1], [3], [5], [-5]]]
    """

    def __init__(self, sampler: Any, micro: int, times: int, place: tuple[int, int]) -> None:
        super().__init__(sampler, micro, drop_last=False)
        self._rows = micro * times * place[1]
        self._process, self._processes = place

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each micro-batch of an epoch."""
        window: list[int] = []
        for row in self.sampler:
            window.append(row)
            if len(window) == self._rows:
                yield from self._own(window)
                window = []
        if window:
            yield from self._own(window)

    def __len__(self) -> int:
        """Return the micro-batches of an epoch; the same for every process."""
        whole, left = divmod(len(self.sampler), self._rows)  # type: ignore[arg-type]  # all of ours are sized
        size = self.batch_size * self._processes
        return whole * self._rows // size + math.ceil(left / size)

    def _own(self, window: list[int]) -> Iterator[list[int]]:
        size = self.batch_size
        for start in range(0, len(window), size * self._processes):
            first = start + self._process * size
            yield window[first : first + size] or [~window[0]]


class _Numbers(Dataset[dict[str, int]]):
    """The number of each row, as the collator takes it."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> dict[str, int]:
        return {"row": number}


def shared_loader(trainer: Any) -> Any:
    """Return what loads the rows of this process, in the order that a trainer draws for one."""
    args, accelerator = trainer.args, trainer.accelerator
    numbers = _Numbers(len(trainer.job.rows))
    place = (args.process_index, args.world_size)
    share = UpdateShare(
        RandomSampler(numbers), args.per_device_train_batch_size, args.gradient_accumulation_steps, place
    )
    loader = DataLoader(
        numbers, batch_sampler=share, collate_fn=trainer.data_collator, pin_memory=args.dataloader_pin_memory
    )
    return prepare_data_loader(
        loader,
        accelerator.device,
        num_processes=1,  # the rows are shared already
        process_index=0,
        put_on_device=accelerator.device_placement,
        use_seedable_sampler=accelerator.use_seedable_sampler,
        data_seed=accelerator.dataloader_config.data_seed,
        non_blocking=accelerator.non_blocking,
    )
