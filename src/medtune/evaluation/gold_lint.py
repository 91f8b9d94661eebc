"""Looks at gold answers before anything learns from them or is scored by them: labels, options, spelling, templates."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from medtune.evaluation.asked_scheme import AskedScheme
from medtune.evaluation.garbled_text import is_garbled
from medtune.evaluation.gold_fit import FIT_SENTENCES, faults_of_fit
from medtune.evaluation.label_priors import LabelCounts, shifted
from medtune.evaluation.lint_findings import Finding, asked_again, merged
from medtune.evaluation.option_letters import names_no_option
from medtune.evaluation.recognition import answer_of, question_of
from medtune.evaluation.scoring import find_task
from medtune.evaluation.spans import Label
from medtune.evaluation.tagging import read_lines
from medtune.evaluation.template_text import spells_template
from medtune.plugins.contracts import Example, Message, Prediction, Task

__all__ = ["GoldLint", "Split", "lint_predictions"]

Split = Literal["training", "validation"]

_WORDS: Mapping[Split, str] = {"training": "training", "validation": "validation"}
_FIRST_ROWS = 2000
"""Rows of each source whose labels are counted, and of those that follow every so many."""
_STRIDE = 16
_TOLD = 50  # rows of each source whose task is asked for; the task of most is taken for the task of all
_MOST_SOURCES = 200  # looked at one by one; the others are taken together
_SHORT_ANSWER = 60  # characters of an answer that may be a label
_MOST_LABELS = 100  # different short answers; more are free text
_SHOWN_IN = 5  # rows that must hold a label before a finding names it: others may be a row's own text
_CONSTANT_ROWS = 20
_BEGINS_WITH_I = "(an entity that begins with I)"
_LETTER = re.compile(r"[^\W_]")
_SAMPLED = ("unreadable", "option", "unfit", "missing")  # found on the rows that are looked at closely only


@dataclass(slots=True)
class _Seen:
    """What was seen of one source in one split."""

    rows: int = 0
    looked_at: int = 0
    tasks: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    labels: LabelCounts = field(default_factory=LabelCounts)
    begins: LabelCounts = field(default_factory=LabelCounts)
    answers: LabelCounts = field(default_factory=LabelCounts)
    scheme: AskedScheme = field(default_factory=AskedScheme)
    other_answers: int = 0
    first_answer: str | None = None
    varies: bool = False


class GoldLint:
    """Takes rows of both splits as they come, those of validation first, and says what is odd about their gold answers.

    Every row is looked at for template text; labels are counted on the first 2,000 rows of each source and every
    sixteenth after them. Nothing of a row's text is told but labels that five rows or more have.

    Args:
        tasks: the registered tasks.
        words: what the rows of either split are called in sentences.
    """

    def __init__(self, tasks: Sequence[Task], words: Mapping[Split, str] = _WORDS) -> None:
        self._tasks, self._words, self._by_name = tasks, words, {task.name: task for task in tasks}
        self._seen: dict[Split, dict[str, _Seen]] = {"training": defaultdict(_Seen), "validation": defaultdict(_Seen)}
        self._met: dict[str, set[str]] = defaultdict(set[str])
        self._missing: dict[str, set[str]] = {}

    def take(
        self,
        split: Split,
        examples: Sequence[Example],
        *,
        rewrites: Callable[[str], bool] | None = None,
        spells: Callable[[str], bool] = spells_template,
    ) -> None:
        """Look at rows.

        Args:
            split: whose they are.
            examples: the rows.
            rewrites: says of a text whether the tokenizer changes its characters; None where none ever does.
            spells: says of a text whether it spells what a chat template writes.
        """
        kept = self._seen[split]
        for example in examples:
            source = example.source if example.source in kept or len(kept) < _MOST_SOURCES else ""
            if not self._look(kept[source], example, spells) and split == "training":
                self._glance(source, answer_of(example))
            if rewrites is not None:
                kept[source].faults["rewritten"] += rewrites(answer_of(example))

    def findings(self) -> list[Finding]:
        """Return what is odd, per kind and source; at most ten sources of a kind are named."""
        found: list[Finding] = []
        for split, sources in self._seen.items():
            for source, seen in sorted(sources.items()):
                found += _faults(split, self._words[split], source, seen)
        for source in sorted(self._seen["training"].keys() & self._seen["validation"].keys()):
            found += self._between(source)
        return merged(found)

    def _look(self, seen: _Seen, example: Example, spells: Callable[[str], bool]) -> bool:
        """Look at a row, and say whether its labels were counted."""
        answer, question = answer_of(example), question_of(example)
        seen.rows += 1
        if seen.first_answer is None:
            seen.first_answer = answer
        elif answer != seen.first_answer:
            seen.varies = True
        seen.faults["template_in_answer"] += spells(answer)
        seen.faults["template_in_question"] += spells(question)
        seen.faults["garbled"] += is_garbled(answer) or is_garbled(question)
        seen.faults["page_break"] += "\f" in answer or "\v" in answer
        seen.faults["no_letter"] += len(answer) < _SHORT_ANSWER and _LETTER.search(answer) is None
        if seen.rows > _FIRST_ROWS and seen.rows % _STRIDE:
            return False
        seen.looked_at += 1
        self._look_closely(seen, example, answer)
        return True

    def _look_closely(self, seen: _Seen, example: Example, answer: str) -> None:
        if seen.looked_at <= _TOLD:
            task = find_task(example, self._tasks)
            seen.tasks[task.name if task else ""] += 1
        usual = seen.tasks.most_common(1)[0][0]
        seen.faults.update(faults_of_fit(example, self._by_name.get(usual)))
        if usual == "ner":
            lines = read_lines(answer)
            labels = [line.label for line in lines if line.label is not None]
            if 2 * len(labels) >= len(lines) > 0:  # most lines are a token with a label
                _count_tags(seen, labels, len(lines))
                seen.scheme.take(question_of(example), labels)
                return
        seen.faults["unreadable_row"] += usual == "ner"
        seen.faults["option"] += usual == "qa" and names_no_option(example)
        if len(answer) <= _SHORT_ANSWER and "\n" not in answer and len(seen.answers.sums) < _MOST_LABELS:
            parts = answer.split(", ") if usual == "classification" else [answer]
            seen.answers.add(Counter(part.strip() for part in parts), 1)
        else:
            seen.other_answers += 1

    def _glance(self, source: str, answer: str) -> None:
        """Look in a row whose labels are not counted for those that only validation rows were seen to have."""
        if source not in self._missing:
            self._missing[source] = self._new_labels(source)
        if missing := self._missing[source]:
            written = answer.upper()
            met = {label for label in missing if label.upper() in written}
            self._met[source] |= met
            missing -= met

    def _new_labels(self, source: str) -> set[str]:
        if source not in self._seen["validation"]:
            return set()
        training, validation = self._seen["training"][source], self._seen["validation"][source]
        known = training.labels.sums.keys() | training.answers.sums.keys() | self._met[source]
        return (validation.labels.sums.keys() | validation.answers.sums.keys()) - known

    def _between(self, source: str) -> Iterator[Finding]:
        """Yield what the two splits disagree on."""
        training, validation = self._seen["training"][source], self._seen["validation"][source]
        for one, other in (
            (training.labels, validation.labels),
            (training.begins, validation.begins),
            (training.answers, validation.answers),
        ):
            if one is training.answers and not (_is_closed(training) and _is_closed(validation)):
                continue
            shifts = shifted(one, other)
            if shifts:
                rows = one.rows_with | other.rows_with
                told = next((s for s in shifts if s.label == _BEGINS_WITH_I or rows[s.label] >= _SHOWN_IN), None)
                name = f"label '{told.label}'" if told and told.label != _BEGINS_WITH_I else _BEGINS_WITH_I[1:-1]
                shift = told or shifts[0]
                yield Finding(
                    "label_priors", source, "both", other.rows, other.rows,
                    f"{name if told else 'a label'} is {shift.training:.0%} of {self._words['training']} and "
                    f"{shift.validation:.0%} of {self._words['validation']} labels, further apart than chance goes: one of the "
                    "two is coded otherwise, or drawn otherwise",
                )  # fmt: skip
        yield from self._only_validation(source, training, validation)

    def _only_validation(self, source: str, training: _Seen, validation: _Seen) -> Iterator[Finding]:
        unseen = self._new_labels(source)
        for counts, closed in (
            (validation.labels, training.labels.rows > 0),
            (validation.answers, _is_closed(training)),
        ):
            new = [label for label in counts.sums if label in unseen]
            rows = sum(counts.rows_with[label] for label in new)
            if new and closed:
                named = [label for label in new if counts.rows_with[label] >= _SHOWN_IN]
                told = f" ({', '.join(repr(label) for label in named[:5])})" if named else ""
                yield Finding(
                    "unseen_labels", source, "validation", rows, counts.rows,
                    f"{len(new)} labels{told} are in no training row, so no model can have learned them",
                )  # fmt: skip


def lint_predictions(predictions: Sequence[Prediction], tasks: Sequence[Task]) -> list[Finding]:
    """Look at the gold answers of a file, and at how their labels compare with the predicted ones."""
    gold = GoldLint(tasks, {"training": "predicted", "validation": "gold"})
    gold.take("validation", [prediction.example for prediction in predictions])
    found = gold.findings()
    # a document already keeps its rows together in the intervals
    lone = [prediction.example for prediction in predictions if not prediction.example.document]
    found += asked_again((example.source, question_of(example)) for example in lone)
    gold.take("training", [_as_answered(prediction, tasks) for prediction in predictions])
    return [*found, *(finding for finding in gold.findings() if finding.kind == "label_priors")]


def _as_answered(prediction: Prediction, tasks: Sequence[Task]) -> Example:
    """Return the example with the prediction in the place of its gold answer, unless its task reads the same in both."""
    example = prediction.example
    task = find_task(example, tasks)
    if task is not None and task.parse(prediction.text, example) == task.parse(answer_of(example), example):
        return example
    *asked, gold = example.messages
    answer: Message = {"role": gold["role"], "content": prediction.text}
    return replace(example, messages=[*asked, answer])


def _count_tags(seen: _Seen, labels: Sequence[Label], lines: int) -> None:
    seen.faults["unreadable"] += len(labels) < lines
    seen.faults["unreadable_lines"] += lines - len(labels)
    seen.labels.add(Counter(_written(label) for label in labels), len(labels))
    begun, wrongly = _entities(labels)
    if begun:
        seen.begins.add({_BEGINS_WITH_I: wrongly}, begun)


def _entities(labels: Sequence[Label]) -> tuple[int, int]:
    """Return the entities of a row, and how many of them begin with I."""
    begun = wrongly = 0
    before = Label("O")
    for label in labels:
        continues = label.prefix != "B" and before.prefix != "O" and before.type == label.type
        if label.prefix != "O" and not continues:
            begun += 1
            wrongly += label.prefix == "I"
        before = label
    return begun, wrongly


def _written(label: Label) -> str:
    return f"{label.prefix}-{label.type}" if label.type else label.prefix


def _is_closed(seen: _Seen) -> bool:
    """Whether the answers come from a few labels, each given several times."""
    labels = len(seen.answers.sums)
    return seen.other_answers == 0 and 0 < labels < _MOST_LABELS and seen.answers.rows >= 3 * labels


_SENTENCES: Mapping[str, str] = {
    "unreadable": "hold lines whose label cannot be read ({lines} lines)",
    "unreadable_row": "are no list of tokens with labels, as the other rows of their source are",
    "template_in_answer": "spell a chat template's control tokens or headings: the model would learn to write them; take "
    "them out of the rows, the template writes its own",
    "template_in_question": "spell a chat template's control tokens or headings: they were formatted before, and will be "
    "once more; use the rows as they were, or take the marks out",
    "garbled": "or their questions hold text that went through the wrong encoding (\u00c3\u00a9 for \u00e9, or \ufffd): write the rows "
    "anew from where they came from",
    "page_break": "hold page breaks (form feeds, vertical tabs), which the model would learn to write",
    "no_letter": "have no letter or digit",
    "rewritten": "have characters that the tokenizer rewrites (Unicode forms, case), so that a perfect answer is not "
    "the gold answer; normalise the rows first",
    **FIT_SENTENCES,
    "option": "name no option of their question by its letter; where options are numbered, say whether from 0 or 1",
}


def _faults(split: Split, word: str, source: str, seen: _Seen) -> Iterator[Finding]:
    for kind, sentence in _SENTENCES.items():
        count = seen.faults[kind]
        if count:
            of = seen.looked_at if kind in (*_SAMPLED, "unreadable_row") else seen.rows
            what = "questions" if kind == "template_in_question" else "answers"
            text = f"{count:,} of {of:,} {word} {what} {sentence.format(lines=seen.faults['unreadable_lines'])}"
            yield Finding(kind, source, split, count, of, text)
    if told := seen.scheme.told():
        rows, of, how = told
        text = (
            f"{rows:,} of {of:,} {word} answers are tagged in another scheme than their questions ask for: {how}; the model is "
            "told one and taught the other, so name the scheme that the answers have"
        )
        yield Finding("asked_scheme", source, split, rows, of, text)
    if seen.rows >= _CONSTANT_ROWS and not seen.varies:
        text = f"all {seen.rows:,} {word} answers are the same: there is nothing to learn or to score"
        yield Finding("constant", source, split, seen.rows, seen.rows, text)
