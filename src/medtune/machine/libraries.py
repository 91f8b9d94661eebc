"""Keeps the libraries underneath local and quiet: no code from a hub, no progress bars or warnings of their own."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

__all__ = ["import_bitsandbytes", "quiet_data_sets", "quiet_libraries", "quiet_transformers"]

_BITSANDBYTES = "bitsandbytes"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Load bitsandbytes safely, and do what ``quiet_transformers`` does: for whatever loads or makes a model."""
    import_bitsandbytes()
    with quiet_transformers():
        yield


class _Shared:
    """A change of the whole process, made by the first of all threads that want it and undone by the last.

    Args:
        change: makes it, and undoes it at its end.
        renew: makes it again where others may have undone it meanwhile, as who puts back the filters of warnings does.
    """

    def __init__(
        self, change: Callable[[], AbstractContextManager[None]], renew: Callable[[], None] = lambda: None
    ) -> None:
        self._change, self._renew = change, renew
        self._guard, self._held, self._wanted = threading.Lock(), ExitStack(), 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, the change is made."""
        with self._guard:
            if self._wanted == 0:
                self._held.enter_context(self._change())
            else:
                self._renew()
            self._wanted += 1
        try:
            yield
        finally:
            with self._guard:
                self._wanted -= 1
                if self._wanted == 0:
                    self._held.close()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence deprecation warnings and progress bars of the libraries inside the block, for what never needs bitsandbytes.

    bitsandbytes draws torch's compiler in as it is imported: seconds, and 200 MiB, which the preparation of rows is spared.
    Errors still raise; warnings of medtune's own go through its log.
    """
    with _TRANSFORMERS.held():
        yield


@contextmanager
def _silent_transformers() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            _ignore_warnings()
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _ignore_warnings() -> None:
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.filterwarnings("ignore", ".* changes the base weights of the model")  # medtune undoes that
    warnings.filterwarnings("ignore", "Paged optimizers are not supported on CPU")  # same arithmetic, unpaged


_TRANSFORMERS = _Shared(_silent_transformers, _ignore_warnings)


@contextmanager
def quiet_data_sets() -> Iterator[None]:
    """Silence what ``datasets`` and the hub's client log about a card without a head, a schema or a retry.

    What is wrong with a data set is raised, and said by medtune.
    """
    with _DATA_SETS.held():
        yield


@contextmanager
def _silent_data_sets() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_DATA_SETS = _Shared(_silent_data_sets)


def import_bitsandbytes() -> None:
    """Import bitsandbytes while ``kernels`` cannot be imported.

    On CPUs with AVX512-BF16 bitsandbytes 0.50 downloads compiled code from a hub as it is imported, when the package
    ``kernels`` is installed; without it, it computes the same with its own library.
    """
    if _BITSANDBYTES in sys.modules:
        return
    absent = object()
    before = sys.modules.get("kernels", absent)
    sys.modules["kernels"] = None  # type: ignore[assignment]  # Python's way to make an import fail
    complaint = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level = complaint.level
    complaint.setLevel(logging.ERROR)
    try:
        __import__(_BITSANDBYTES)
    except ImportError:
        return  # the quantizer says so when it is needed
    finally:
        complaint.setLevel(level)
        if before is absent:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = before  # type: ignore[assignment]
