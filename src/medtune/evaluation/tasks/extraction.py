"""The task of extracting entities or fields: a list, or JSON, compared as a set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medtune.evaluation.extracted_items import Items, items_in, parsed_json
from medtune.evaluation.gold_shapes import list_separator
from medtune.evaluation.missing_text import is_missing
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.task_contracts import Contracts
from medtune.evaluation.tasks.labels import FAILURES
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Array, Tally

__all__ = ["ExtractionTask"]

_LEAST_TOKENS, _MOST_TOKENS = 256, 1024
_COLUMNS = (
    "rows", "same", "invalid", "truncated", "empty", "correct", "predicted", "gold", "lenient_correct", "lenient_predicted",
    "lenient_gold", "placed_correct", "placed_predicted", "placed_gold",
)  # fmt: skip


class ExtractionTask:
    """Scores items: the parts of a list, the values of JSON with their paths, whatever their order."""

    name = "extraction"

    def __init__(self, contracts: Contracts | None = None) -> None:
        self.contracts = contracts or Contracts()

    def matches(self, example: Example) -> bool:
        """Match rows that are answered by JSON, or whose source is known to be answered by lists."""
        return self.contracts.task_of(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - the gold is not looked at
        """Return room for as much as was given, within bounds."""
        return min(max(prompt_tokens, _LEAST_TOKENS), _MOST_TOKENS)

    def parse(self, text: str, example: Example) -> Items | None:
        """Return the items of ``text``; None where it should be JSON and is none."""
        return items_in(text, self._separator(example))

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score precision, recall and F1 of items."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count items per row."""
        import numpy as np

        from medtune.evaluation.tally import Tally

        rows = [self._row(prediction) for prediction in predictions]
        counts = np.array(rows, dtype=np.float64).reshape(len(rows), len(_COLUMNS))
        return Tally("item_f1", counts, _figures, FAILURES)

    def _row(self, prediction: Prediction) -> tuple[float, ...]:
        separator = self._separator(prediction.example)
        fits = not is_missing(answer_of(prediction.example))
        gold = (items_in(answer_of(prediction.example), separator) if fits else None) or Items(frozenset(), frozenset())
        answer = items_in(prediction.text, separator)
        found = answer or Items(frozenset(), frozenset())
        leniently = answer if answer is not None else items_in(prediction.text, separator, lenient=True)
        folded = (leniently.folded() if leniently else frozenset[object](), gold.folded())
        placed = (found.placed, gold.placed) if gold.has_offsets else (frozenset[object](), frozenset[object]())
        return (
            1,
            fits
            and answer is not None
            and answer.plain == gold.plain
            and (answer.placed == gold.placed or not gold.has_offsets),
            answer is None,
            prediction.truncated,
            not prediction.text.strip(),
            *(len(found.plain & gold.plain), len(found.plain), len(gold.plain)),
            *(len(folded[0] & folded[1]), len(folded[0]), len(folded[1])),
            *(len(placed[0] & placed[1]), len(placed[0]), len(placed[1])),
        )

    def _separator(self, example: Example) -> str:
        contract = self.contracts.of(example)
        if contract is not None and contract.task == self.name and contract.separator:
            return contract.separator
        gold = answer_of(example)
        return "" if parsed_json(gold) is not None else list_separator(gold) or "; "


def _figures(sums: "Array") -> dict[str, "Array"]:
    from medtune.evaluation.tally import f1, precision, ratio

    of = {name: sums[..., i] for i, name in enumerate(_COLUMNS)}
    found: dict[str, Array] = {}
    for name, prefix in (("", ""), ("_lenient", "lenient_"), ("_with_offsets", "placed_")):
        counts = of[f"{prefix}correct"], of[f"{prefix}predicted"], of[f"{prefix}gold"]
        found[f"item_f1{name}"] = f1(*counts)
        if name != "_lenient":
            found[f"item_precision{name}"] = precision(*counts)
            found[f"item_recall{name}"] = ratio(counts[0], counts[2])
    found["accuracy"] = ratio(of["same"], of["rows"])
    for name, column in (("invalid_answer", "invalid"), ("truncated", "truncated"), ("empty", "empty")):
        found[name] = ratio(of[column], of["rows"])
    return found
