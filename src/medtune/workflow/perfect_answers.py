"""Proves on the rows themselves that a perfect answer would score 1.0: what is trained, decoded and scored as answers are."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from medtune.data.answers import completion_of
from medtune.data.encode import Encoder
from medtune.data.samples import Sample
from medtune.errors import DataError, UnusableRowError
from medtune.evaluation.predictions import with_final_gold
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import find_task, is_own
from medtune.evaluation.spans import Label
from medtune.evaluation.tag_schemes import Scheme, fits_iob1, scheme_of
from medtune.evaluation.tagging import read_lines, written_labels
from medtune.plugins.contracts import Completion, Example, Prediction, Task

__all__ = ["PerfectAnswers", "sound"]

_VERSION = 2
_FIRST_ROWS = 200
"""Training rows of each source that are looked at."""
_LATER_STRIDE = 100
"""Of those that follow, every so many; all once one of the source has failed."""
_TELLING_ROWS = 3
"""Rows with entities that tell IOB1; a single B that parts no neighbours tells every other scheme."""
_MOST_NAMED = 5
_Place = tuple[str, str]
"""A source and a split of its rows."""


class PerfectAnswers:
    """Decodes the supervised tokens of rows as a generator's are, and has the row's own task score them.

    So it finds what no look at ids shows: stop ids that occur in an answer or do not end one, text that the template puts
    before answers and nobody takes off, tokenizers that change what they are given, and gold answers that their task
    cannot read.

    Args:
        tasks: the registered tasks.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._seen: Counter[str] = Counter()
        self._checked: Counter[_Place] = Counter()
        self._failed: dict[_Place, Counter[str]] = {}
        self._schemes: dict[str, Scheme] = {}
        self._told_by: dict[str, str] = {}

    @property
    def identity(self) -> str:
        """The version of this check, and the tasks by name and module."""
        return f"{_VERSION} " + " ".join(sorted(f"{type(t).__module__}.{t.name}" for t in self._tasks))

    def faults(self, samples: Sequence[Sample], encoder: Encoder, *, every: bool) -> list[str]:
        """Return what is wrong with each row; empty for a good one or one that is not looked at.

        Raises:
            DataError: the rows of a source are tagged in another scheme than its validation rows, which came before.
        """
        split = "validation" if every else "training"
        chosen = [i for i, sample in enumerate(samples) if every or self._is_due(sample.example.source)]
        answers = {i: self._answer(samples[i], encoder) for i in chosen}
        found = [""] * len(samples)
        for name, members in self._by_task(answers).items():
            task = next(task for task in self._tasks if task.name == name)
            for i, fault in zip(members, self._of_task(task, [answers[i] for i in members], split), strict=True):
                found[i] = fault
        for i in chosen:
            place = (samples[i].example.source, split)
            self._checked[place] += 1
            if found[i]:
                self._failed.setdefault(place, Counter())[found[i]] += 1
        return found

    def require_few(self, limit: float) -> None:
        """Raise DataError when too many of the rows looked at have a fault; kinds are counted by source."""
        failed, checked = sum(kinds.total() for kinds in self._failed.values()), self._checked.total()
        if failed <= limit * checked:
            return
        worst = sorted(self._failed.items(), key=lambda item: -item[1].total())[:_MOST_NAMED]
        told = "; ".join(
            f"{times} of {self._checked[source, split]} {split} rows{f' of source {source!r}' if source else ''}: {kind}"
            for (source, split), kinds in worst
            for kind, times in kinds.most_common(2)
        )
        raise DataError(
            f"of {checked} rows looked at, {failed} would not score 1.0 if they were answered perfectly ({told}); repair "
            "them, or raise data.max_quarantined"
        )

    def found(self) -> dict[str, Any]:
        """Return the rows checked and failed, and per source the kinds of fault and a scheme other than IOB2."""
        return {
            "checked": self._checked.total(),
            "failed": sum(kinds.total() for kinds in self._failed.values()),
            "kinds": {source: dict(self._kinds_of(source)) for source in sorted({place[0] for place in self._failed})},
            "iob1_sources": sorted(source for source, scheme in self._schemes.items() if scheme == "IOB1"),
        }

    def _kinds_of(self, source: str) -> Counter[str]:
        return sum((kinds for place, kinds in self._failed.items() if place[0] == source), start=Counter[str]())

    def _is_due(self, source: str) -> bool:
        self._seen[source] += 1
        seen = self._seen[source]
        failed = any((source, split) in self._failed for split in ("training", "validation"))
        return seen <= _FIRST_ROWS or seen % _LATER_STRIDE == 0 or failed

    def _answer(self, sample: Sample, encoder: Encoder) -> Prediction:
        """Return a row's own answer as if a model had written it."""
        example = with_final_gold(encoder.placed(sample.example))
        first, end = sample.spans[-1]
        completion = completion_of(encoder.tokenizer, encoder.stop_ids, sample.ids[first:end].tolist())
        read: Completion = encoder.read(completion, answer_of(example))
        return Prediction(example, read.text.strip(), read.truncated)

    def _by_task(self, answers: Mapping[int, Prediction]) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for i, prediction in answers.items():
            if task := find_task(prediction.example, self._tasks):
                groups.setdefault(task.name, []).append(i)
        return groups

    def _of_task(self, task: Task, predictions: Sequence[Prediction], split: str) -> list[str]:
        if task.name == "ner":
            others = self._of_other_scheme([p.example for p in predictions], split)
        else:
            others = [False] * len(predictions)
        perfect = _are_perfect(task, predictions)
        return [
            _fault(task, prediction, is_perfect=is_perfect, is_other=is_other)
            for prediction, is_perfect, is_other in zip(predictions, perfect, others, strict=True)
        ]

    def _of_other_scheme(self, examples: Sequence[Example], split: str) -> list[bool]:
        """Say which rows are not written in the scheme of their source, which its first rows with entities tell."""
        written = [written_labels(read_lines(answer_of(example))) for example in examples]
        for source in {example.source for example in examples} - self._schemes.keys():
            own = [labels for e, labels in zip(examples, written, strict=True) if e.source == source]
            with_entities = sum(any(label.prefix != "O" for label in labels) for labels in own)
            if with_entities >= _TELLING_ROWS or not all(map(fits_iob1, own)):
                self._schemes[source] = scheme_of(own)
                self._told_by[source] = split
        others = [
            {"IOB1": not fits_iob1(labels), "IOB2": scheme_of([labels]) == "IOB1"}.get(
                self._schemes.get(e.source, ""), False
            )
            for e, labels in zip(examples, written, strict=True)
        ]
        self._require_one_scheme(examples, written, others, split)
        return others

    def _require_one_scheme(
        self, examples: Sequence[Example], written: Sequence[Sequence[Label]], others: Sequence[bool], split: str
    ) -> None:
        """Raise DataError when most rows of a source are in another scheme than those of the split that told it."""
        rows, odd = Counter[str](), Counter[str]()
        for example, labels, other in zip(examples, written, others, strict=True):
            if any(label.prefix != "O" for label in labels):
                rows[example.source] += 1
                odd[example.source] += other
        for source, count in odd.items():
            if count >= _TELLING_ROWS and 2 * count > rows[source] and self._told_by[source] != split:
                whose = f" of source '{source}'" if source else ""
                told_by = self._told_by[source]
                inside, begun = (told_by, split) if self._schemes[source] == "IOB1" else (split, told_by)
                raise DataError(
                    f"the {inside} rows{whose} are tagged in IOB1 (their entities begin with I) and the {begun} rows in IOB2 "
                    f"(theirs begin with B), as {count} of {rows[source]} {split} rows with entities show; scores would compare "
                    f"the two: write the {inside} rows in IOB2"
                )


