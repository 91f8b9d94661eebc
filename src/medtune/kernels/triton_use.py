"""Whether Triton kernels are used in this process: where Triton is installed, until one of them fails."""

from importlib.util import find_spec

__all__ = ["give_up_triton", "has_triton"]

_failures: list[str] = []


def has_triton() -> bool:
    """Say whether Triton is installed and none of its kernels has failed."""
    return not _failures and find_spec("triton") is not None


def give_up_triton(reason: str) -> None:
    """Use no Triton kernel from now on: a compiler, driver or GPU does not get along with them."""
    _failures.append(reason)
