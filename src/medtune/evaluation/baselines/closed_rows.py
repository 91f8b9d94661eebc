"""Rows that are answered by labels, as an encoder or a count of labels sees them, and its answers as texts again."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import contracts_of, find_task, is_own
from medtune.evaluation.spans import Label, read_label
from medtune.evaluation.tag_schemes import as_iob2, scheme_of
from medtune.evaluation.tagging import GoldTags, read_lines, written_labels
from medtune.evaluation.task_contracts import TaskContract
from medtune.evaluation.tasks.label_sets import LabelSet, label_set_of
from medtune.evaluation.tasks.qa import QaTask
from medtune.plugins.contracts import EncoderKind, EncoderRow, Example, Task

__all__ = ["ClosedRows", "Split", "closed_rows", "label_name", "readable_labels", "split_by_form", "type_spellings"]

_LABELLED = ("relation", "nli", "classification")
_REPEATED = 3
"""Rows for each first paragraph, on average, from which these are instructions."""


class Split(NamedTuple):
    """Rows of one source that are answered in one form; ``places`` says where the asked ones stand among all.

    ``form`` is "tags", "labels", "choice", "decision", "text" or, for rows that nothing here can answer, a reason.
    """

    source: str
    task: Task | None
    form: str
    rows: list[Example]
    asked: list[Example]
    places: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class ClosedRows:
    """Rows of one source that are answered by labels.

    Attributes:
        source: whose rows.
        task: name of the task that scores them.
        kind: a label for each word, one label, or any number of labels.
        labels: that training rows have, sorted.
        rows: to train on.
        asked: without labels.
        places: where the asked rows stand among all that are asked.
        empty: how an answer without labels is written; empty where there is none.
        separator: what parts several labels.
        spelled: type of an entity -> as the training rows write it.
    """

    source: str
    task: str
    kind: EncoderKind
    labels: Sequence[str]
    rows: Sequence[EncoderRow]
    asked: Sequence[EncoderRow]
    places: Sequence[int]
    empty: str = ""
    separator: str = ", "
    spelled: Mapping[str, str] = field(default_factory=dict[str, str])

    def answer(self, row: EncoderRow, found: Sequence[int]) -> str:
        """Return labels as the answer of a row: ``token : label`` lines in IOB2, or label names."""
        names = [self.labels[number] for number in found]
        if self.kind is EncoderKind.TAGS:
            return self.tagged(row, as_iob2(readable_labels(names), "IOB1"))  # a stray I begins an entity
        return self.separator.join(sorted(names)) or self.empty

    def tagged(self, row: EncoderRow, labels: Sequence[Label]) -> str:
        """Return the answer that gives a row's words these labels: ``token : label`` lines, types as training rows spell them."""
        own = (Label(label.prefix, self.spelled.get(label.type, label.type)) for label in labels)
        return "\n".join(f"{word} : {label_name(label)}" for word, label in zip(row.text, own, strict=True))


def split_by_form(rows: Iterable[Example], asked: Sequence[Example], tasks: Sequence[Task]) -> list[Split]:
    """Sort rows to train on and rows that are asked by source, task and form of their answers."""
    found: dict[tuple[str, str, str], Split] = {}

    def of(example: Example) -> Split:
        task = find_task(example, tasks)
        form = _form(example, task)
        key = (example.source, task.name if task else "", form)
        return found.setdefault(key, Split(example.source, task, form, [], [], []))

    for example in rows:
        of(example).rows.append(example)
    for place, example in enumerate(asked):
        split = of(example)
        split.asked.append(example)
        split.places.append(place)
    return [split for split in found.values() if split.asked]


def closed_rows(split: Split) -> ClosedRows | str:
    """Return the rows of a split as labels, or why there are none to learn from."""
    if split.form not in ("tags", "labels", "choice", "decision"):
        return "answered by a text, not by labels" if split.form == "text" else split.form
    assert split.task is not None  # noqa: S101 - what has a form has a task
    made = _tagged(split) if split.form == "tags" else _labelled(split, split.task)
    if not made.rows:
        return f"of source '{made.source}', of which no training row can be read"
    if len(made.labels) < 2 and made.kind is not EncoderKind.LABELS:  # noqa: PLR2004 - one label is no choice
        return f"of source '{made.source}', whose training rows hold one label only"
    return made if made.labels else f"of source '{made.source}', whose training rows hold no label"


def readable_labels(names: Iterable[str]) -> list[Label]:
    """Return tags by their names, O for what is none."""
    return [read_label(name) or Label("O") for name in names]


