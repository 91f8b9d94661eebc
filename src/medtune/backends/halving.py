"""Runs many requests in batches that become smaller where memory is short."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

__all__ = ["run_in_batches"]

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


def run_in_batches(
    count: int, size: int, run: Callable[[Sequence[int], int], Iterable[tuple[int, Result]]]
) -> list[Result]:
    """Return the results of ``count`` requests, those that are left in batches of half the size where memory is short.

    Args:
        count: of requests.
        size: of a batch at first.
        run: yields index and result of the requests that it is given, in batches of the size that it is given.

    Raises:
        torch.OutOfMemoryError: not even batches of one fit.
    """
    import torch

    found: dict[int, Result] = {}
    while len(found) < count:
        left = [i for i in range(count) if i not in found]
        try:
            found.update(run(left, size))  # one by one: what came before an error is kept
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            _LOG.warning("memory is short: %d requests at a time from here on", size)
    return [found[i] for i in range(count)]
