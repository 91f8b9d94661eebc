"""Runs a medtune spec by Ray Train and sweeps settings of it by Ray Tune; ``python -m medtune_ray SPEC --workers N``."""

from medtune_ray.errors import RayLockedError, RayOpenError, WorkersFailedError
from medtune_ray.sweep import Sweep, Trial, sweep
from medtune_ray.train import Outcome, train

__all__ = ["Outcome", "RayLockedError", "RayOpenError", "Sweep", "Trial", "WorkersFailedError", "sweep", "train"]
