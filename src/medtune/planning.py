"""Decides how a run will be done on this machine, and says beforehand whether it fits; loads no weights."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medtune.errors import OutOfMemoryError
from medtune.hardware import Machine, compute_dtype, describe_machine
from medtune.memory import Shape, estimate_memory
from medtune.plugins.contracts import Bundle
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec

__all__ = ["DataSize", "Plan", "make_plan", "require_backends", "total_steps"]

_CPU_PARAMETERS = 1_000_000_000
"""A base larger than this is refused on a CPU: one epoch would take months."""
_USABLE = 0.94
"""Share of a device's memory that a plan may fill; the rest is fragmentation and what others hold."""
_SMALLER = "a smaller base model (--set model.path=FOLDER), or `medtune demo` to see the whole story on a CPU"


@dataclass(frozen=True, slots=True)
class DataSize:
    """Packed rows and tokens of the training set.

    Attributes:
        rows: packed rows of one epoch.
        tokens: their tokens.
        measured: false for a figure that a bundle states.
        facts: further counts, as ``Plan.data``.
    """

    rows: int
    tokens: int
    measured: bool
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will use and need.

    Attributes:
        backends: quantizer, adapter, trainer, generator and formatter by name.
        memory_gib: estimated GiB by part on the device that trains; empty when the model's dimensions are unknown.
        fits: whether the run can be done on this machine.
        advice: one sentence on what to do, empty when nothing needs doing.
        steps: updates, None when the data set's size is unknown before it is read.
        tokens: training tokens over all steps, None likewise.
        licences: terms of the model and data set.
        device: name of the device that trains.
        compute_dtype: type of the matrix products.
        recompute: "none" or "all".
        parameters: parameters of the base, None when unknown.
        trainable_parameters: parameters of the adapter, None when unknown.
        size_is_measured: whether ``steps`` and ``tokens`` were counted on the rows themselves.
        data: counts of the rows, per source and in all: what ``max_length`` loses, what 95, 99 and 100 % need, malformed
            rows, overlap with validation rows, and under ``refused`` why they could not be trained on; empty when the
            rows were not counted.
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

    @property
    def peak_gib(self) -> float | None:
        """Estimated peak in GiB, None when the model's dimensions are unknown."""
        return sum(self.memory_gib.values()) if self.memory_gib else None

    def require_fit(self) -> None:
        """Raise OutOfMemoryError with the advice when the run cannot be done here."""
        if not self.fits:
            raise OutOfMemoryError(self.advice)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values; ``memory_gib`` is ``{"peak", "parts"}``."""
        values = asdict(self)
        parts = {name: round(gib, 4) for name, gib in self.memory_gib.items()}
        peak = self.peak_gib
        values["memory_gib"] = {"peak": None if peak is None else round(peak, 4), "parts": parts}
        values["licences"] = list(self.licences)
        return values


def make_plan(spec: RunSpec, host: PluginHost, size: DataSize | None = None, machine: Machine | None = None) -> Plan:
    """Decide how ``spec`` runs on ``machine`` (this one by default).

    Args:
        spec: the run.
        host: looks up the backends; a missing one is an error here, before anything is loaded.
        size: rows and tokens when they were counted; a bundle's statement is used otherwise.
        machine: the machine to plan for.

    Raises:
        UnknownNameError: a backend of the spec is not registered.
    """
    machine = machine or describe_machine()
    bundles: list[Bundle] = host.all("bundle")
    shape = Shape.of(model_config(spec, bundles))
    dtype = compute_dtype(spec.quant.compute_dtype, machine.accelerator)
    recompute, parts = _choose_recompute(spec, shape, dtype, machine)
    fits, advice = _judge(shape, parts, machine)
    if fits and spec.quant.scheme == "fp8":
        fits, advice = _judge_fp8(machine, advice)
    size = size or _stated_size(spec, bundles)
    steps = None if size is None else total_steps(spec, size.rows)
    return Plan(
        backends=require_backends(spec, host),
        memory_gib=parts,
        fits=fits,
        advice=advice,
        steps=steps,
        tokens=_tokens(spec, size, steps),
        licences=_licences(spec, bundles),
        device=machine.accelerator.name if machine.accelerator else "CPU",
        compute_dtype=dtype,
        recompute=recompute,
        parameters=shape.parameters if shape else None,
        trainable_parameters=shape.adapter_parameters(spec) if shape else None,
        size_is_measured=size is not None and size.measured,
        data=size.facts if size else {},
    )


def total_steps(spec: RunSpec, rows: int, world_size: int = 1) -> int:
    """Return the updates of a run over ``rows`` packed rows; the last, partial window of an epoch counts."""
    if spec.train.max_steps is not None:
        return spec.train.max_steps
    batches = math.ceil(rows / (spec.train.per_device_batch_size * world_size))
    per_epoch = math.ceil(batches / spec.train.gradient_accumulation_steps)
    return max(1, math.ceil((spec.train.num_train_epochs or 1.0) * per_epoch))


def model_config(spec: RunSpec, bundles: list[Bundle]) -> Mapping[str, Any]:
    """Return the model's config.json from its folder, the local cache, or what a bundle states; never downloads."""
    if spec.model.path:
        file = Path(spec.model.path) / "config.json"
        return _read_json(file) if file.is_file() else {}
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(spec.model.name, "config.json", revision=spec.model.revision or "main")
    if isinstance(cached, str):
        return _read_json(Path(cached))
    stated = [b.model_config for b in bundles if b.spec.model.name == spec.model.name]
    return stated[0] if stated else {}


