"""What was decided about a run before it began: a plan, and the size of the data it rests on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from medtune.errors import DataError, OutOfMemoryError
from medtune.plugins.plan_in_words import cluster_in_words, minutes_in_words, proof_in_words, size_in_words
from medtune.specs import RunSpec

__all__ = ["DataSize", "Plan"]


@dataclass(frozen=True, slots=True)
class DataSize:
    """Packed rows and tokens of the training set.

    Attributes:
        rows: packed rows of one epoch.
        tokens: their tokens.
        measured: false for a figure that a bundle states.
        facts: further counts, as ``Plan.data``.
        sources: of the rows, where they are known.
        is_kept: whether the rows are prepared and in the cache, so that training finds them.
    """

    rows: int
    tokens: int
    measured: bool
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sources: int | None = None
    is_kept: bool = False

    @property
    def refused(self) -> str:
        """Why the rows cannot be trained on as the spec says, empty where they can or were not counted."""
        return str(self.facts.get("refused", ""))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will use and need.

    Attributes:
        backends: quantizer, adapter, trainer, generator and formatter by name.
        memory_gib: estimated GiB by part on the device that trains, in the phase that needs most; empty when the model's
            dimensions are unknown.
        fits: whether the run can be done on this machine, with these rows where they were counted.
        advice: one sentence on what to do, empty when nothing needs doing.
        steps: updates, None when the data set's size is unknown before it is read.
        tokens: training tokens over all steps, None likewise.
        licences: terms of the model and data set.
        device: name of the device that trains.
        compute_dtype: type of the matrix products.
        recompute: what the backward pass computes again, such as "none" or "all".
        dequantized_weights: "keep" where the weights of a 4-bit base stay dequantized for training, else "each_pass".
        parameters: parameters of the base, None when unknown.
        trainable_parameters: parameters of the adapter, None when unknown.
        size_is_measured: whether ``steps`` and ``tokens`` were counted on the rows themselves.
        data: counts of the rows, per source and in all: what ``max_length`` loses, what 95, 99 and 100 % need, malformed
            rows, overlap with validation rows, the length of samples on average over tokens, what share of tokens samples
            begin with in common by rows of a micro-batch, and under ``refused`` why they could not be trained on; empty when
            the rows were not counted.
        phases_gib: estimated GiB by phase: load, training, optimizer, evaluation, save.
        allocated_gib: what torch will count as its peak while training: without CUDA's context, paged states, and memory
            that is reserved but not used.
        scheme: storage of the base, resolved.
        scheme_reason: why "auto" was resolved so; empty when the spec names a scheme.
        path: "fast" where medtune's own pass over the layers is expected to apply, else "plain".
        micro_batch_rows: packed rows of a forward pass.
        gradient_accumulation_steps: forward passes per update; the effective batch is the spec's.
        tokens_per_second: estimate for training, None where the device's speed is unknown.
        speed_basis: what that rests on.
        seconds: estimate for all steps of training, without scoring; None when unknown.
        download_bytes: to fetch before the run, by "model" and "data"; 0 where all is here, None where only the hub can say.
        disk_bytes: room that download, prepared rows, checkpoints and adapter take, as far as it is known.
        scoring_seconds: estimate for scoring base and tuned model; None where it is unknown.
        minutes: promised from the command to the score, without downloads: ``load``, ``prepare``, ``train``, ``score`` and
            ``total``, of which each is None where it is not estimated.
        minutes_basis: of each stage what its figure rests on, or why it is "not estimated".
        path_reason: why the fast path does not apply, as the end of a sentence; empty where it does.
        cost: of these seconds at the price that was given, in its currency.
        base: what was inspected of the base: names of the checks under "checked", sentences a user should know under "notes".
        proof: what is proved of the loss before training: the "ways" to compute it in the order in which they are tried, and
            the "bounds" of what is rounding; once it was proved also the outcome, as ``TrainResult.proof``. Empty where the
            trainer proves nothing.
        plugins: what the run is made by, one mapping for each plugin in use: ``name``, ``distribution``, ``version``, ``file`` (the
            name of one that was given), ``sha256`` of its code, what it ``provides`` by kind, and how each backend in use ``describes``
            itself.
        locked: whether the process refuses the network.
        parallel: "fsdp" where the layers of the base are sharded over all processes, else "ddp".
        canaries: that made-up secrets are planted among the training rows, in a sentence; empty where none are.
        cluster: where it was planned for several processes: ``gpus`` a machine, ``nodes``, ``net``, ``processes``, whether they train
            in "ddp" or "fsdp" and the ``reason``, rows, GiB and bytes of each process, seconds of computing and sending for an
            update, and under ``scaling`` what fewer processes come to; memory, micro-batch and speed above are then theirs.
        notes: settings that hardly anybody means, in sentences; nothing is refused for them.
        steps_unpacked: updates that as many passes would take without packing, None where that is unknown or the same.
        cost_basis: what ``cost`` rests on, or why there is none where a price was given.
    """

    backends: Mapping[str, str]
    memory_gib: Mapping[str, float]
    fits: bool
    advice: str
    steps: int | None
    tokens: int | None
    licences: tuple[str, ...]
    device: str
    compute_dtype: str
    recompute: str
    parameters: int | None = None
    trainable_parameters: int | None = None
    size_is_measured: bool = False
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    phases_gib: Mapping[str, float] = field(default_factory=dict[str, float])
    allocated_gib: float | None = None
    scheme: str = ""
    scheme_reason: str = ""
    path: str = "plain"
    dequantized_weights: str = "each_pass"
    micro_batch_rows: int = 1
    gradient_accumulation_steps: int = 1
    tokens_per_second: float | None = None
    speed_basis: str = ""
    seconds: float | None = None
    cost: float | None = None
    base: Mapping[str, Any] = field(default_factory=dict[str, Any])
    download_bytes: Mapping[str, int | None] = field(default_factory=dict[str, int | None])
    disk_bytes: int = 0
    scoring_seconds: float | None = None
    minutes: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    minutes_basis: Mapping[str, str] = field(default_factory=dict[str, str])
    path_reason: str = ""
    proof: Mapping[str, Any] = field(default_factory=dict[str, Any])
    plugins: tuple[Mapping[str, Any], ...] = ()
    locked: bool = False
    canaries: str = ""
    parallel: str = "ddp"
    cluster: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    steps_unpacked: int | None = None
    cost_basis: str = ""

    @property
    def verdict(self) -> str:
        """Whether the run can be done: "fits", "does not fit", or "unknown" where memory was not estimated."""
        if not self.fits:
            return "does not fit"
        return "fits" if self.memory_gib else "unknown"

    def description(self, kind: str) -> Mapping[str, Any]:
        """Return what the backend of a kind says of itself; empty where it says nothing."""
        return next((each["describes"][kind] for each in self.plugins if kind in each["describes"]), {})

    @property
    def peak_gib(self) -> float | None:
        """Estimated peak in GiB, None when the model's dimensions are unknown."""
        return sum(self.memory_gib.values()) if self.memory_gib else None

    def with_price(self, per_hour: float) -> "Plan":
        """Return the plan with the cost of its training at a price per hour; unknown where the time is."""
        if self.seconds is None:
            return replace(
                self, cost_basis=f"not known: training time is {self.minutes_basis.get('train', 'not estimated')}"
            )
        basis = f"{self.seconds / 3600:,.2f} hours of training at {per_hour:g} an hour, scoring not included"
        return replace(self, cost=self.seconds / 3600 * per_hour, cost_basis=basis)

    @property
    def updates(self) -> str:
        """Updates in words, beside those that they would be without packing."""
        return f"{self.steps:,} updates" + (f", {self.steps_unpacked:,} unpacked" if self.steps_unpacked else "")

    def with_proof(self, outcome: Mapping[str, Any]) -> "Plan":
        """Return the plan with what a trainer proved of its loss here."""
        return replace(self, proof={**self.proof, **outcome})

    @property
    def download(self) -> str:
        """What is to be fetched and how much disk the run takes, in words."""
        known = {name: count for name, count in self.download_bytes.items() if count is not None}
        told = [f"{size_in_words(count)} of {name}" for name, count in known.items() if count]
        told += [
            f"{name} (its size is not known before the hub is asked)"
            for name in self.download_bytes.keys() - known.keys()
        ]
        return f"{' and '.join(told) or 'nothing'} to fetch; about {size_in_words(self.disk_bytes)} of disk in all"

    def lines(self) -> list[str]:
        """Return the plan in a few sentences: machine and memory, length, terms, and what is wrong with it."""
        peak = "" if self.peak_gib is None else f", about {self.peak_gib:.1f} GiB"
        told = [f"plan: {self.device}, {self.compute_dtype}, base stored as {self.scheme}, {self.path} path{peak}"]
        if self.parallel == "fsdp":
            told.append(
                "plan: the layers of the base are sharded over all processes (FSDP2), the adapter is whole on each"
            )
        if self.steps is not None and self.tokens is not None:
            told.append(f"plan: {self.updates}, over {self.tokens:,} tokens")
        told += [f"plan: {sentence}" for sentence in cluster_in_words(self.cluster)]
        told.append(f"download: {self.download}")
        told += [f"minutes to {line}" for line in minutes_in_words(self.minutes, self.minutes_basis)]
        if self.path_reason:
            told.append(f"plan: the plain path, because {self.path_reason}")
        told += [f"proof: {sentence}" for sentence in proof_in_words(self.proof)]
        told += [f"terms of {terms}" for terms in self.licences]
        told += [f"canaries: {self.canaries}"] * bool(self.canaries)
        told += [f"note: {sentence}" for sentence in self.notes]
        if self.advice:
            told.append(f"plan: {'' if self.fits else 'does not fit: '}{self.advice}")
        return told

    def require_fit(self) -> None:
        """Raise OutOfMemoryError with the advice when the run cannot be done here, DataError where its rows are refused."""
        if self.data.get("refused"):
            raise DataError(self.advice)
        if not self.fits:
            raise OutOfMemoryError(self.advice)

    def settle(self, spec: RunSpec) -> RunSpec:
        """Return ``spec`` with what the plan decided in the place of every "auto" about storage, batch and recomputing."""
        quant = {"scheme": self.scheme or spec.quant.scheme, "backend": self.backends["quantizer"]}
        train = {
            "recompute": self.recompute,
            "dequantized_weights": self.dequantized_weights,
            "parallel": self.parallel,
            "per_device_batch_size": self.micro_batch_rows,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
        return spec.model_copy_with(
            quant=spec.quant.model_copy_with(**quant), train=spec.train.model_copy_with(**train)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values; ``memory_gib`` is ``{"peak", "parts", "phases", "allocated"}``."""
        values = asdict(self)
        parts = {name: round(gib, 4) for name, gib in self.memory_gib.items()}
        peak = self.peak_gib
        values["memory_gib"] = {
            "peak": None if peak is None else round(peak, 4),
            "parts": parts,
            "phases": {name: round(gib, 4) for name, gib in values.pop("phases_gib").items()},
            "allocated": None if self.allocated_gib is None else round(self.allocated_gib, 4),
        }
        values.pop("allocated_gib")
        values["licences"] = list(self.licences)
        values["plugins"] = list(self.plugins)
        values["notes"] = list(self.notes)
        values["verdict"] = self.verdict
        values["download"] = self.download
        values["restored_weights"] = self.dequantized_weights  # the key's former name; keys are added, never renamed
        return values
