"""Says which gold answers no answer can match: those that are not of their source's kind, and cells that were empty."""

from collections.abc import Mapping

from medtune.evaluation.missing_text import is_missing
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import contracts_of, is_own
from medtune.evaluation.tasks.qa import Answer
from medtune.plugins.contracts import Example, Task

__all__ = ["FIT_SENTENCES", "faults_of_fit"]

FIT_SENTENCES: Mapping[str, str] = {
    "unfit": "are not of the kind that their source has (an option of the question, yes, no or maybe, or a set of labels), so that "
    "every answer to them counts as wrong; correct the kind in tasks, or these rows",
    "missing": "are what a table writes for an empty cell ('nan', '<NA>'): they tell no kind and no label, and every answer to them "
    "counts as wrong; leave these rows out",
}
"""Kind of finding -> what is said of the answers."""


def faults_of_fit(example: Example, task: Task | None) -> Mapping[str, bool]:
    """Return kind of finding -> whether a row's gold answer shows it.

    Args:
        example: the row.
        task: that scores its source; None where none does.
    """
    return {"missing": is_missing(answer_of(example)), "unfit": task is not None and _is_unfit(example, task)}


def _is_unfit(example: Example, task: Task) -> bool:
    if not is_own(task) or is_missing(answer_of(example)) or not answer_of(example).strip():
        return False
    contract = contracts_of([task]).of(example)
    if contract is None or contract.kind not in ("choice", "decision", "multi-label"):
        return False
    read = task.parse(answer_of(example), example)
    return read is None or (isinstance(read, Answer) and read.value is None)
