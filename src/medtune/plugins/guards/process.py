"""What foreign code may not change for the whole process: its folder, torch's settings, and where random numbers come from."""

import os
import random
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

__all__ = ["ProcessKept"]

_DTYPE, _GRADIENTS, _THREADS, _DETERMINISTIC = (
    "torch's default dtype",
    "torch's gradient mode",
    "torch's number of threads",
    "torch's deterministic algorithms",
)
_FOLDER = "the working directory"


class ProcessKept:
    """A context at whose end the process is put back as it was; ``changed`` then names what was changed inside.

    Args:
        drawn: whether the states of the random generators of Python, numpy and torch are put back too, which takes some
            microseconds; those of a GPU are where it is in use.
    """

    __slots__ = ("_before", "_drawn", "_with_drawn", "changed")

    def __init__(self, *, drawn: bool = False) -> None:
        self._with_drawn = drawn
        self.changed: list[str] = []

    def __enter__(self) -> Self:
        self._before = _settings()
        self._drawn = _states() if self._with_drawn else {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = _settings()
        for name, value in self._before.items():
            if now.get(name) != value:
                _PUT_BACK[name](value)
                self.changed.append(name)
        for name, (state, put_back, is_same) in self._drawn.items():
            if not is_same():
                put_back(state)
                self.changed.append(name)


def _settings() -> dict[str, Any]:
    torch, folder = _torch(), _folder()
    found: dict[str, Any] = {} if folder is None else {_FOLDER: folder}
    if torch is not None:
        found[_DTYPE], found[_GRADIENTS] = torch.get_default_dtype(), torch.is_grad_enabled()
        found[_THREADS] = torch.get_num_threads()
        found[_DETERMINISTIC] = torch.are_deterministic_algorithms_enabled()
    return found


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - asked for every row
    except OSError:  # it was removed
        return None


def _torch() -> Any:
    """Return torch where it is loaded, whole: nothing here needs it otherwise."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "are_deterministic_algorithms_enabled") else None


_PUT_BACK: Mapping[str, Callable[[Any], object]] = {
    _FOLDER: os.chdir,
    _DTYPE: lambda value: _torch().set_default_dtype(value),
    _GRADIENTS: lambda value: _torch().set_grad_enabled(value),
    _THREADS: lambda value: _torch().set_num_threads(value),
    _DETERMINISTIC: lambda value: _torch().use_deterministic_algorithms(value),
}

_State = tuple[Any, Callable[[Any], object], Callable[[], bool]]


def _states() -> dict[str, _State]:
    """Return name of a random generator -> its state, what sets it, and whether it still is that."""
    drawn = random.getstate()
    found: dict[str, _State] = {"Python's random numbers": (drawn, random.setstate, lambda: random.getstate() == drawn)}
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        of_numpy = numpy.get_state()
        found["numpy's random numbers"] = of_numpy, numpy.set_state, lambda: _alike(numpy.get_state(), of_numpy)
    torch = _torch()
    if torch is None:
        return found
    of_torch = torch.get_rng_state()
    found["torch's random numbers"] = (
        of_torch,
        torch.set_rng_state,
        lambda: torch.equal(torch.get_rng_state(), of_torch),
    )
    if torch.cuda.is_initialized():
        cuda, on_gpus = torch.cuda, torch.cuda.get_rng_state_all()
        found["torch's random numbers on GPUs"] = (
            on_gpus,
            cuda.set_rng_state_all,
            lambda: all(map(torch.equal, cuda.get_rng_state_all(), on_gpus)),
        )
    return found


def _alike(one: Any, other: Any) -> bool:
    return one[0] == other[0] and bool((one[1] == other[1]).all()) and one[2:] == other[2:]
