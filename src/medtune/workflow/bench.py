"""Measures a spec on this machine in about a minute: random weights of the model's shape, the real trainer, a few steps."""

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medtune.errors import SpecError
from medtune.machine.hardware import seed_all
from medtune.planning.base_config import model_config
from medtune.planning.make_plan import make_plan
from medtune.plugins.contracts import Adapter, Job, Loaded, PackedRow, Quantizer, Trainer, TrainResult
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import DataSize, Plan
from medtune.specs import ModelSpec, QuantSpec, RunSpec

__all__ = ["BenchReport", "BenchRows", "bench", "random_base_of"]

_FIRST_ID = 3
_WARM = 2
"""Steps that are not timed: the first compiles and loads kernels, the second may capture CUDA graphs of them."""
_RECORDS, _MOST_BETWEEN = 3, 10
"""Records of the timed steps, and most steps between two."""
_LOG_MEAN, _LOG_SPREAD, _SHORTEST = 5.6, 0.55, 40
"""Lengths of samples: log-normal like those of instruction rows."""
_SUPERVISED = 0.45

_SHAPE = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "tie_word_embeddings",
)

Tell = Callable[[str], None]
_LoadRandom = Callable[[Mapping[str, Any], ModelSpec, QuantSpec], Loaded]


@dataclass(frozen=True)
class BenchRows:
    """Packed rows of random ids, each full, all with samples of the same lengths; satisfies ``PackedRows``.

    One layout for all rows: a bench is too short to meet every size that a run meets, and each new size costs once.

    Args:
        count: number of rows.
        length: tokens per row.
        vocabulary: ids to draw from.
        seed: of ids and lengths.
    """

    count: int
    length: int
    vocabulary: int
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """Identity of the rows."""
        return f"bench-{self.count}-{self.length}-{self.vocabulary}-{self.seed}"

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sample of a row; they add up to ``length``."""
        draw, found = random.Random(self.seed), list[int]()
        while (left := self.length - sum(found)) > 0:
            wanted = max(_SHORTEST, round(draw.lognormvariate(_LOG_MEAN, _LOG_SPREAD)))
            found.append(left if left - wanted < _SHORTEST else wanted)
        return found

    @cached_property
    def supervised(self) -> list[int]:
        """Marks of a row's tokens: the end of every sample carries loss."""
        return [int(place >= n - int(_SUPERVISED * n)) for n in self.lengths for place in range(n)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> PackedRow:
        if not 0 <= index < self.count:
            raise IndexError(index)
        draw = random.Random(f"{self.seed}-{index}")
        ids = draw.choices(range(min(_FIRST_ID, self.vocabulary - 1), self.vocabulary), k=self.length)
        samples = [index * len(self.lengths) + n for n in range(len(self.lengths))]
        return PackedRow(ids, self.supervised, self.lengths, samples)

    def row_id(self, sample: int) -> str:
        """Return the id of a sample."""
        return f"generated-{sample}"

    def source(self, sample: int) -> str:
        """Return the source of a sample: one of two."""
        return ("generated", "drawn")[sample % 2]


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Predicted against measured.

    Attributes:
        device: name of the device.
        settings: what was run: scheme, compute type, recompute, dequantized weights, rows per micro-batch, micro-batches per
            update, length.
        path: what the trainer says of its fast path.
        steps: updates that were timed.
        predicted: ``peak_gib`` (as torch counts) and ``tokens_per_second``; None where unknown.
        measured: ``peak_gib`` (on a CPU the peak resident set), ``tokens_per_second``, ``step_seconds``.
        peak_error: predicted over measured peak, less 1; None on a CPU, where all of the process is counted.
        proof: what the trainer proved of its loss before, as in a run's record.
        shape: dimensions of the base, as in its config.json.
        work: of the adapter and the rows: ``r``, ``dropout``, ``supervised`` share, ``sample_tokens``.
    """

    device: str
    settings: Mapping[str, Any]
    path: str
    steps: int
    predicted: Mapping[str, float | None]
    measured: Mapping[str, float]
    peak_error: float | None
    proof: Mapping[str, Any]
    shape: Mapping[str, Any]
    work: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def bench(spec: RunSpec, host: PluginHost, steps: int = 20, on_stage: Tell | None = None) -> BenchReport:
    """Train a few steps on random weights and generated rows by the run's own adapter and trainer.

    Args:
        spec: the run; its rows are not read, and nothing is written to its folder.
        host: finds adapter and trainer.
        steps: updates, of which the first two are not timed.
        on_stage: called with a sentence when a stage begins.

    Raises:
        OutOfMemoryError: the plan says that it cannot be done here.
        SpecError: the model's config.json is not here, too few steps, or a quantizer that makes no random base.
    """
    tell = on_stage or _ignore
    if steps <= _WARM:
        raise SpecError(f"a bench needs more than {_WARM} steps; the first {_WARM} are not timed")
    config = model_config(spec, host.all("bundle"))
    if "vocab_size" not in config:
        raise SpecError("the model's config.json is not on this machine; set model.path to a folder that holds it")
    effective = spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps
    rows = BenchRows(effective * steps, spec.train.max_length, int(config["vocab_size"]), spec.seed)
    tokens = rows.count * rows.length
    facts = {
        "supervised_tokens": rows.count * sum(rows.supervised),
        "sample_tokens": sum(n * n for n in rows.lengths) / rows.length,
    }
    plan = make_plan(spec, host, DataSize(rows.count, tokens, measured=True, facts=facts))
    plan.require_fit()
    tell(f"building a random base ({plan.scheme})")
    with TemporaryDirectory(prefix="medtune-bench-") as folder:
        settled = _for_bench(plan.settle(spec), steps, folder)
        result, speeds = _train(settled, host, rows, config, tell)
    return replace(
        _report(plan, settled, result, speeds), shape=_dimensions(config), work=_work(settled, facts, tokens)
    )


def _dimensions(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in _SHAPE if config.get(name) is not None}


def _work(spec: RunSpec, facts: Mapping[str, float], tokens: int) -> dict[str, Any]:
    return {
        "r": spec.lora.r,
        "dropout": spec.lora.dropout,
        "supervised": round(facts["supervised_tokens"] / tokens, 4),
        "sample_tokens": round(facts["sample_tokens"], 1),
    }


def _for_bench(spec: RunSpec, steps: int, folder: str) -> RunSpec:
    # a record reads the loss and so waits for the device: a few of them, as in training
    every = max(1, min(_MOST_BETWEEN, (steps - _WARM) // _RECORDS))
    changes = {"max_steps": steps, "num_train_epochs": None, "save_strategy": "no", "logging_steps": every}
    train = spec.train.model_copy_with(**changes, save_every_minutes=None, max_minutes=None)
    return spec.model_copy_with(train=train, output_dir=folder)


def _train(
    spec: RunSpec, host: PluginHost, rows: BenchRows, config: Mapping[str, Any], tell: Tell
) -> tuple[TrainResult, list[float]]:
    """Return what the trainer says, and tokens per second of each record after the warm steps."""
    seed_all(spec.seed)
    adapter: Adapter = host.find("adapter", spec.lora.backend)
    trainer: Trainer = host.find("trainer", spec.train.backend)
    loaded = adapter.attach(random_base_of(spec, host, config), spec.lora)
    speeds: list[float] = []
    begins = 0  # the step that the next record's time begins after

    def note(record: Mapping[str, Any]) -> None:
        nonlocal begins
        if "tokens_per_second" in record:
            if begins >= _WARM:
                speeds.append(float(record["tokens_per_second"]))
            begins = int(record["step"])

    job = Job(
        spec=spec,
        loaded=loaded,
        rows=rows,
        run_dir=Path(spec.output_dir),
        total_steps=spec.train.max_steps or 1,
        resume_from=None,
        on_log=note,
        on_step=_ignore,
        stop_reason=lambda: None,
    )
    tell(f"training for {job.total_steps} steps")
    return trainer.fit(job), speeds


def random_base_of(spec: RunSpec, host: PluginHost, config: Mapping[str, Any]) -> Loaded:
    """Return a base of that shape with random weights, stored as the spec says.

    Raises:
        SpecError: its quantizer makes none.
    """
    quantizer: Quantizer = host.find("quantizer", spec.quant.quantizer)
    load_random: _LoadRandom | None = getattr(quantizer, "load_random", None)
    if load_random is None:
        raise SpecError(
            f"quantizer '{quantizer.name}' cannot make the random base of a bench (it has no load_random); bench with "
            "quant.backend=bitsandbytes"
        )
    return load_random(config, spec.model, spec.quant)


def _report(plan: Plan, spec: RunSpec, result: TrainResult, speeds: list[float]) -> BenchReport:
    train = spec.train
    per_step = train.per_device_batch_size * train.gradient_accumulation_steps * train.max_length
    speed = statistics.median(speeds)
    peak, expected = result.peak_memory_gib, plan.allocated_gib
    on_gpu = plan.device != "CPU"
    return BenchReport(
        device=plan.device,
        settings={
            "scheme": plan.scheme,
            "compute_dtype": plan.compute_dtype,
            "recompute": plan.recompute,
            "dequantized_weights": plan.dequantized_weights,
            "micro_batch_rows": plan.micro_batch_rows,
            "gradient_accumulation_steps": plan.gradient_accumulation_steps,
            "max_length": train.max_length,
        },
        path=result.fast_path,
        steps=result.steps - _WARM,
        predicted={"peak_gib": expected, "tokens_per_second": plan.tokens_per_second},
        measured={"peak_gib": peak, "tokens_per_second": speed, "step_seconds": per_step / speed},
        peak_error=None if expected is None or not on_gpu else expected / peak - 1,
        proof=result.proof,
        shape={},
        work={},
    )


def _ignore(_event: Any) -> None:
    """Take an event that nobody asked for."""