def type_spellings(answers: Iterable[str]) -> dict[str, str]:
    """Return type of an entity, which is read in capitals -> the commonest spelling of it in answers.

    >>> type_spellings(["flu : B-Disease"])
    {'DISEASE': 'Disease'}
    """
    found: dict[str, Counter[str]] = {}
    for answer in answers:
        for raw in answer.split("\n"):
            for line in read_lines(raw):
                kind = line.label.type if line.label is not None else ""
                at = raw.upper().rfind(kind)
                written = raw[at : at + len(kind)]
                if kind and written.upper() == kind:
                    found.setdefault(kind, Counter())[written] += 1
    return {kind: min(of, key=lambda written: (-of[written], written)) for kind, of in found.items()}


def label_name(label: Label) -> str:
    """Return the name of a tag: ``O``, ``B`` or ``B-TYPE``."""
    return f"{label.prefix}-{label.type}" if label.type else label.prefix


def _form(example: Example, task: Task | None) -> str:
    if task is None:
        return "that belong to no task"
    if not is_own(task):
        return f"of task '{task.name}', which a plugin brings"
    if task.name == "ner":
        return "tags"
    if task.name in _LABELLED:
        return "labels"
    if isinstance(task, QaTask):
        gold = task.parse(answer_of(example), example)
        return gold.kind if gold.value is not None else "whose gold answer names no option or decision"
    return "text"


def _tagged(split: Split) -> ClosedRows:
    scheme = scheme_of(written_labels(read_lines(answer_of(example))) for example in split.rows)
    read = [GoldTags.read(answer_of(example), scheme) for example in split.rows]
    names = [[label_name(label) for label in gold.labels] for gold in read]
    labels = sorted({name for each in names for name in each})
    numbers = {name: number for number, name in enumerate(labels)}
    rows = [EncoderRow(g.tokens, [numbers[name] for name in each]) for g, each in zip(read, names, strict=True)]
    asked = [EncoderRow([line.token for line in read_lines(answer_of(e))]) for e in split.asked]
    spelled = type_spellings(answer_of(example) for example in split.rows)
    return ClosedRows(split.source, "ner", EncoderKind.TAGS, labels, rows, asked, split.places, spelled=spelled)


def _labelled(split: Split, task: Task) -> ClosedRows:
    trained, asked = _texts(split)
    golds, known = _golds(split, task)
    labels = sorted({label for gold in golds for label in gold or ()})
    numbers = {label: number for number, label in enumerate(labels)}
    rows = [
        EncoderRow([text], sorted(numbers[label] for label in gold))
        for text, gold in zip(trained, golds, strict=True)
        if gold is not None
    ]
    several = known is not None and known.is_multi
    return ClosedRows(
        split.source,
        task.name,
        EncoderKind.LABELS if several else EncoderKind.LABEL,
        labels,
        rows,
        [EncoderRow([text]) for text in asked],
        split.places,
        empty=min(known.negative, default="") if known is not None and several else "",
        separator=_separator(split, task),
    )


def _golds(split: Split, task: Task) -> tuple[list[frozenset[str] | None], LabelSet | None]:
    """Return the labels of each row to train on, None where they cannot be read, and the label set of rows that have one."""
    texts = [answer_of(example) for example in split.rows]
    if not isinstance(task, QaTask):
        known = label_set_of(task.name, texts, _contract(split, task))
        return [known.read(text) for text in texts], known
    values = [task.parse(text, example).value for text, example in zip(texts, split.rows, strict=True)]
    return [None if value is None else frozenset({value}) for value in values], None


def _contract(split: Split, task: Task) -> TaskContract | None:
    found = contracts_of([task]).of(split.asked[0])
    return found if found is not None and found.task == task.name else None


def _separator(split: Split, task: Task) -> str:
    contract = _contract(split, task)
    sign = contract.separator if contract is not None and contract.separator else ","
    return f"{sign.strip()} " if sign.strip() and sign.isascii() else sign


def _texts(split: Split) -> tuple[list[str], list[str]]:
    """Return the texts of the rows to train on and of those asked, without instructions that come again and again."""
    trained, asked = ([_question(example) for example in some] for some in (split.rows, split.asked))
    firsts = {text.partition("\n\n")[0] for text in trained}
    if _REPEATED * len(firsts) > len(trained):
        return trained, asked
    return [_behind(text, firsts) for text in trained], [_behind(text, firsts) for text in asked]


def _question(example: Example) -> str:
    """Return what was asked, without system turns."""
    return "\n\n".join(m["content"].strip() for m in example.messages[:-1] if m["role"] != "system")


def _behind(text: str, firsts: Collection[str]) -> str:
    first, border, rest = text.partition("\n\n")
    return rest if border and first in firsts else text
