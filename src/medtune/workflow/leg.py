"""A part of a run, as a sweep has it done: how far it goes, what is scored there, and the base that it shares with other runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from medtune.data.splits import HoldOut, document_of
from medtune.errors import StorageError
from medtune.machine.owner_only import make_folder
from medtune.plugins.contracts import Example, Loaded
from medtune.runs.durable import attempt, replace_file
from medtune.runs.signals import StopNow
from medtune.specs import ModelSpec, QuantSpec
from medtune.workflow.kept_answers import AnswerFiles
from medtune.workflow.shared_base import SharedBase

__all__ = ["PAUSED", "Leg", "halves"]

PAUSED = "end of this part"
"""Reason with which a run stops where its leg ends."""


@dataclass(slots=True)
class Leg:
    """One call of ``train`` within a sweep.

    Attributes:
        share: of the run's updates after which it pauses; 1 goes to its end.
        figure: by which settings are compared: "macro", a task, or "loss".
        bases: the base in memory.
        siblings: evaluation folders of other runs, whose answers of the base may stand for this one's.
        seed: of the halves of the validation rows.
        until: update of the pause, once it is known.
        step: updates done so far.
    """

    share: float
    figure: str
    bases: SharedBase
    siblings: Sequence[Path] = ()
    seed: int = 0
    until: int | None = None
    step: int = 0
    _total: int = field(default=0, init=False)

    def begin(self, total: int, step: int) -> None:
        """Take the run's length, and where it starts.

        Raises:
            StopNow: it is as far as it should go.
        """
        self._total, self.step = total, step
        self.until = min(total, max(1, ceil(self.share * total)))
        if self.reason:
            raise StopNow(PAUSED)

    @property
    def reason(self) -> str | None:
        """Why training should stop now."""
        return PAUSED if self.until is not None and self.until <= self.step and self.until < self._total else None

    @property
    def score_after(self) -> int | None:
        """Update after which the adapter is scored for the sweep; at the end all scores but the loss come anyway."""
        ends = self.until is None or self.until == self._total
        return None if ends and self.figure != "loss" else self.until

    def needs_loss_only(self, step: int) -> bool:
        """Whether no answers are wanted after an update."""
        return self.figure == "loss" and step == self.score_after

    def choosing(self, examples: Sequence[Example]) -> list[Example]:
        """Return the validation rows by which settings are chosen; the others tell what the chosen one is worth."""
        return halves(examples, self.seed)[0]

    def holds(self, model: ModelSpec, quant: QuantSpec) -> bool:
        """Whether that base is in memory, as it was loaded."""
        return self.bases.holds(model, quant)

    def base(self, model: ModelSpec, quant: QuantSpec, load: Callable[[], Loaded]) -> Loaded:
        """Return the base without an adapter: the one in memory, else what ``load`` loads."""
        return self.bases.take(model, quant, load)

    def attached(self, loaded: Loaded) -> None:
        """Take note of an adapter that was attached to it."""
        self.bases.attached(loaded)

    def lend(self, files: AnswerFiles) -> None:
        """Put the base's answers of another run in the place of this run's, where it was asked the same in the same way."""
        if files.scores.exists():
            return
        for folder in self.siblings:
            other = AnswerFiles(folder, files.name, files.circumstances)
            if other.is_whole:
                attempt(lambda: make_folder(files.folder), "the scores", files.folder)
                for source, place in ((other.predictions, files.predictions), (other.scores, files.scores)):
                    replace_file(place, _content(source), "the answers")
                return


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"'{path}' cannot be read: {error.strerror}") from error


def halves(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Return the rows that choose and those that do not: half of each source, rows of one document together."""
    hold_out = HoldOut(0.5, seed)
    parts: tuple[list[Example], list[Example]] = ([], [])
    for example in sorted(examples, key=lambda example: (example.source, example.row_id)):
        parts[hold_out.takes(example.source, document_of(example))].append(example)
    return parts
