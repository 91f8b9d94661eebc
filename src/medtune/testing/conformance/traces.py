"""What code can leave behind in a process, as a value that is compared before and after."""

# pyright: reportUnnecessaryIsInstance=false
# What foreign code gives may be anything, whatever its types say.

import builtins
import contextlib
import gc
import json
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Traces", "left_behind", "traces"]

Traces = Mapping[str, Mapping[str, Any]]
"""Kind of trace -> place -> what stood there, comparable."""

_PLAIN = (builtins, json, logging, os, random, socket, time, warnings)
_CLASSES = {
    "torch": ("Tensor", "nn.Module", "nn.Linear", "nn.Embedding", "nn.CrossEntropyLoss"),
    "transformers": ("PreTrainedModel", "PreTrainedTokenizerFast", "GenerationConfig", "Trainer"),
}
_KNOWN_THREADS = {"tqdm_monitor"}  # of progress bars, in any library
_MODULES = ("torch", "torch.nn", "torch.nn.functional", "torch.cuda", "pluggy", "importlib.metadata", "pathlib")


_ENDING_SECONDS = 1.0


def traces() -> Traces:
    """Return what there is to be changed: environment, patches, threads, logging, signals, interpreter, random states."""
    root = logging.getLogger()
    return {
        "environment": {**os.environ, "(working directory)": os.getcwd(), "(umask)": _umask()},  # noqa: PTH109 - as the process has it
        "patches": dict(_replaceable()),
        "threads": {f"{t.name} {t.ident}": t.ident for t in threading.enumerate() if t.name not in _KNOWN_THREADS},
        "logging": {
            "level of the root": root.level,
            "handlers of the root": [id(each) for each in root.handlers],
            "logging.disable": root.manager.disable,
            "level of 'medtune'": logging.getLogger("medtune").level,
            "handlers of 'medtune'": [id(each) for each in logging.getLogger("medtune").handlers],
        },
        "signals": {each.name: _handler(each) for each in signal.valid_signals() if isinstance(each, signal.Signals)},
        "interpreter": {
            "sys.excepthook": id(sys.excepthook),
            "sys.displayhook": id(sys.displayhook),
            "sys.meta_path": [id(each) for each in sys.meta_path],
            "sys.path_hooks": [id(each) for each in sys.path_hooks],
            "sys.path": list(sys.path),
            "recursion limit": sys.getrecursionlimit(),
            "gc": (gc.isenabled(), gc.get_threshold()),
            "locale": locale.setlocale(locale.LC_ALL),
            "trace function": id(sys.gettrace()),
            "default timeout of sockets": socket.getdefaulttimeout(),
            **_torch_settings(),
        },
        "random": {"random": hash(random.getstate()), **_numpy_random()},
    }


def left_behind(before: Traces, after: Traces, kinds: tuple[str, ...]) -> str | None:
    """Return as a sentence what is different, None where nothing is; values are not told, since they may be secrets."""
    for kind in kinds:
        old, new = before[kind], after[kind]
        if kind == "patches":
            changed = [
                name for place, names in old.items() if place in new for name in _replaced(place, names, new[place])
            ]
        else:
            changed = [place for place, value in old.items() if place in new and new[place] != value]
            if kind != "threads":
                changed += [place for place in old if place not in new]
            if kind in {"environment", "threads"}:
                changed += [place for place in new if place not in old]
            if kind == "threads":
                changed = [place for place in changed if _goes_on(new[place])]
        if changed:
            what = {"threads": "a thread goes on", "patches": "replaced"}.get(kind, "changed")
            return f"{kind}: {what}: {', '.join(sorted(changed)[:3])}"
    return None


def _goes_on(thread: int) -> bool:
    """Whether a thread is none that ends by itself: a library's pool does once nobody holds it."""
    gc.collect()
    for found in threading.enumerate():
        if found.ident == thread and found is not threading.current_thread():
            found.join(_ENDING_SECONDS)
            return found.is_alive()
    return False


def _replaced(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield the functions, classes and methods of a module or class that are others now."""
    with contextlib.suppress(Exception):  # values that do not say whether they are equal
        if old == new:
            return
    for name, value in old.items():
        is_code = callable(value) or isinstance(value, property | classmethod | staticmethod)
        if is_code and name in new and new[name] is not value:
            yield f"{place}.{name}"


def _replaceable() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the modules and classes in which a plugin could put others in the place of what is there."""
    modules = {module.__name__: module for module in _PLAIN}
    modules |= {name: sys.modules[name] for name in _MODULES if name in sys.modules}
    modules |= {name: module for name, module in sys.modules.copy().items() if name.startswith("medtune.")}
    for name, module in modules.items():
        if name.startswith("medtune.testing.conformance"):
            continue
        names = dict(vars(module))
        yield name, names
        if name.startswith("medtune."):
            for value in names.values():
                if isinstance(value, type) and value.__module__ == name:
                    yield f"{name}.{value.__qualname__}", dict(vars(value))
    for package, classes in _CLASSES.items():
        for dotted in classes if package in sys.modules else ():
            found = _reached(sys.modules[package], dotted)
            if isinstance(found, type):
                yield f"{package}.{dotted}", dict(vars(found))


def _reached(module: Any, dotted: str) -> Any:
    """Return what is there already; a name that is imported on first use is not asked for."""
    for part in dotted.split("."):
        module = vars(module).get(part)
        if module is None:
            return None
    return module


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def _handler(number: signal.Signals) -> Any:
    found = signal.getsignal(number)
    return found if isinstance(found, int) or found is None else id(found)


def _torch_settings() -> dict[str, Any]:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):
        return {}
    return {
        "torch's default type": str(torch.get_default_dtype()),
        "torch's gradients": torch.is_grad_enabled(),
        "torch's threads": torch.get_num_threads(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _numpy_random() -> dict[str, Any]:
    numpy: Any = sys.modules.get("numpy.random")
    return {} if numpy is None else {"numpy.random": hash(numpy.get_state()[1].tobytes())}
