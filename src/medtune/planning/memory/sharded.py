"""What a process holds of a base whose layers are sharded over several (FSDP2), and what is gathered while it computes."""

import math
from dataclasses import replace

from medtune.planning.memory.phases import Memory, estimate_memory
from medtune.planning.memory.setting import Recompute, Setting
from medtune.planning.memory.shape import Shape

__all__ = ["sharded_memory"]


def sharded_memory(shape: Shape, setting: Setting, processes: int) -> Memory:
    """Return what each of ``processes`` needs on its device when the base's layers are sharded over them.

    A process holds its rows of every layer's weights (parameters / processes), embedding, head and last norm whole, and the
    whole adapter with its gradient and optimizer state: only layers are sharded. "gathered" is what it has whole besides
    while it computes: two layers, the one at work and the next, and a third one's bytes that are on their way. Activations
    are those of the plain path, which is the one that runs.

    Args:
        shape: of the base.
        setting: as for one process; its scheme is "none" or "fp8".
        processes: that share the base.
    """
    return estimate_memory(shape, sharded(setting, processes))


def sharded(setting: Setting, processes: int) -> Setting:
    """Return a setting as it is where the base is sharded: on the plain path, which computes again nothing or all."""
    recompute: Recompute = "none" if setting.recompute == "none" else "all"
    return replace(setting, path="plain", keeps_dequantized=False, recompute=recompute, shards=math.ceil(processes))
