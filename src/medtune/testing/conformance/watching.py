"""Runs plugin code and sees what it prints, logs, reaches, leaves behind, and whether it ends."""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Generator
from typing import Any, NoReturn

from medtune.testing.conformance.bench import CANARY, Seen
from medtune.testing.conformance.traces import left_behind, traces

__all__ = ["TooSlowError", "watched"]

_KINDS = ("environment", "patches", "threads", "logging", "signals", "interpreter")


class TooSlowError(BaseException):
    """Plugin code did not end in time; no ``except Exception`` of its own catches it."""


@contextlib.contextmanager
def watched(seen: Seen, seconds: float) -> Generator[None]:
    """Note what is done inside; raise TooSlowError there when it takes longer."""
    before = traces()
    try:
        with _output(seen), _logs(seen), _offline(seen), _limited(seconds):
            yield
    except TooSlowError:
        seen.ended.append(f"it did not end within {seconds:.0f} s")
        raise
    except (SystemExit, GeneratorExit) as error:
        seen.ended.append(f"it raised {type(error).__name__}")
        raise
    finally:
        left = left_behind(before, traces(), _KINDS)
        if left is not None:
            seen.left.append(left)


@contextlib.contextmanager
def _limited(seconds: float) -> Generator[None]:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: Any) -> NoReturn:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _output(seen: Seen) -> Generator[None]:
    """Lead stdout and stderr, as Python's streams and as file descriptors, into files."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    with contextlib.ExitStack() as held:
        files: list[Any] = []
        for number in (1, 2):
            file = held.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
            kept = os.dup(number)
            os.dup2(file.fileno(), number)
            held.callback(_give_back, kept, number)
            files.append(file)
        sys.stdout, sys.stderr = files
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
            texts = [_written(file) for file in files]
            if texts[0]:
                seen.printed.append(f"{len(texts[0])} characters on stdout")
            seen.quoted += [
                f"on {name}" for name, text in zip(("stdout", "stderr"), texts, strict=True) if CANARY in text
            ]


def _give_back(kept: int, number: int) -> None:
    os.dup2(kept, number)
    os.close(kept)


def _written(file: Any) -> str:
    if file.closed:
        return "closed"
    file.flush()
    file.seek(0)
    return str(file.read())


class _Listener(logging.Handler):
    """Looks for the text of rows in log records."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(0)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            text = record.getMessage() + (str(record.exc_info[1]) if record.exc_info else "")
            if CANARY in text:
                self._seen.quoted.append(f"in the log of '{record.name}'")


@contextlib.contextmanager
def _logs(seen: Seen) -> Generator[None]:
    root, listener = logging.getLogger(), _Listener(seen)
    level = root.level
    root.addHandler(listener)
    if level == logging.WARNING:
        root.setLevel(logging.DEBUG)  # what is said at a finer level is said where a user asks for it
    told = root.level
    try:
        yield
    finally:
        root.removeHandler(listener)
        if root.level == told:
            root.setLevel(level)


@contextlib.contextmanager
def _offline(seen: Seen) -> Generator[None]:
    """Refuse connections and look-ups of names."""

    def refuse(*_arguments: Any, **_options: Any) -> NoReturn:
        seen.network.append("it asked for a connection")
        raise OSError("the conformance kit lets nothing reach the network")

    names = ("getaddrinfo", "create_connection", "gethostbyname")
    kept = {name: getattr(socket, name) for name in names}
    methods = {name: vars(socket.socket).get(name) for name in ("connect", "connect_ex")}
    for name in names:
        setattr(socket, name, refuse)
    for name in methods:
        setattr(socket.socket, name, refuse)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(socket, name, function)
        for name, method in methods.items():
            if method is None:
                delattr(socket.socket, name)  # it is inherited
            else:
                setattr(socket.socket, name, method)
