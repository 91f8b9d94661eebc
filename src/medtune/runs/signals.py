"""The wish to stop: signals, requests to cancel and the time limit, asked after every step."""

import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopNow", "StopRequest"]

_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT")  # SIGUSR1 is what SLURM's --signal sends before a limit


class StopNow(BaseException):
    """The run should stop where it is, because there is no step to finish; no error, so that nobody handles it as one."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class StopRequest:
    """Whether, and why, the run should stop after the step it is in; a context manager.

    Inside the ``with`` block SIGTERM, SIGUSR1 and SIGINT only set ``reason``; a second SIGINT raises KeyboardInterrupt
    at once. Handlers are installed in the main thread only, as the platform demands, and restored at the end.

    Args:
        max_minutes: time limit from the start of the block, None for none.
        clock: seconds that only grow.
        cancels: each says whether somebody asked to cancel; that may come from any thread or process.
    """

    def __init__(
        self,
        max_minutes: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        cancels: Sequence[Callable[[], bool]] = (),
    ) -> None:
        self.max_minutes, self._clock, self._cancels = max_minutes, clock, tuple(cancels)
        self._signal: str | None = None
        self._started = clock()
        self._previous: dict[int, Any] = {}
        self._is_patient = True

    @property
    def reason(self) -> str | None:
        """Name of the first signal, "cancel", or the time limit in words once it has passed, or None."""
        if self._signal is not None:
            return self._signal
        if any(is_asked() for is_asked in self._cancels):
            return "cancel"
        if self.max_minutes is not None and self._clock() - self._started >= self.max_minutes * 60:
            return f"time limit of {self.max_minutes:g} minutes"
        return None

    @contextmanager
    def at_once(self) -> Generator[None]:
        """Raise StopNow as soon as there is a reason: for stages that are simply done again, such as scoring."""
        self._is_patient = False
        try:
            self.check()
            yield
        finally:
            self._is_patient = True

    def check(self) -> None:
        """Raise StopNow if there is a reason; only a signal is noticed in the midst of a stage."""
        if (reason := self.reason) is not None:
            raise StopNow(reason)

    def __enter__(self) -> Self:
        self._started = self._clock()
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)  # SIGUSR1 is missing on Windows
                if number is not None:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that C code installed: Python cannot put it back
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous.clear()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._signal == "SIGINT":
            raise KeyboardInterrupt
        self._signal = self._signal or signal.Signals(number).name
        if not self._is_patient:
            self._is_patient = True  # what is cleaned up on the way out is not cut short
            raise StopNow(self._signal)
