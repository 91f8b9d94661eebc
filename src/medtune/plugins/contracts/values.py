"""What the parts of medtune hand to each other: plain values, frozen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

from medtune.errors import PluginError
from medtune.plugins.contracts.loading import Loaded
from medtune.specs import RunSpec

__all__ = [
    "Bundle",
    "Checkpoints",
    "EncodedExample",
    "Example",
    "Job",
    "Message",
    "PackedRow",
    "PackedRows",
    "Prediction",
    "TaskScore",
    "TrainResult",
]


class Message(TypedDict):
    """One turn: ``role`` is "system", "user" or "assistant".

    An answer may carry ``reasoning_content``, what was thought before it. It is written where the chat template has a place for
    it, else the row is set aside, or with ``reasoning_inline`` it begins the content. An answer of ``weight`` 0 has no loss.
    """

    role: str
    content: str
    reasoning_content: NotRequired[str]
    reasoning_inline: NotRequired[bool]
    weight: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Example:
    """What is asked and what is answered; the last message is the answer.

    Attributes:
        messages: the turns in order.
        source: where the row comes from, the key of per-source figures; empty when unknown.
        task: name of the task that scores it, None to let the tasks' ``matches`` decide.
        row_id: stable identity within the data set, used in logs instead of text.
        document: what rows of one text share (an abstract, a note), the unit of resampling; empty when unknown.
    """

    messages: Sequence[Message]
    source: str = ""
    task: str | None = None
    row_id: str = ""
    document: str = ""


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """The exact token ids of an example and which of them carry loss; source and row id are those of the example.

    Attributes:
        input_ids: the whole conversation, first id to last.
        supervised: 1 where the token carries loss, else 0; as long as ``input_ids``.
    """

    input_ids: Sequence[int]
    supervised: Sequence[int]
    source: str = ""
    row_id: str = ""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Samples that share one row of ``max_length`` tokens.

    Attributes:
        input_ids: the samples' ids one after the other, without padding.
        supervised: 1 where the token carries loss, aligned with ``input_ids``.
        lengths: tokens of each sample; they sum to ``len(input_ids)``.
        samples: index of each sample in the prepared set, in the order of ``lengths``.
    """

    input_ids: Sequence[int]
    supervised: Sequence[int]
    lengths: Sequence[int]
    samples: Sequence[int]


class PackedRows(Protocol):
    """The prepared training set: packed rows by index, and the identity of their samples."""

    @property
    def fingerprint(self) -> str:
        """Identity of the whole set: the same for the same rows in the same packing."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> PackedRow: ...
    def row_id(self, sample: int) -> str:
        """Return the row id of a sample."""
        ...

    def source(self, sample: int) -> str:
        """Return the source of a sample."""
        ...


class Checkpoints(Protocol):
    """The checkpoints of a run, in its folder."""

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Make the checkpoint of ``step`` durable and return its folder; older ones go as ``train.save_total_limit`` says.

        Args:
            step: updates done.
            write: writes files into the empty folder it gets, no pickles; may be called again in a fresh folder. It is called on
                the first process only.

        Raises:
            StorageError: it could not be written; the checkpoints that were there still are.
        """
        ...


