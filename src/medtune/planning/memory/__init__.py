"""What a run needs on its device, from the model's dimensions and the spec alone: no weights, no torch, no GPU."""

from medtune.planning.memory.phases import Memory, estimate_memory
from medtune.planning.memory.setting import Path, Recompute, Setting
from medtune.planning.memory.shape import Shape
from medtune.planning.memory.sharded import sharded_memory

__all__ = ["Memory", "Path", "Recompute", "Setting", "Shape", "estimate_memory", "sharded_memory"]
