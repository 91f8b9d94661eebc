"""Tells a run in a notebook: one output below the cell, replaced as the run goes on."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from medtune.errors.visible import html_text as escape
from medtune.plugins.contracts import StepRecord
from medtune.plugins.plan import Plan
from medtune.plugins.plan_in_words import size_in_words

if TYPE_CHECKING:
    from medtune.data.hub.download import Progress as Download

__all__ = ["NotebookProgress", "Show"]

Show = Callable[[Mapping[str, str], str, bool], None]
"""Shows text by media type under an id; True replaces what was shown under it."""

_STYLE = "width:100%;max-width:40em"


class NotebookProgress:
    """Shows plan, stages and a bar.

    Args:
        show: shows an output; None is IPython's ``display``.
    """

    def __init__(self, show: Show | None = None) -> None:
        self._show, self._id, self._is_shown = show or _display, f"medtune-{uuid4().hex}", False
        self._lines: list[str] = []
        self._state, self._share = "", 0.0

    def stage(self, sentence: str) -> None:
        """Add a line."""
        self._lines.append(sentence)
        self._state, self._share = "", 0.0
        self._draw()

    def plan(self, plan: Plan) -> None:
        """Add the lines of the plan."""
        self._lines += plan.lines()
        self._draw()

    def download(self, progress: "Download") -> None:
        """Move the bar."""
        done, total = size_in_words(progress.done), size_in_words(progress.total)
        self._state, self._share = f"{progress.repository}: {done} of {total}", progress.done / max(progress.total, 1)
        self._draw()

    def step(self, record: StepRecord) -> None:
        """Move the bar; a logged record brings the loss."""
        step, total = record["step"], record["total_steps"]
        loss = record.get("loss")
        kept = self._state.partition("  ")[2] if loss is None else f"loss {loss:.3f}"
        self._state, self._share = f"step {step}/{total}  {kept}", step / max(total, 1)
        self._draw()

    def close(self) -> None:
        """Leave what was shown last."""

    def _draw(self) -> None:
        text = "\n".join([*self._lines, *([self._state] if self._state else [])])
        page = "<br>".join(map(escape, self._lines))
        if self._state:
            page += f'<br><progress style="{_STYLE}" value="{self._share:.4f}"></progress> {escape(self._state)}'
        self._show({"text/plain": text, "text/html": f"<div>{page}</div>"}, self._id, self._is_shown)
        self._is_shown = True


def _display(bundle: Mapping[str, str], identity: str, update: bool) -> None:
    from IPython.display import display  # pyright: ignore[reportMissingImports]

    display(dict(bundle), raw=True, display_id=identity, update=update)
