"""The task of assigning a label, or any number of labels such as hallmarks of cancer, to a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medtune.evaluation.recognition import answer_of
from medtune.evaluation.task_contracts import Contracts
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Tally

__all__ = ["ClassificationTask"]

_ANSWER_TOKENS = 96


class ClassificationTask:
    """Scores a label, or a set of labels of which ``None`` is the empty one.

    Figures are at the level of the row (for hallmarks a sentence); where rows name their document, also of documents.
    """

    name = "classification"

    def __init__(self, contracts: Contracts | None = None) -> None:
        self.contracts = contracts or Contracts()

    def matches(self, example: Example) -> bool:
        """Match rows that are answered by labels of a closed set."""
        return self.contracts.task_of(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - labels are short
        """Return room for several labels."""
        return _ANSWER_TOKENS

    def parse(self, text: str, example: Example) -> frozenset[str] | None:
        """Return the labels that ``text`` lists; None for an invalid answer: any part of it is no label."""
        from medtune.evaluation.tasks.label_sets import label_set_of

        return label_set_of(self.name, [answer_of(example)], self.contracts.of(example)).read(text)

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score labels, or sets of labels."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count labels per row."""
        from medtune.evaluation.tasks.label_counts import tally_labels

        return tally_labels(self.name, predictions, self.contracts, "micro_f1")
