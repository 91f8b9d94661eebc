"""The boundary around a plugin's code: what it raises becomes one error that names the plugin and holds none of its text."""

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from medtune.errors import MedtuneError, PluginContractError, PluginError, PluginFailedError
from medtune.plugins.guards.process import ProcessKept
from medtune.plugins.origin import Origin

__all__ = ["Boundary", "Call", "WithheldError", "place_of"]

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class WithheldError(Exception):
    """Stands as the cause of an error for what a plugin raised: its type and its traceback, without its text."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}, whose text is withheld since it may quote a row")
        self.__traceback__ = error.__traceback__


@dataclass(slots=True)
class Boundary:
    """Whose code is called, and as what.

    Attributes:
        origin: the plugin.
        what: kind and name of its thing, such as "task 'dose'"; empty for its hooks.
        modules: top-level packages that the plugin's code is in, by which its frames are told from those of libraries.
        rows_may_fail: methods whose exceptions are the fault of a row and pass as they are.
    """

    origin: Origin
    what: str = ""
    modules: Sequence[str] = ()
    rows_may_fail: frozenset[str] = frozenset()
    _passing: BaseException | None = field(default=None, init=False)
    _told: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]], init=False)

    def name_of(self, method: str) -> str:
        """Return what a method is called in errors."""
        return f"{self.what}.{method}" if self.what else method

    def run(self, method: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call foreign code.

        Raises:
            PluginFailedError: it raised anything but medtune's own errors, Ctrl-C, or torch's out of memory.
        """
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if self._passes(error, method):
                if isinstance(error, MedtuneError) and not isinstance(error, PluginError):
                    _note(error, f"in {self.name_of(method)} of {self.origin}")
                raise
            failed = PluginFailedError(
                str(self.origin), self.name_of(method), type(error).__name__, place_of(error, self.modules)
            )
            withheld, self._passing = WithheldError(error), None
        # outside of the handler, so that what was raised is no context of the error either
        raise failed from withheld

    def keep(self, method: str, function: Callable[P, R], *, drawn: bool = False) -> Callable[P, R]:
        """Return a foreign function after which the process is as before; the log says once what the function changed.

        Args:
            method: by which it is named.
            function: of the plugin.
            drawn: whether random generators are put back too.
        """

        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            kept = ProcessKept(drawn=drawn)
            try:
                with kept:
                    return function(*args, **kwargs)
            finally:
                for what in kept.changed:
                    self._tell(method, what)

        called.__doc__ = getattr(function, "__doc__", None)
        return called

    def _tell(self, method: str, what: str) -> None:
        if (method, what) not in self._told:
            self._told.add((method, what))
            _LOG.warning("%s changed %s in %s; put back", self.origin, what, self.name_of(method))

    def ours(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function of medtune or its user as foreign code may call it: what it raises is not the plugin's fault."""

        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                self._passing = error
                raise

        return called

    def require_passed(self) -> None:
        """Raise what a function of medtune raised and the plugin has swallowed."""
        if self._passing is not None:
            raise self._passing

    def _passes(self, error: BaseException, method: str) -> bool:
        if error is self._passing:
            self._passing = None
            return True
        if isinstance(error, Exception) and method in self.rows_may_fail:
            return True
        own = type(error).__module__.partition(".")[0] == "medtune"  # also StopNow, which is no error
        return own or isinstance(error, (KeyboardInterrupt, MedtuneError)) or _is_out_of_memory(error)


@dataclass(frozen=True, slots=True)
class Call:
    """A method of a plugin's thing as its check sees it.

    Attributes:
        boundary: around it.
        method: its name.
        function: what is called.
    """

    boundary: Boundary
    method: str
    function: Callable[..., Any]

    def fault(self, found: str, wanted: str) -> PluginContractError:
        """Return the error that says what was found of this call, and what its contract wants."""
        return PluginContractError(str(self.boundary.origin), self.boundary.name_of(self.method), found, wanted)

    def require(self, holds: bool, found: str, wanted: str) -> None:
        """Raise it unless the contract holds."""
        if not holds:
            raise self.fault(found, wanted)


def place_of(error: BaseException, modules: Sequence[str] = ()) -> str:
    """Return file and line of the innermost frame in code of these packages, else of the innermost frame."""
    frames = list(_frames(error.__traceback__))
    inside = [frame for frame in frames if frame[0].partition(".")[0] in modules]
    if not frames:
        return "an unknown place"
    _module, file, line = (inside or frames)[-1]
    return f"{Path(file).name}:{line}"


def _frames(trace: TracebackType | None) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    while trace is not None:
        frame = trace.tb_frame
        found.append((str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _note(error: BaseException, note: str) -> None:
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _is_out_of_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)
