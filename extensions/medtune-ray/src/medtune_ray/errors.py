"""What can go wrong between medtune and Ray; each is one sentence, and none tells a row."""

from medtune.errors import MedtuneError

__all__ = ["RayLockedError", "RayOpenError", "WorkersFailedError"]


class RayLockedError(MedtuneError):
    """A locked run was to be given to Ray."""

    exit_code = 5

    def __init__(self) -> None:
        super().__init__(
            "a locked run cannot be given to Ray, whose processes speak over sockets that medtune cannot watch; train it by "
            "`medtune train` or torchrun, or take the lock away"
        )


class RayOpenError(MedtuneError):
    """Ray would listen where other machines reach it."""

    exit_code = 5

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__(
            f"Ray came up at '{address}', where other machines reach it, and was stopped; let medtune_ray import ray, or start a "
            "cluster of your own and set RAY_ADDRESS"
        )


class WorkersFailedError(MedtuneError):
    """Workers were lost more often than they may be; what the run saved is there, so it can go on."""

    exit_code = 75

    def __init__(self, path: str, failures: int, last: str) -> None:
        self.path, self.failures, self.last = path, failures, last
        super().__init__(
            f"run '{path}' lost its workers more than {failures} times, the last time by {last}; run the same command again to "
            "go on from the newest checkpoint, or allow more by --max-failures"
        )
