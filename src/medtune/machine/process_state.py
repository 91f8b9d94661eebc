"""What a training sets for the whole process, and gives back at its end."""

import logging
import os
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["process_kept"]


@contextmanager
def process_kept() -> Iterator[None]:
    """Put back at the end: states of generators, environment, warning filters, log levels, and settings of torch.

    Handlers of signals are kept by whoever sets them, ``runs.signals``. Generators of a GPU are kept where it was in use.
    """
    import numpy as np
    import torch

    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # in torch
    drawn: tuple[Any, Any, Any] = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    on_gpus = torch.cuda.get_rng_state_all() if cuda else []
    environment, filters, levels, settings = dict(os.environ), warnings.filters[:], _levels(), _settings(torch)
    try:
        yield
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002 - libraries underneath draw from the global state
        torch.set_rng_state(drawn[2])
        if cuda:
            torch.cuda.set_rng_state_all(on_gpus)
        _restore_environment(environment)
        warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever its stub says
        _restore_levels(levels)
        _restore_settings(torch, settings)


def _levels() -> dict[str, int]:
    """Return the level of every logger that there is by now; libraries set those of their own as they load."""
    known = logging.getLogger().manager.loggerDict
    return {"": logging.getLogger().level} | {
        name: logger.level for name, logger in known.items() if isinstance(logger, logging.Logger)
    }


def _restore_levels(before: Mapping[str, int]) -> None:
    """Set those that changed: setting one makes every logger of the process forget what it knew of itself."""
    for name, level in before.items():
        logger = logging.getLogger(name)
        if logger.level != level:
            logger.setLevel(level)


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _settings(torch: Any) -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "benchmark": torch.backends.cudnn.benchmark,
        "grad": torch.is_grad_enabled(),
    }


def _restore_settings(torch: Any, before: dict[str, Any]) -> None:
    now = _settings(torch)
    if now["threads"] != before["threads"]:
        torch.set_num_threads(before["threads"])
    torch.set_default_dtype(before["dtype"])
    torch.use_deterministic_algorithms(before["deterministic"], warn_only=before["warn_only"])
    if now["precision"] != before["precision"]:
        torch.set_float32_matmul_precision(before["precision"])
    torch.backends.cudnn.benchmark = before["benchmark"]
    torch.set_grad_enabled(before["grad"])
