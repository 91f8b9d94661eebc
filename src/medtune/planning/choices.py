"""Chooses how a run uses a machine: path, micro-batch, recomputing and storage, by memory and speed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast, get_args

from medtune.accel.model.eligibility import run_refusal
from medtune.machine.gpus import Gpu, gpu_of, known_gpus
from medtune.machine.hardware import Machine, compute_dtype
from medtune.planning.memory import Memory, Path, Recompute, Setting, Shape, estimate_memory
from medtune.planning.memory.setting import SUPERVISED
from medtune.planning.micro_batches import divisors
from medtune.planning.speed import Speed, estimate_speed
from medtune.specs import QuantSpec, RunSpec, TrainSpec

__all__ = ["Choice", "Choices", "available_gib"]

_USABLE = 0.94
"""Share of a device's memory that a plan may fill; the rest is fragmentation and what others hold."""
_ENOUGH = 0.97
"""Share of the best speed at which less memory is preferred."""
_BIG_WORKSPACE = (9, 0)
_SHORTEST = 64

Change = Callable[[RunSpec], RunSpec | None]
"""Returns a spec that needs less, None where it has nothing to change."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a run would be done.

    Attributes:
        setting: the decisions.
        memory: what they need.
        accumulation: micro-batches per update.
        speed: estimate, None where the machine's speed is unknown.
        fits: whether the machine has the memory.
    """

    setting: Setting
    memory: Memory
    accumulation: int
    speed: Speed | None
    fits: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """What can be chosen for a model on a machine.

    Args:
        shape: of the base.
        machine: where it runs.
        supervised: share of tokens that carry loss.
        common: share of tokens that samples have in common with earlier ones, by rows of a micro-batch; none where unknown.
        sample_tokens: length of the sample that a token lies in, on average over tokens; 0 where unknown.
        may_split: whether micro-batches may differ from what the spec says: not with several processes.
        fp8_backend: quantizer that stores in fp8, None without one.
        bits: of a parameter in the spec's scheme, where that is not one of medtune's.
        processes: over which the base is sharded where the spec says so.
    """

    shape: Shape
    machine: Machine
    supervised: float = SUPERVISED
    common: Mapping[int, float] = field(default_factory=dict[int, float])
    sample_tokens: float = 0.0
    may_split: bool = True
    fp8_backend: str | None = None
    bits: float | None = None
    processes: int = 1

    def best(self, spec: RunSpec) -> Choice:
        """Return the fastest choice that fits, among nearly equal ones the smallest; if none fits, the smallest of all.

        Where that leaves memory for it and nothing is computed again, a 4-bit base stays dequantized besides.
        """
        choice = self._best(spec, keeps_dequantized=spec.train.dequantized_weights == "keep")
        if spec.train.dequantized_weights != "auto" or not (choice.fits and self._may_stay_dequantized(choice)):
            return choice
        setting = replace(choice.setting, keeps_dequantized=True)
        keeping = self._weighed(setting, choice.accumulation)
        return keeping if keeping.fits else choice

    def _best(self, spec: RunSpec, *, keeps_dequantized: bool) -> Choice:
        choices = [
            self._choice(spec, rows, policy, keeps_dequantized=keeps_dequantized)
            for rows in self._rows(spec)
            for policy in self._policies(spec)
        ]
        fitting = [choice for choice in choices if choice.fits]
        if not fitting:
            return min(choices, key=lambda choice: choice.memory.peak)
        speeds = {id(choice): self._rank(choice) for choice in fitting}
        enough = _ENOUGH * max(speeds.values())
        return min((c for c in fitting if speeds[id(c)] >= enough), key=lambda choice: choice.memory.peak)

    def scheme(self, spec: RunSpec) -> tuple[QuantSpec, str]:
        """Return the storage that "auto" stands for here, and why, as the end of a sentence."""
        accelerator = self.machine.accelerator

        def storing(scheme: str, backend: str) -> RunSpec:
            return spec.model_copy_with(quant=spec.quant.model_copy_with(scheme=scheme, backend=backend))

        plain = storing("none", spec.quant.backend)
        if spec.train.parallel == "fsdp":
            halves = self.fp8_backend is not None and not self.best(plain).fits
            stored = storing("fp8", str(self.fp8_backend)) if halves else plain
            why = "16-bit weights would not fit" if halves else "sharded weights are whole for a moment only"
            return stored.quant, why
        four_bit = storing("nf4", spec.quant.backend)
        if accelerator is None:
            fits = self.best(plain).fits
            why = "a CPU is fastest on plain weights" if fits else "plain weights do not fit into this machine's memory"
            return (plain if fits else four_bit).quant, why
        gpu = gpu_of(accelerator)
        if self.fp8_backend and gpu is not None and gpu.has_fp8:
            eighth = storing("fp8", self.fp8_backend)
            if self._fits_whole(eighth):
                return eighth.quant, "fp8 products are the fastest here, and nothing needs recomputing"
        if self._fits_whole(plain):
            return plain.quant, "16-bit weights need no dequantizing, and they fit without recomputing"
        return four_bit.quant, "16-bit weights would not fit without recomputing"

    def nearest(self, spec: RunSpec) -> tuple[RunSpec, list[str]] | None:
        """Return the nearest spec that fits and what it changes as ``key=value``; None when none is near.

        Changes are tried in the order of what they cost, each on top of the last; then those that are not needed are
        taken back.
        """
        steps: list[Change] = [
            _eval_auto,
            _dequantized_by_memory,
            _recompute_all,
            _micro_batch_auto,
            _row_by_row,
            _four_bits,
            *[_halve_length] * 8,
            *[_halve_rank] * 4,
        ]
        taken: list[Change] = []
        for step in steps:
            if _apply(spec, [*taken, step]) == _apply(spec, taken):
                continue
            taken.append(step)
            if self.best(_apply(spec, taken)).fits:
                break
        else:
            return None
        for step in list(taken):
            fewer = list(taken)
            fewer.remove(step)
            if self.best(_apply(spec, fewer)).fits:
                taken = fewer
        found = _apply(spec, taken)
        return found, _differences(spec, found)

    def _fits_whole(self, spec: RunSpec) -> bool:
        choice = self.best(spec)
        return choice.fits and choice.setting.recompute == "none"

    def _rank(self, choice: Choice) -> float:
        """Return tokens per second; on an unknown machine those of a common GPU, which orders choices alike."""
        speed = choice.speed or estimate_speed(self.shape, choice.setting, known_gpus()["a100-80"])
        return speed.tokens_per_second if speed else 0.0

    def _may_stay_dequantized(self, choice: Choice) -> bool:
        """Whether weights are dequantized at all, and what recomputing saves is not spent on them."""
        setting = choice.setting
        is_dequantized = setting.path == "fast" and setting.spec.quant.scheme in ("nf4", "fp4")
        return is_dequantized and setting.recompute == "none"

    def _choice(self, spec: RunSpec, rows: int, policy: Recompute, *, keeps_dequantized: bool) -> Choice:
        accelerator = self.machine.accelerator
        dtype = compute_dtype(spec.quant.compute_dtype, accelerator)
        effective = spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps
        setting = Setting(
            spec=spec,
            dtype=dtype,
            recompute=policy,
            path=_path(self.shape, spec, dtype),
            rows=rows,
            eval_batch=_prompts(spec),
            supervised=self.supervised,
            common=self.common.get(rows, 0.0) if spec.train.share_prefixes else 0.0,
            sample_tokens=self.sample_tokens,
            on_gpu=accelerator is not None,
            big_workspace=accelerator is not None and accelerator.capability >= _BIG_WORKSPACE,
            keeps_dequantized=keeps_dequantized,
            bits=self.bits,
            shards=self.processes if spec.train.parallel == "fsdp" else 1,
        )
        return self._weighed(setting, effective // rows)

    def _weighed(self, setting: Setting, accumulation: int) -> Choice:
        """Return a setting with what it needs and how fast it is."""
        memory = estimate_memory(self.shape, setting)
        gpu: Gpu | None = gpu_of(self.machine.accelerator)
        speed = estimate_speed(self.shape, setting, gpu)
        return Choice(setting, memory, accumulation, speed, memory.peak <= available_gib(self.machine))

    def _rows(self, spec: RunSpec) -> list[int]:
        """Return the rows that a micro-batch may have, so that whole micro-batches make up an update."""
        train = spec.train
        if self.machine.accelerator is None or not self.may_split or train.micro_batch == "as_written":
            return [train.per_device_batch_size]
        effective = train.per_device_batch_size * train.gradient_accumulation_steps
        return divisors(effective, train.max_length)

    def _policies(self, spec: RunSpec) -> list[Recompute]:
        if spec.train.recompute != "auto":
            return [spec.train.recompute]
        known = get_args(TrainSpec.model_fields["recompute"].annotation)
        dtype = compute_dtype(spec.quant.compute_dtype, self.machine.accelerator)
        is_fast = _path(self.shape, spec, dtype) == "fast"
        return [policy for policy in known if policy != "auto" and (is_fast or policy in ("none", "all"))]


def available_gib(machine: Machine) -> float:
    """Return the GiB of the device that trains which a plan may fill."""
    return _USABLE * (machine.accelerator.memory_gib if machine.accelerator else machine.memory_gib)


def _path(shape: Shape, spec: RunSpec, dtype: str) -> Path:
    """Return how layers are computed, by what the fast path asks of a model."""
    return "fast" if run_refusal(shape.traits, spec, dtype) is None else "plain"


def _prompts(spec: RunSpec) -> int:
    """Return the prompts that are generated together at the least: "auto" makes do with what memory is left."""
    if not spec.eval.enabled:
        return 0
    return 1 if spec.eval.batch_size == "auto" else spec.eval.batch_size


def _train(spec: RunSpec, **changes: Any) -> RunSpec:
    return spec.model_copy_with(train=spec.train.model_copy_with(**changes))


def _eval_auto(spec: RunSpec) -> RunSpec | None:
    if not spec.eval.enabled or spec.eval.batch_size == "auto":
        return None
    return spec.model_copy_with(eval=spec.eval.model_copy_with(batch_size="auto"))


def _dequantized_by_memory(spec: RunSpec) -> RunSpec | None:
    return _train(spec, dequantized_weights="auto") if spec.train.dequantized_weights == "keep" else None


def _recompute_all(spec: RunSpec) -> RunSpec | None:
    return None if spec.train.recompute in ("auto", "all") else _train(spec, recompute="all")


def _micro_batch_auto(spec: RunSpec) -> RunSpec | None:
    return None if spec.train.micro_batch == "auto" else _train(spec, micro_batch="auto")


def _row_by_row(spec: RunSpec) -> RunSpec | None:
    """Take one row at a time, for as many more times: what a GPU chooses by itself and a CPU does not."""
    rows, times = spec.train.per_device_batch_size, spec.train.gradient_accumulation_steps
    return None if rows == 1 else _train(spec, per_device_batch_size=1, gradient_accumulation_steps=rows * times)


def _four_bits(spec: RunSpec) -> RunSpec | None:
    if spec.quant.scheme in ("nf4", "fp4") or spec.train.parallel == "fsdp":
        return None
    return spec.model_copy_with(quant=spec.quant.model_copy_with(scheme="nf4", backend="bitsandbytes", options={}))


def _halve_length(spec: RunSpec) -> RunSpec | None:
    length = spec.train.max_length // 2
    return None if length < _SHORTEST else _train(spec, max_length=length)


def _halve_rank(spec: RunSpec) -> RunSpec | None:
    rank = spec.lora.r // 2
    return None if rank < 1 else spec.model_copy_with(lora=spec.lora.model_copy_with(r=rank))


def _apply(spec: RunSpec, changes: list[Change]) -> RunSpec:
    for change in changes:
        spec = change(spec) or spec
    return spec


def _differences(old: RunSpec, new: RunSpec) -> list[str]:
    return list(_changed(old.model_dump(mode="json"), new.model_dump(mode="json"), ""))


def _changed(old: dict[str, Any], new: dict[str, Any], above: str) -> Iterator[str]:
    for key, value in new.items():
        if isinstance(value, dict):
            yield from _changed(old[key], cast("dict[str, Any]", value), f"{above}{key}.")
        elif value != old[key]:
            yield f"{above}{key}={value}"
