"""What a plugin's things must offer: one protocol for each kind.

Each may also have ``describe() -> Mapping[str, Any]``: what it is and works by, as JSON values, for plan, card and report.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medtune.plugins.contracts.answers import AnswerRequest, Completion, GenerationRequest, TokenScores
from medtune.plugins.contracts.exporting import Exported, ExportSource
from medtune.plugins.contracts.loading import Loaded
from medtune.plugins.contracts.values import Example, Job, Prediction, TaskScore, TrainResult
from medtune.specs import EvalSpec, LoraSpec, ModelSpec, QuantSpec

__all__ = [
    "Adapter",
    "AnswerScorer",
    "ContinuousGenerator",
    "Exporter",
    "FinishedRun",
    "Generator",
    "PromptFormatter",
    "Quantizer",
    "RequestFeed",
    "Task",
    "TokenScorer",
    "Trainer",
]


@runtime_checkable
class PromptFormatter(Protocol):
    """Turns a row into an example: says what is asked and what is answered, never how it looks in tokens.

    May also have ``columns``, the names by which ``data.formatter = "auto"`` recognises its rows (without them it is
    chosen by name only), ``optional_columns``, which it reads where they are there, and ``version``, a text that is
    changed whenever it gives other examples for a reason that its code does not show (without one, rows it prepared are not
    kept on disk).
    """

    name: str

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the example of ``row``, or raise for a bad one, which is then set aside.

        Of ``medtune.data.formatters.MalformedRowError`` the quarantine shows the sentence, which must not hold the
        row's text; of any other exception the type alone.
        """
        ...


@runtime_checkable
class Quantizer(Protocol):
    """Loads a frozen base model.

    May also have ``stored_as(model: ModelSpec, spec: QuantSpec) -> StoredAs | None``, which returns what storage makes of a
    tensor of the base (name and values -> values dequantized), to the bit as ``load`` does, None where it changes nothing;
    without it a run on a rounded base exports onto the base as it was before; and ``load_sharded(model, spec) -> Loaded``, which
    loads the base with its layers sharded over all processes (``train.parallel = "fsdp"``), sets ``Loaded.in_step``, and is called
    by all of them together.
    """

    name: str

    def load(self, model: ModelSpec, spec: QuantSpec) -> Loaded:
        """Load the base with its tokenizer."""
        ...


@runtime_checkable
class Adapter(Protocol):
    """Attaches trainable parameters to a loaded base.

    May also have ``check(spec: LoraSpec, scheme: str, device: str | None)``, called before anything is loaded, which raises
    ``SpecError`` for what this backend cannot train, or cannot save so that it loads as it was trained. ``scheme`` may be
    "auto" and ``device`` None where they are not decided yet.
    """

    name: str

    def attach(self, loaded: Loaded, spec: LoraSpec) -> Loaded:
        """Return the loaded model with a fresh fp32 adapter.

        ``save_adapter`` and ``base_only`` of the result must be set, ``load_adapter`` where a run is to be opened again. The
        result must answer inside ``base_only()`` as ``loaded`` does, to the bit.
        """
        ...


