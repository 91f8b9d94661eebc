"""Has a trainer take a sharded base as it is: no wrapper of its own around it, no second sharding."""

from functools import partial
from typing import Any

from medtune.backends.sharded.layers import is_sharded, require_sharded

__all__ = ["leave_unwrapped"]


def leave_unwrapped(trainer: Any) -> bool:
    """Keep accelerate from wrapping a sharded model for data parallelism, and say whether the trainer's model is one.

    The adapter is whole on every process, and its gradients are averaged before they are clipped.

    Raises:
        SpecError: a part of the base that should be sharded lies whole on a process.
    """
    model = trainer.model
    if not is_sharded(model):
        return False
    require_sharded(model.get_base_model(), trainer.args.world_size)
    accelerator = trainer.accelerator
    accelerator.prepare_model = partial(accelerator.prepare_model, device_placement=False, evaluation_mode=True)
    return True