def sound(examples: Sequence[Example], encoder: Encoder, tasks: Sequence[Task]) -> list[Example]:
    """Return the validation rows that preparation keeps too: those that can be encoded, and whose perfect answer scores 1.0."""
    samples: list[Sample] = []
    for example in examples:
        try:
            samples.append(Sample(example, *next(encoder.encode_spans([example]))))
        except UnusableRowError:
            continue
    faults = PerfectAnswers(tasks).faults(samples, encoder, every=True)
    return [sample.example for sample, fault in zip(samples, faults, strict=True) if not fault]


def _are_perfect(task: Task, predictions: Sequence[Prediction]) -> list[bool]:
    """Say which answers score 1.0, each by itself; a row in which a task finds nothing to score must equal its gold."""
    from medtune.evaluation.tally import Tallied

    if not (isinstance(task, Tallied) and is_own(task)):
        return [_is_gold(p) or _figure(task, p) == 1.0 for p in predictions]
    tally = task.tally(predictions)
    figures = {name: values.tolist() for name, values in tally.figures(tally.counts).items()}
    right = figures.get("accuracy", figures[tally.primary])
    clean = [not any(figures[name][i] for name in tally.failures) for i in range(len(predictions))]
    if task.name == "ner":
        empty = [not counted for counted in _entities(predictions)]
        return [c and (r == 1.0 or e) for c, r, e in zip(clean, right, empty, strict=True)]
    if task.name == "qa":
        of_text = zip(right, figures.get("rouge_l", right), predictions, strict=True)
        right = [float(t == 1.0 or _is_gold(p)) if math.isnan(r) else r for r, t, p in of_text]
    return [c and r == 1.0 for c, r in zip(clean, right, strict=True)]


def _entities(predictions: Sequence[Prediction]) -> list[int]:
    """Count the tokens of each gold answer that are part of an entity, or whose label cannot be read."""
    lines = (read_lines(answer_of(p.example)) for p in predictions)
    return [sum(line.label is None or line.label.prefix != "O" for line in some) for some in lines]


def _figure(task: Task, prediction: Prediction) -> float:
    score = task.score([prediction])
    return score.metrics.get(score.primary, 0.0)


def _is_gold(prediction: Prediction) -> bool:
    return prediction.text == answer_of(prediction.example).strip() and not prediction.truncated


def _fault(task: Task, prediction: Prediction, *, is_perfect: bool, is_other: bool) -> str:
    if prediction.truncated:
        return "its answer has no end that generation would stop at, or only reasoning before it"
    if is_other:
        return "its tags are in another scheme (IOB1 or IOB2) than those of its source"
    if is_perfect:
        return ""
    if _is_gold(prediction):
        return f"its gold answer does not score 1.0 as '{task.name}': it holds labels that this task does not read"
    return f"its answer, encoded and decoded, does not score 1.0 as '{task.name}': tokenizer or chat template change it"
