"""Says that the fast path or the decoder cannot run a model: the one exception for it, and what turns surprises into it."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["UnsupportedError", "surprises_refused"]

_SURPRISES = (
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    ImportError,
)


class UnsupportedError(Exception):
    """A model is built otherwise than medtune's own forms; the message says how, as the end of a sentence about it."""


@contextmanager
def surprises_refused() -> Iterator[None]:
    """Turn whatever reading a model runs into, such as a missing attribute or another shape, into a refusal.

    Raises:
        UnsupportedError: the plain path is to run.
    """
    try:
        yield
    except (UnsupportedError, MemoryError):
        raise
    except _SURPRISES as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is a RuntimeError and says nothing of the model
            raise
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UnsupportedError(f"it is built otherwise than the models that are known ({said})") from error
