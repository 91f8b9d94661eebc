"""medtune's own tasks, provided as a plugin."""

from collections.abc import Sequence

from medtune.evaluation.task_contracts import Contracts
from medtune.evaluation.tasks.classification import ClassificationTask
from medtune.evaluation.tasks.extraction import ExtractionTask
from medtune.evaluation.tasks.ner import NerTask
from medtune.evaluation.tasks.nli import NliTask
from medtune.evaluation.tasks.qa import QaTask
from medtune.evaluation.tasks.relation import RelationTask
from medtune.plugins.contracts import Task
from medtune.plugins.hookspecs import hookimpl

__all__ = [
    "ClassificationTask",
    "ExtractionTask",
    "NerTask",
    "NliTask",
    "QaTask",
    "RelationTask",
    "own_tasks",
    "provide_tasks",
]

_CLASSES = (NerTask, RelationTask, NliTask, ClassificationTask, QaTask, ExtractionTask)


@hookimpl
def provide_tasks() -> Sequence[Task]:
    """Provide ``ner``, ``relation``, ``nli``, ``classification``, ``qa`` and ``extraction``."""
    return own_tasks(Contracts())


def own_tasks(contracts: Contracts) -> list[Task]:
    """Return medtune's own tasks, told what is known of the sources."""
    return [each(contracts) for each in _CLASSES]
