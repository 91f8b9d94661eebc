"""What every encoded row goes through before training: the perfect answer check, and the look at gold answers."""

from collections.abc import Callable, Sequence
from typing import Any

from medtune.data.encode import Encoder
from medtune.data.rewriting import rewriting_of
from medtune.data.samples import Sample
from medtune.evaluation.gold_lint import GoldLint, Split
from medtune.evaluation.scoring import bind
from medtune.evaluation.source_survey import SourceSurvey
from medtune.evaluation.template_text import spells_template
from medtune.plugins.contracts import Task
from medtune.specs import RunSpec
from medtune.workflow.perfect_answers import PerfectAnswers

__all__ = ["RowChecks"]

_LINT_VERSION = 4


class RowChecks:
    """A ``RowChecker``: faults come from the perfect answer check; what is merely odd is counted by the lint.

    Args:
        tasks: the registered tasks.
        spec: says what sources are; None where nobody does.
    """

    def __init__(self, tasks: Sequence[Task], spec: RunSpec | None = None) -> None:
        self._declared = spec.tasks if spec is not None else ()
        self._survey = SourceSurvey(self._declared)
        tasks = bind(tasks, self._survey.contracts())
        self._perfect, self._lint = PerfectAnswers(tasks), GoldLint(tasks)
        self._encoder: Encoder | None = None
        self._rewrites: Callable[[str], bool] | None = None

    @property
    def identity(self) -> str:
        """The versions of both, and the tasks."""
        declared = [task.model_dump_json() for task in self._declared]
        return f"{self._perfect.identity} lint {_LINT_VERSION} {' '.join(declared)}".strip()

    def faults(self, samples: Sequence[Sample], encoder: Encoder, *, every: bool) -> list[str]:
        """Return what is wrong with each row, as ``PerfectAnswers`` does; ``every`` row is looked at in validation."""
        if encoder is not self._encoder:
            self._encoder, self._rewrites = encoder, rewriting_of(encoder.tokenizer)

        def spells(text: str) -> bool:
            return spells_template(text) or encoder.spells_control(text)

        split: Split = "validation" if every else "training"
        self._survey.take(sample.example for sample in samples)
        self._lint.take(split, [sample.example for sample in samples], rewrites=self._rewrites, spells=spells)
        return self._perfect.faults(samples, encoder, every=every)

    def require_few(self, limit: float) -> None:
        """Raise DataError when a larger share than ``limit`` would not score 1.0."""
        self._perfect.require_few(limit)

    def found(self) -> dict[str, Any]:
        """Return what both found; the lint's under ``lint``, and what each source is under ``tasks``."""
        told = [contract.to_json() for contract in self._survey.contracts(strict=False).members]
        lint = [finding.to_json() for finding in [*self._lint.findings(), *self._survey.findings()]]
        return {**self._perfect.found(), "lint": lint, "tasks": told}
