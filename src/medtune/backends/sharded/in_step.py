"""Lets each process run its own number of forward passes of a sharded base, which all processes have to run together."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from medtune.backends.sharded.layers import backbone_of
from medtune.errors import OtherProcessError

__all__ = ["in_step"]


@contextmanager
def in_step(base: Any) -> Iterator[None]:
    """Inside, a process may run as many forward passes without gradients as it likes, others none; all must enter it.

    A pass gathers every layer from all processes. So before each pass they tell one another who has one: those that have none
    any more run one over a single token in the meantime, until nobody has one.

    Args:
        base: a causal model, after ``shard_layers``, without peft around it.

    Raises:
        OtherProcessError: another process failed inside, between two passes.
    """
    if distributed.get_world_size() == 1:
        yield
        return
    backbone = backbone_of(base)
    device = base.get_input_embeddings().weight.device
    turns = _Turns(device)
    hooks = [
        backbone.register_forward_pre_hook(turns.begin, prepend=True),
        backbone.register_forward_hook(turns.end),
    ]
    try:
        try:
            yield
        except OtherProcessError:
            raise
        except BaseException:
            if (
                not turns.is_running
            ):  # else the others wait inside the pass for what will not come; their launcher ends them
                turns.tell(works=False, failed=True)
            raise
        turns.follows = True
        while turns.tell(works=False):
            with torch.no_grad():
                backbone(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()


class _Turns:
    """What a process tells the others before each pass.

    Attributes:
        is_running: whether a pass has begun and not ended.
        follows: whether its own passes are done, and those that it runs are for others.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.is_running = self.follows = False

    def tell(self, *, works: bool, failed: bool = False) -> bool:
        """Return whether any process has a pass to run."""
        votes = torch.tensor([int(works), int(failed)], device=self._device)
        distributed.all_reduce(votes)
        workers, failures = votes.tolist()
        if failures and not failed:
            raise OtherProcessError("scored or saved with a sharded base")
        return bool(workers)

    def begin(self, _module: Any, _given: Any) -> None:
        """Run before a pass."""
        if not self.follows:
            self.tell(works=True)
        self.is_running = True

    def end(self, _module: Any, _given: Any, _found: Any) -> None:
        """Run after a pass."""
        self.is_running = False
