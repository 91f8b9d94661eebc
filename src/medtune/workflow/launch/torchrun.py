"""``python -m medtune.workflow.launch.torchrun``: torchrun, which ends with the exit code of the run and not with 1."""

import sys
from collections.abc import Iterable, Sequence

__all__ = ["exit_code_of", "main"]

_GO_ON, _OWN, _CTRL_C = 75, range(2, 10), 130


def main(arguments: Sequence[str]) -> int:
    """Run torchrun with ``arguments``, and return what its processes ended with.

    torchrun itself ends with 1 for whatever its processes end with, so that nobody could tell a run that goes on when it is
    started again (75) from one that would fail again. A signal, on which the processes save, a lost machine and a killed
    process are 75 too.
    """
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import main as torchrun  # pyright: ignore[reportUnknownVariableType]

    try:
        torchrun([*arguments])
    except ChildFailedError as error:
        return exit_code_of(failure.exitcode for failure in error.failures.values())
    except (SignalException, RendezvousError, DistError):
        return _GO_ON
    return 0


def exit_code_of(codes: Iterable[int]) -> int:
    """Return one exit code for those of all processes that failed.

    What medtune itself says of a run counts first, then that it goes on; a process that a signal ended (a negative code) left
    a run that goes on.

    >>> exit_code_of([1, -9]), exit_code_of([75, 8]), exit_code_of([1])
    (75, 8, 1)
    """
    found = sorted(codes)
    own = [code for code in found if code in _OWN or code == _CTRL_C]
    if own:
        return own[0]
    return _GO_ON if any(code == _GO_ON or code < 0 for code in found) else max(found, default=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