def _read_json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return values


def _choose_recompute(spec: RunSpec, shape: Shape | None, dtype: str, machine: Machine) -> tuple[str, dict[str, float]]:
    """Recompute nothing where it fits, else everything."""
    wanted = spec.train.recompute
    if shape is None:
        return ("all" if wanted == "auto" and machine.accelerator else wanted.replace("auto", "none")), {}
    policies = ("none", "all") if wanted == "auto" else (wanted,)
    parts: dict[str, float] = {}
    for policy in policies:
        parts = estimate_memory(shape, spec, dtype, recompute=policy)
        if sum(parts.values()) <= _available_gib(machine):
            return policy, parts
    return policies[-1], parts


def _judge(shape: Shape | None, parts: Mapping[str, float], machine: Machine) -> tuple[bool, str]:
    if shape is None:
        return True, "the model's dimensions are unknown before its config.json is local, so memory was not estimated"
    needed, available = sum(parts.values()), _available_gib(machine)
    billions = shape.parameters / 1e9
    if machine.accelerator is None and shape.parameters > _CPU_PARAMETERS:
        return False, (
            f"this machine has no CUDA GPU, and training a base of {billions:.1f} billion parameters needs one with about "
            f"{needed:.0f} GiB; run it on such a machine, or use {_SMALLER}"
        )
    if needed > available:
        place = machine.accelerator.name if machine.accelerator else "this machine"
        return False, (
            f"the run needs about {needed:.1f} GiB and {place} has {available:.1f} GiB usable; lower "
            f"train.per_device_batch_size or train.max_length, set quant.scheme=nf4 and train.recompute=all, or use {_SMALLER}"
        )
    return True, ""


def _judge_fp8(machine: Machine, advice: str) -> tuple[bool, str]:
    """Say whether this machine multiplies in fp8; on a CPU the layers are restored for every use."""
    if machine.accelerator is None:
        return True, "fp8 is emulated on a CPU, which is slow and meant for tests; use quant.scheme=none there"
    return (True, advice) if machine.accelerator.has_fp8 else (False, machine.accelerator.without_fp8)


def _available_gib(machine: Machine) -> float:
    return _USABLE * (machine.accelerator.memory_gib if machine.accelerator else machine.memory_gib)


def _stated_size(spec: RunSpec, bundles: list[Bundle]) -> DataSize | None:
    """Return what a bundle says of this data set under this model, when the spec takes all of it."""
    data = spec.data
    whole = not (data.limit or data.include_sources or data.exclude_sources or data.mix or data.weight != 1)
    for bundle in bundles:
        same = bundle.spec.data.source == spec.data.source and bundle.spec.model.name == spec.model.name
        if same and whole and bundle.train_tokens:
            return DataSize(math.ceil(bundle.train_tokens / spec.train.max_length), bundle.train_tokens, measured=False)
    return None


def _tokens(spec: RunSpec, size: DataSize | None, steps: int | None) -> int | None:
    if size is None or steps is None or size.rows == 0:
        return None
    rows_per_step = spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps
    return round(
        size.tokens / size.rows * min(rows_per_step * steps, size.rows * math.ceil(_epochs(spec, size, steps)))
    )


def _epochs(spec: RunSpec, size: DataSize, steps: int) -> float:
    if spec.train.max_steps is None:
        return spec.train.num_train_epochs or 1.0
    return steps * spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps / size.rows


def require_backends(spec: RunSpec, host: PluginHost) -> dict[str, str]:
    """Return kind -> name of the backends in use; raise UnknownNameError for one that is not registered."""
    chosen = {
        "quantizer": spec.quant.quantizer,
        "adapter": spec.lora.backend,
        "trainer": spec.train.backend,
        "generator": spec.eval.backend,
    }
    if spec.data.formatter != "auto":
        chosen["formatter"] = spec.data.formatter
    for kind, name in chosen.items():
        host.find(kind, name)
    return {"formatter": "auto", **chosen}


def _licences(spec: RunSpec, bundles: list[Bundle]) -> tuple[str, ...]:
    terms = {name: text for bundle in bundles for name, text in bundle.licences.items()}
    used = (spec.model.name, spec.data.source, *(member.source for member in spec.data.mix))
    return tuple(f"{name}: {terms[name]}" for name in dict.fromkeys(used) if name in terms)