@runtime_checkable
class Trainer(Protocol):
    """Fits the adapter.

    May also have ``check(spec: TrainSpec)``, called before anything is loaded, which raises ``SpecError`` for what it cannot do;
    ``prove(job)``, which returns what ``fit`` would prove of its loss (``TrainResult.proof``) and trains nothing;
    `medtune plan --prove` calls it; and ``held_out_losses(loaded, rows, spec)``, which returns source -> (summed loss in nats,
    supervised tokens) of packed rows for the model as it stands, by the loss that it trains with, and changes nothing;
    ``eval.loss`` needs it, and that ``fit`` calls ``job.on_held_out`` with the same before ``job.on_evaluate``. With
    ``wants_examples = True`` it is given ``job.examples``. One that saves by ``job.checkpoints`` and goes on from
    ``job.resume_from`` can be interrupted and resumed.
    """

    name: str

    def fit(self, job: Job) -> TrainResult:
        """Train in place and return what was done."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Generates answers greedily.

    May also have ``loads_own_base``, True where the base is loaded a second time to answer: scores during training are
    then not held to the memory of training, which ``spec.memory_gib`` is otherwise set to. ``loaded.answers_as`` says whether
    the base or the tuned model is asked.
    """

    name: str

    def generate(self, loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> Sequence[Completion]:
        """Return one completion per prompt, in order."""
        ...


class RequestFeed(Protocol):
    """Requests that come while others are being answered, and where their answers go."""

    def take(self, most: int, *, wait: bool) -> Mapping[int, GenerationRequest]:
        """Return up to ``most`` new requests by a key of their own; with ``wait`` none only once no more will come."""
        ...

    def watches(self, key: int, /) -> bool:
        """Say whether ``progress`` of a request is wanted now."""
        ...

    def progress(self, key: int, ids: Sequence[int], /) -> bool:
        """Take an unfinished answer's ids so far; False where it shall be left off, and ``finish`` is not called then."""
        ...

    def finish(self, key: int, ids: Sequence[int], /) -> None:
        """Take the ids of a whole answer, a stop id included; ids after one mean nothing."""
        ...


@runtime_checkable
class ContinuousGenerator(Protocol):
    """A generator that takes further requests while it answers; any other one answers what waits, batch after batch."""

    name: str

    def generate_from(self, loaded: Loaded, feed: RequestFeed, spec: EvalSpec, longest: int) -> None:
        """Answer as ``generate`` does until the feed has no more; no request takes more than ``longest`` tokens, prompt and answer."""
        ...


@runtime_checkable
class AnswerScorer(Protocol):
    """A generator that can also say how probable given answers are; ``eval.label_likelihood`` needs one."""

    name: str

    def log_probabilities(
        self, loaded: Loaded, requests: Sequence[AnswerRequest], spec: EvalSpec
    ) -> Sequence[Sequence[Sequence[float]]]:
        """Return for each request and each of its answers the log-probability of each token, in nats."""
        ...


@runtime_checkable
class TokenScorer(Protocol):
    """A generator that can say how probable each token of a text was, and which others would have been most probable."""

    name: str

    def token_scores(self, loaded: Loaded, request: AnswerRequest, top: int) -> Sequence[Sequence[TokenScores]]:
        """Return for each answer the scores of each of its tokens, with the ``top`` most probable ones in its place."""
        ...


@runtime_checkable
class Task(Protocol):
    """Recognises, parses and scores one kind of answer.

    May also have ``draft(example) -> AnswerForm | None``, which says from what was asked what an answer will look like; a
    generator may then verify several tokens of it in one pass, and answers the same, sooner.
    """

    name: str

    def matches(self, example: Example) -> bool:
        """Say whether this task scores ``example`` (by its source, or by its instruction and shape)."""
        ...

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:
        """Return the most tokens that a sensible answer takes."""
        ...

    def parse(self, text: str, example: Example) -> Any:
        """Return what ``text`` answers, in the task's own type."""
        ...

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score answers to examples that match."""
        ...


@runtime_checkable
class Exporter(Protocol):
    """Writes a run's tuned model in another form.

    May also have ``check(source: ExportSource, options: Mapping[str, Any])``, called before anything is loaded, which raises
    ``SpecError`` for what cannot be written; and ``publish(source: ExportSource, exported: Exported, options) ->
    Mapping[str, Any]``, called once the artifact is proved, whose JSON values are added to its facts.
    """

    name: str

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        """Write into the empty folder ``target`` and say how what was written can be loaded again.

        An option that is not known is a ``SpecError``. Nothing written may hold a row's text.
        """
        ...


class FinishedRun(Protocol):
    """What an observer of ``run_finished`` is handed: the run that ``MedTuner.train`` returns."""

    @property
    def path(self) -> Path:
        """The run folder."""
        ...

    @property
    def adapter_dir(self) -> Path:
        """Folder of the adapter in peft's standard form."""
        ...

    @property
    def state(self) -> str:
        """One of planned, running, interrupted, finished, failed."""
        ...

    @property
    def metrics(self) -> dict[str, Any]:
        """Training figures, and per task the metric, base, tuned and rows."""
        ...
