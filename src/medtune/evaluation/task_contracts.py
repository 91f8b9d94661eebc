"""What the rows of each source are: the kind of their answers, their labels, and the figure that stands for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medtune.evaluation.gold_shapes import shape_of
from medtune.evaluation.recognition import answer_of, question_of, recognise
from medtune.plugins.contracts import Example
from medtune.specs.tasks import TaskKind

__all__ = ["TASK_OF_KIND", "Contracts", "TaskContract"]

TASK_OF_KIND: Mapping[TaskKind, str] = {
    "tagging": "ner",
    "relation": "relation",
    "inference": "nli",
    "classification": "classification",
    "multi-label": "classification",
    "choice": "qa",
    "decision": "qa",
    "question": "qa",
    "free-text": "qa",
    "extraction": "extraction",
}
"""Kind of answer -> name of the task that scores it."""
_ANY = "*"


@dataclass(frozen=True, slots=True, eq=False)
class TaskContract:
    """What the rows of a source are, declared or told from their gold answers.

    Attributes:
        source: whose rows.
        kind: form of the answers.
        known: how it is known, in words.
        labels: that there are; empty where the kind has none.
        negative: those that say "nothing of it".
        metric: figure that stands for the source; empty for that of its task.
        aliases: other spelling -> label.
        separator: what parts the labels or items of an answer.
        shape: the only rows of the source that are meant, by ``shape_of``; empty for all.
        rows: gold answers that it rests on.
        without_negative: whether the user says that no label is negative.
        candidates: kinds that it may be, where the answers do not tell; its kind is then only taken for the time being.
    """

    source: str
    kind: TaskKind
    known: str
    labels: Sequence[str] = ()
    negative: Sequence[str] = ()
    metric: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    separator: str = ""
    shape: str = ""
    rows: int = 0
    candidates: Sequence[TaskKind] = ()
    without_negative: bool = False

    @property
    def task(self) -> str:
        """Name of the task."""
        return TASK_OF_KIND[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, the task's name included."""
        lists = {name: list(getattr(self, name)) for name in ("labels", "negative", "candidates")}
        return {**asdict(self), **lists, "task": self.task}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TaskContract":
        """Read back what ``to_json`` gave."""
        return cls(**{name: value for name, value in values.items() if name in cls.__slots__})


class Contracts:
    """Finds the contract of an example; without any, each row is told by its own source and shape.

    Args:
        members: at most one for each source, or for each source and shape; source "*" is for those that have none.
    """

    def __init__(self, members: Iterable[TaskContract] = ()) -> None:
        self.members = tuple(members)
        self._whole = {member.source: member for member in self.members if not member.shape}
        self._parts = {(member.source, member.shape): member for member in self.members if member.shape}
        self._parted = {source for source, _shape in self._parts}

    def of(self, example: Example) -> TaskContract | None:
        """Return the contract of an example, None where there is none."""
        whole = self._whole.get(example.source)
        if whole is None and example.source in self._parted and len(example.messages) > 1:
            whole = self._parts.get((example.source, shape_of(question_of(example), answer_of(example))))
        return whole or self._whole.get(_ANY)

    def task_of(self, example: Example) -> str | None:
        """Return the name of the task of medtune's own that scores an example."""
        found = self.of(example)
        return found.task if found else recognise(example)

    def metric_of(self, source: str, task: str) -> str:
        """Return the figure that stands for a source in a task; empty for the task's own."""
        found = [m.metric for m in self.members if m.source in (source, _ANY) and m.task == task and m.metric]
        return found[0] if found else ""
