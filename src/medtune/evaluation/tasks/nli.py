"""The task of saying whether a second sentence follows from a first one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medtune.evaluation.recognition import NLI_LABELS, answer_of, recognise
from medtune.evaluation.tasks.labels import Inventory, bare_answer, tally_labels
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Tally

__all__ = ["NliTask"]

_ANSWER_TOKENS = 32


class NliTask:
    """Scores one of Entailment, Contradiction and Neutral per row."""

    name = "nli"

    def matches(self, example: Example) -> bool:
        """Match rows with two sentences, or answered by one of the three labels."""
        return recognise(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - a label is short
        """Return room for a label in a short sentence."""
        return _ANSWER_TOKENS

    def parse(self, text: str, example: Example) -> str | None:
        """Return the label that ``text`` is, None for an invalid answer."""
        return Inventory([*NLI_LABELS, answer_of(example)]).find(bare_answer(text))

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score accuracy, macro F1 and micro F1."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count answers by label."""
        return tally_labels(predictions, NLI_LABELS, lambda p: bare_answer(answer_of(p.example)), "accuracy")
