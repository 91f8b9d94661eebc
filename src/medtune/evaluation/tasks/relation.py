"""The task of naming the relation between two marked concepts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medtune.evaluation.recognition import answer_of
from medtune.evaluation.task_contracts import Contracts
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Tally

__all__ = ["RelationTask"]

_ANSWER_TOKENS = 32


class RelationTask:
    """Scores one label per row; the micro F1 is over the relations, without labels such as "No Relations"."""

    name = "relation"

    def __init__(self, contracts: Contracts | None = None) -> None:
        self.contracts = contracts or Contracts()

    def matches(self, example: Example) -> bool:
        """Match rows with marked concepts that are answered by a short label."""
        return self.contracts.task_of(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - a label is short
        """Return room for a label in a short sentence."""
        return _ANSWER_TOKENS

    def parse(self, text: str, example: Example) -> str | None:
        """Return the label that ``text`` is, None for an invalid answer."""
        from medtune.evaluation.tasks.label_sets import label_set_of

        found = label_set_of(self.name, [answer_of(example)], self.contracts.of(example)).read(text)
        return None if found is None else next(iter(found))

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score accuracy, and macro and micro F1 over positive relations."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count answers by label."""
        from medtune.evaluation.tasks.label_counts import tally_labels

        return tally_labels(self.name, predictions, self.contracts, "micro_f1")
