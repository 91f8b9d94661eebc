"""Counts the rows of one split that say the same again, and those that answer one question in several ways."""

from array import array
from collections.abc import Iterable

from medtune.data.row_keys import RowKeys

__all__ = ["DuplicateCounter"]


class DuplicateCounter:
    """Takes rows as they come; twenty bytes a row stay in memory."""

    def __init__(self) -> None:
        self._questions, self._answers, self._sources = array("q"), array("q"), array("i")
        self._names: dict[str, int] = {}

    def add(self, rows: Iterable[tuple[str, RowKeys]]) -> None:
        """Take rows, each with its source."""
        for source, keys in rows:
            self._questions.append(keys.question)
            self._answers.append(keys.answer)
            self._sources.append(self._names.setdefault(source, len(self._names)))

    def to_json(self) -> dict[str, dict[str, int]]:
        """Return source -> ``repeated`` and ``contradicting`` rows, without zeros.

        Repeated are rows after the first that are equal but for case, spaces and marks of the question; contradicting are
        all that share their question with a row of another answer.
        """
        import numpy as np

        if not self._questions:
            return {}
        questions, answers = (np.frombuffer(a, dtype=np.int64) for a in (self._questions, self._answers))
        order = np.lexsort((answers, questions))
        question, answer = questions[order], answers[order]
        source = np.frombuffer(self._sources, dtype=np.int32)[order]
        same_question = question[1:] == question[:-1]
        same = same_question & (answer[1:] == answer[:-1])
        group = np.concatenate(([0], np.cumsum(~same_question)))
        unlike = np.unique(group[1:][same_question & ~same])
        figures = {
            "repeated": np.bincount(source[1:][same], minlength=len(self._names)),
            "contradicting": np.bincount(source[np.isin(group, unlike)], minlength=len(self._names)),
        }
        found = {
            name: {kind: int(counts[i]) for kind, counts in figures.items() if counts[i]}
            for name, i in self._names.items()
        }
        return {name: counts for name, counts in sorted(found.items()) if counts}
