"""The task of naming the relation between two masked concepts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medtune.evaluation.recognition import NO_RELATION, RELATIONS, answer_of, recognise
from medtune.evaluation.tasks.labels import Inventory, bare_answer, tally_labels
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Tally

__all__ = ["RelationTask"]

_ANSWER_TOKENS = 32


class RelationTask:
    """Scores one label per row; the micro F1 is over the relations, without "No Relations"."""

    name = "relation"

    def matches(self, example: Example) -> bool:
        """Match rows with masked concepts that are answered by a relation."""
        return recognise(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - a label is short
        """Return room for a label in a short sentence."""
        return _ANSWER_TOKENS

    def parse(self, text: str, example: Example) -> str | None:
        """Return the label that ``text`` is, None for an invalid answer."""
        return Inventory([*RELATIONS, answer_of(example)]).find(bare_answer(text))

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score accuracy, macro F1 and micro F1."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count answers by label."""
        return tally_labels(
            predictions, RELATIONS, lambda p: bare_answer(answer_of(p.example)), "micro_f1", negative=NO_RELATION
        )
