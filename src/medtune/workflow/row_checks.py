"""What every encoded row goes through before training: the perfect answer check, and the look at gold answers."""

from collections.abc import Callable, Sequence
from typing import Any

from medtune.data.encode import Encoder
from medtune.data.rewriting import rewriting_of
from medtune.data.samples import Sample
from medtune.evaluation.gold_lint import GoldLint, Split
from medtune.evaluation.template_text import spells_template
from medtune.plugins.contracts import Task
from medtune.workflow.perfect_answers import PerfectAnswers

__all__ = ["RowChecks"]

_LINT_VERSION = 1


class RowChecks:
    """A ``RowChecker``: faults come from the perfect answer check; what is merely odd is counted by the lint.

    Args:
        tasks: the registered tasks.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._perfect, self._lint = PerfectAnswers(tasks), GoldLint(tasks)
        self._encoder: Encoder | None = None
        self._rewrites: Callable[[str], bool] | None = None

    @property
    def identity(self) -> str:
        """The versions of both, and the tasks."""
        return f"{self._perfect.identity} lint {_LINT_VERSION}"

    def faults(self, samples: Sequence[Sample], encoder: Encoder, *, every: bool) -> list[str]:
        """Return what is wrong with each row, as ``PerfectAnswers`` does; ``every`` row is looked at in validation."""
        if encoder is not self._encoder:
            self._encoder, self._rewrites = encoder, rewriting_of(encoder.tokenizer)

        def spells(text: str) -> bool:
            return spells_template(text) or encoder.spells_control(text)

        split: Split = "validation" if every else "training"
        self._lint.take(split, [sample.example for sample in samples], rewrites=self._rewrites, spells=spells)
        return self._perfect.faults(samples, encoder, every=every)

    def require_few(self, limit: float) -> None:
        """Raise DataError when a larger share than ``limit`` would not score 1.0."""
        self._perfect.require_few(limit)

    def found(self) -> dict[str, Any]:
        """Return what both found; the lint's under ``lint``."""
        return {**self._perfect.found(), "lint": [finding.to_json() for finding in self._lint.findings()]}