class _Nowhere:
    """Stands for checkpoints where nobody gave a place for them."""

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Refuse."""
        del write
        raise PluginError(f"the checkpoint of step {step} has no place: this job was made without Job.checkpoints")


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a trainer needs for one fit.

    Attributes:
        spec: the whole run spec.
        loaded: base with adapter attached.
        rows: the packed training set.
        run_dir: the run folder; checkpoints go to its ``checkpoints``.
        total_steps: updates to do in the whole run.
        resume_from: a verified checkpoint folder to continue from, or None; its name and the trainer's own files say the step.
        checkpoints: where the trainer saves, so that the run can be resumed; what it writes is there whole or not at all.
        on_log: called with every log record (step, loss, learning_rate, grad_norm, tokens, tokens_per_second, ...).
        on_proof: called once, before the first update, with what the trainer proved (``TrainResult.proof``).
        on_step: called with the number of updates done, after each.
        held_out: rows whose losses by source ``on_held_out`` is told before each ``on_evaluate``; None measures none.
        on_evaluate: updates done -> the figure that ``spec.eval`` chooses by (None: undefined), on the first process, or None.
        score_after: update after which ``on_evaluate`` is called too, whatever ``spec.eval.every`` says; what it returns then
            chooses nothing. None for none.
        stop_reason: asked after each update; a reason makes the trainer save, and return with it as ``interrupted``.
        examples: what is trained on before it is encoded, for a trainer with ``wants_examples = True``; else None. A sample's
            is the one of its row id; rows that ``data.overlong`` shortens are whole here.
    """

    spec: RunSpec
    loaded: Loaded
    rows: PackedRows
    run_dir: Path
    total_steps: int
    resume_from: Path | None = None
    on_log: Callable[[Mapping[str, Any]], None] = lambda _record: None
    on_proof: Callable[[Mapping[str, Any]], None] = lambda _proof: None
    on_step: Callable[[int], None] = lambda _step: None
    on_evaluate: Callable[[int], float | None] | None = None
    held_out: PackedRows | None = None
    on_held_out: Callable[[Mapping[str, tuple[float, int]]], None] = lambda _losses: None
    score_after: int | None = None
    stop_reason: Callable[[], str | None] = lambda: None
    checkpoints: Checkpoints = field(default_factory=_Nowhere)
    examples: Sequence[Example] | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a fit did.

    Attributes:
        steps: updates done in the whole run, resumed part included.
        train_loss: mean loss per supervised token over the updates of the whole run, resumed part included.
        tokens: real (unpadded) tokens seen by this process.
        seconds: wall time of the training loop in this process.
        peak_memory_gib: peak allocated device memory, on a CPU the peak resident set.
        interrupted: the reason, when a signal or time limit ended the fit early.
        fast_path: whether the fast path was used, and if not why, as one line; empty where the trainer has none.
        best_step: update after which a score during training was best, None without such scores.
        adapter_step: update whose adapter the model holds now: ``best_step`` when the best one is kept, else ``steps``.
        stopped_early: why training ended before its last update, uninterrupted; empty when it did not.
        proof: how the loss was computed, and how far from the model's own, as JSON values; empty without a proof.
    """

    steps: int
    train_loss: float
    tokens: int
    seconds: float
    peak_memory_gib: float
    interrupted: str | None = None
    fast_path: str = ""
    best_step: int | None = None
    adapter_step: int | None = None
    stopped_early: str = ""
    proof: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def tokens_per_second(self) -> float:
        """Real tokens per second of wall time."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer to an example; the gold answer is the example's last message.

    Attributes:
        example: what was asked.
        text: the answer.
        truncated: whether it was cut off.
        confidence: how sure the system was, between 0 and 1, greater for surer answers; None where it does not say.
    """

    example: Example
    text: str
    truncated: bool = False
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class TaskScore:
    """The score of one task over its rows.

    Attributes:
        rows: rows scored; ``rows_of``: figure -> those that it is of, where these are not all (accuracy is of no free text).
        primary: key in ``metrics`` that stands for the task in one-line tables.
        metrics: figures between 0 and 1.
        failures: rates between 0 and 1 of the ways in which an answer could not be used.
        intervals: 95 % interval (low, high) per metric, where one was computed.
        details: further JSON values, such as a confusion matrix.
        undefined: figures that these rows say nothing about, such as an F1 where there is nothing to find.
        no_interval: figure that has a value but no interval -> why.
    """

    rows: int
    primary: str
    metrics: Mapping[str, float]
    failures: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    undefined: Sequence[str] = ()
    no_interval: Mapping[str, str] = field(default_factory=dict)
    rows_of: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A named run spec, and what is known about its parts before they are downloaded.

    Attributes:
        name: what ``--bundle`` and ``MedTuner.from_bundle`` take.
        spec: the run spec.
        summary: one sentence for listings.
        licences: repository -> the terms that a user must know.
        model_config: dimensions under the names of the model's config.json, for a plan without the file.
        train_tokens: tokens of the training rows under this model, for a plan without the data.
        sources: of the validation rows, likewise.
    """

    name: str
    spec: RunSpec
    summary: str = ""
    licences: Mapping[str, str] = field(default_factory=dict[str, str])
    model_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    train_tokens: int | None = None
    sources: int | None = None
