"""Which of the finished settings is chosen, by one half of the validation rows, and what it is worth on the other half."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import DataError
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import Evaluation, score_predictions
from medtune.plugins.contracts import Prediction, Task
from medtune.plugins.host import PluginHost
from medtune.workflow.kept_answers import AnswerFiles
from medtune.workflow.leg import halves
from medtune.workflow.run import Run

__all__ = ["Answers", "figure_of", "in_words", "worth_of"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model answered: to the rows that choose, and to the others.

    Attributes:
        choosing: answers to the rows that choose.
        others: answers to the rows that do not.
        tasks: which score them.
    """

    choosing: Sequence[Prediction]
    others: Sequence[Prediction]
    tasks: Sequence[Task]

    @classmethod
    def read(cls, run: Path, host: PluginHost, seed: int, *, base: bool = False) -> "Answers":
        """Read those of a finished run, or of its base."""
        tasks = Run.open(run, plugins=host).host.all("task")
        files = AnswerFiles(run / "evaluation", "base" if base else "tuned")
        found = read_predictions(files.predictions, tasks)
        choosing, _others = halves([prediction.example for prediction in found], seed)
        known = {id(example) for example in choosing}
        parts: tuple[list[Prediction], list[Prediction]] = ([], [])
        for prediction in found:
            parts[id(prediction.example) not in known].append(prediction)
        if not all(parts):
            raise DataError(
                f"{len(found)} validation rows cannot be halved into rows that choose and rows that tell what that is worth; "
                "give more of them, of two documents at least"
            )
        return cls(*parts, tasks)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Which rows were answered."""
        examples = (prediction.example for prediction in (*self.choosing, *self.others))
        return sorted((example.source, example.row_id) for example in examples)


def figure_of(answers: Answers, figure: str) -> float | None:
    """Return the figure by which a finished setting is chosen, from its answers to the rows that choose."""
    return _figure(score_predictions(answers.choosing, answers.tasks, intervals=False), figure)


def worth_of(tuned: Answers, base: Answers | None) -> dict[str, Any]:
    """Return the chosen setting's scores on both halves, and the base's beside them.

    Returns:
        ``choosing`` and ``others``, each with ``rows``, ``macro`` (mean of the tasks that are defined on both) and ``tasks``:
        task -> ``metric``, ``value``, ``interval``, ``rows`` and ``base``.
    """
    below = ((), ()) if base is None else (base.choosing, base.others)
    choosing = _worth(tuned.choosing, below[0], tuned.tasks)
    others = _worth(tuned.others, below[1], tuned.tasks)
    both = choosing["tasks"].keys() & others["tasks"].keys()
    for side in (
        choosing,
        others,
    ):  # a task may be undefined on one of them, such as an F1 where there is nothing to find
        values = [side["tasks"][task]["value"] for task in sorted(both)]
        side["macro"] = sum(values) / len(values) if values else None
    return {"choosing": choosing, "others": others}


def in_words(name: str, settings: int, by: str, worth: Mapping[str, Any]) -> str:
    """Return the sentence that says what choosing did to the chosen one's score."""
    choosing, others = worth["choosing"], worth["others"]
    shown = [f"{side['macro']:.3f}" if side["macro"] is not None else "undefined" for side in (choosing, others)]
    return (
        f"{name} was chosen among {settings} settings by {'the ' * (by == 'loss')}{by} of {choosing['rows']:,} validation rows, "
        f"where its mean score is {shown[0]}; on the {others['rows']:,} other rows, which chose nothing, it is {shown[1]}."
    )


def _worth(answers: Sequence[Prediction], base: Sequence[Prediction], tasks: Sequence[Task]) -> dict[str, Any]:
    found = score_predictions(answers, tasks)
    below = score_predictions(base, tasks, intervals=False) if base else None
    return {
        "rows": len(answers),
        "tasks": {
            task: {
                "metric": score.primary,
                "value": score.metrics[score.primary],
                "interval": list(score.intervals[score.primary]) if score.primary in score.intervals else None,
                "rows": score.rows_of.get(score.primary, score.rows),
                "base": None if below is None else _figure(below, task),
            }
            for task, score in found.tasks.items()
            if score.primary in score.metrics
        },
    }


def _figure(found: Evaluation, figure: str) -> float | None:
    if figure == "macro":
        return found.macro_score
    score = found.tasks.get(figure)
    return None if score is None else score.metrics.get(score.primary)
