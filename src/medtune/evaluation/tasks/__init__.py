"""medtune's own tasks, provided as a plugin."""

from collections.abc import Sequence

from medtune.evaluation.tasks.classification import ClassificationTask
from medtune.evaluation.tasks.ner import NerTask
from medtune.evaluation.tasks.nli import NliTask
from medtune.evaluation.tasks.qa import QaTask
from medtune.evaluation.tasks.relation import RelationTask
from medtune.plugins.contracts import Task
from medtune.plugins.hookspecs import hookimpl

__all__ = ["ClassificationTask", "NerTask", "NliTask", "QaTask", "RelationTask", "provide_tasks"]


@hookimpl
def provide_tasks() -> Sequence[Task]:
    """Provide ``ner``, ``relation``, ``nli``, ``classification`` and ``qa``."""
    return [NerTask(), RelationTask(), NliTask(), ClassificationTask(), QaTask()]
