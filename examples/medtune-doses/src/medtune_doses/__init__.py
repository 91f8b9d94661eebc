"""Scores doses: the first number of an answer, in whatever unit it stands."""

import re
from collections.abc import Sequence

from medtune import Example, Task, hookimpl
from medtune.evaluation.statistics import summarise
from medtune.evaluation.tally import Tally, tally_ratios
from medtune.plugins.contracts import Prediction, TaskScore


class Dose:
    name = "doses"
    samples = (Example([{"role": "user", "content": "?"}, {"role": "assistant", "content": "5 mg"}], source="doses"),)

    def matches(self, example: Example) -> bool:
        return example.source == "doses"

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:
        return 16

    def parse(self, text: str, example: Example) -> float | None:
        found = re.search(r"\d{1,9}(\.\d{1,9})?", text)
        return float(found[0]) if found else None

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> Tally:
        read = [self.parse(each.text, each.example) for each in predictions]
        gold = [self.parse(each.example.messages[-1]["content"], each.example) for each in predictions]
        right, unread = [a == b for a, b in zip(read, gold, strict=True)], [each is None for each in read]
        parts = {"accuracy": (right, [1] * len(read)), "unread": (unread, [1] * len(read))}
        return tally_ratios("accuracy", parts, failures=frozenset({"unread"}))


@hookimpl
def provide_tasks() -> Sequence[Task]:
    return [Dose()]
