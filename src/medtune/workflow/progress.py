"""Whom a run tells how far it is: a bar on stderr, one in a notebook, nobody, or an object of the caller's."""

import sys
from typing import TYPE_CHECKING, Any, Literal, Protocol

from medtune.errors import UnknownNameError
from medtune.plugins.contracts import StepRecord
from medtune.plugins.plan import Plan

if TYPE_CHECKING:
    from medtune.data.hub.download import Progress as Download

__all__ = ["Progress", "ProgressChoice", "SilentProgress", "progress_of"]


class Progress(Protocol):
    """What is told of a run as it goes; nothing that it is told holds a row's text."""

    def stage(self, sentence: str) -> None:
        """Something begins, or is worth a sentence."""
        ...

    def plan(self, plan: Plan) -> None:
        """How the run will be done; told again where the plan changes."""
        ...

    def download(self, progress: "Download") -> None:
        """How far a download is, up to ten times a second."""
        ...

    def step(self, record: StepRecord) -> None:
        """An update was done, or a line was logged."""
        ...

    def close(self) -> None:
        """It ended, well or not; nothing is told after that."""
        ...


ProgressChoice = Progress | Literal["auto", "bar", "notebook", "silent"]
"""Whom to tell: by name, where "auto" is "notebook" inside one, else "bar"; or an object with the methods of ``Progress``."""


class SilentProgress:
    """Tells nobody."""

    def stage(self, sentence: str) -> None:
        """Say nothing."""

    def plan(self, plan: Plan) -> None:
        """Say nothing."""

    def download(self, progress: "Download") -> None:
        """Say nothing."""

    def step(self, record: StepRecord) -> None:
        """Say nothing."""

    def close(self) -> None:
        """There is nothing to end."""


def progress_of(choice: ProgressChoice) -> Progress:
    """Return who is told.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if not isinstance(choice, str):
        return choice
    name: str = choice
    if name == "auto":
        name = "notebook" if _is_notebook() else "bar"
    if name == "silent":
        return SilentProgress()
    if name == "notebook":
        from medtune.workflow.notebook import NotebookProgress

        return NotebookProgress()
    if name == "bar":
        from medtune.workflow.narration import Narrator

        return Narrator()
    raise UnknownNameError("progress", name, ("auto", "bar", "notebook", "silent"))


def _is_notebook() -> bool:
    """Whether a kernel shows what is displayed; a shell of IPython's has none."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")
