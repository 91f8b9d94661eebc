"""Pairs the answers of two systems to the same rows, wherever these stand in their files."""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medtune.errors import DataError
from medtune.evaluation.recognition import answer_of, question_of
from medtune.plugins.contracts import Prediction

__all__ = ["Pairs", "pair"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Answers to the same rows, in the same order, and the rows that only one system answered.

    Attributes:
        first: answers of one system.
        second: the other's.
        only_first: places of rows, from 1 on, that the second did not answer.
        only_second: likewise.
    """

    first: Sequence[Prediction]
    second: Sequence[Prediction]
    only_first: Sequence[int]
    only_second: Sequence[int]

    @property
    def are_all(self) -> bool:
        """Whether both answered the same rows."""
        return not (self.only_first or self.only_second)

    @property
    def matched(self) -> tuple[list[Prediction], list[Prediction]]:
        """Both answers to each row, the second's as answers to the first's examples, which name task and document."""
        pairs = zip(self.first, self.second, strict=True)
        return list(self.first), [replace(other, example=own.example) for own, other in pairs]


def pair(first: Sequence[Prediction], second: Sequence[Prediction]) -> Pairs:
    """Pair rows by task, source and input; of rows that are asked several times, the first with the first.

    Task and source are looked at where all rows of both name them: another system's file may leave them out.

    Raises:
        DataError: no row is answered by both, or the two do not have the same gold answer for one.
    """
    named = [all(prediction.example.task for prediction in (*first, *second))]
    named.append(all(prediction.example.source for prediction in (*first, *second)))
    waiting: dict[tuple[str, str, str], deque[int]] = defaultdict(deque)
    for place, prediction in enumerate(second):
        waiting[_key(prediction, *named)].append(place)
    pairs: list[tuple[int, int]] = []
    only_first: list[int] = []
    for place, prediction in enumerate(first):
        same = waiting.get(_key(prediction, *named))
        if same:
            pairs.append((place, same.popleft()))
        else:
            only_first.append(place + 1)
    if not pairs:
        raise DataError("the two files have no row in common: rows are paired by their task, source and input")
    unlike = [a + 1 for a, b in pairs if answer_of(first[a].example).strip() != answer_of(second[b].example).strip()]
    if unlike:
        raise DataError(
            f"{len(unlike):,} of {len(pairs):,} rows that both files ask have different gold answers (the first is row "
            f"{unlike[0]} of the first file); score both on the same gold answers"
        )
    left = sorted(place + 1 for places in waiting.values() for place in places)
    return Pairs([first[a] for a, _b in pairs], [second[b] for _a, b in pairs], only_first, left)


def _key(prediction: Prediction, by_task: bool, by_source: bool) -> tuple[str, str, str]:
    example = prediction.example
    return (example.task or "") * by_task, example.source * by_source, question_of(example)
