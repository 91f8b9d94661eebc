"""Whether Triton kernels are used in this process, and how those of a first pass are compiled."""
# pyright: reportMissingImports=false

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

__all__ = ["compiled_together", "give_up_triton", "has_triton", "launch"]

_only_compiles: ContextVar[bool] = ContextVar("only_compiles", default=False)
"""Whether launches of this thread are compiled and not run; a thread that begins meanwhile does not inherit it."""
_failures: list[str] = []
_OLDEST = (7, 5)
"""Turing: of Volta's generation Triton compiles no products any more."""


def has_triton() -> bool:
    """Say whether Triton is installed, compiles for this GPU, and none of its kernels has failed."""
    return not _failures and find_spec("triton") is not None and _is_compiled_for()


@cache
def _is_compiled_for() -> bool:
    import torch

    return not torch.cuda.is_available() or torch.cuda.get_device_capability() >= _OLDEST


def give_up_triton(reason: str) -> None:
    """Use no Triton kernel from now on: a compiler, driver or GPU does not get along with them."""
    _failures.append(reason)


def launch(kernel: Any, grid: tuple[int, ...]) -> Callable[..., Any]:
    """Return what launches a kernel on a grid; within ``compiled_together`` it is compiled instead."""
    if _only_compiles.get():
        return partial(kernel.run, grid=grid, warmup=True)
    launcher: Callable[..., Any] = kernel[grid]
    return launcher


@contextmanager
def compiled_together() -> Iterator[None]:
    """Compile and load the Triton kernels that this thread launches within, side by side, and run none of them.

    What they would have written is undefined. One that cannot be compiled is left out: it raises its error when it is run.
    Kernels of others, and those that other threads launch meanwhile, run as ever.
    """
    import torch
    import triton

    device = torch.cuda.current_device() if torch.cuda.is_available() else None

    def choose_device() -> None:
        if device is not None:
            torch.cuda.set_device(device)  # each thread has its own

    token = _only_compiles.set(True)
    try:
        with ThreadPoolExecutor(initializer=choose_device) as pool:
            mode = triton.AsyncCompileMode(pool, ignore_errors=True)
            submit = mode.submit
            mode.submit = lambda key, compile_fn, finalize_fn: submit(key, lambda: _ready(compile_fn()), finalize_fn)
            with mode:
                yield
    finally:
        _only_compiles.reset(token)


def _ready(kernel: Any) -> Any:
    """Have a kernel loaded, and what launches it written by the C compiler, which Triton up to 3.6 asks for each."""
    try:
        _ = kernel.run
    except Exception:  # noqa: BLE001 - told again where it is launched
        kernel._run = None  # noqa: SLF001 - else it counts as loaded
    return kernel
