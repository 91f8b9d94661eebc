"""Decides how a run will be done on this machine, and says beforehand whether it fits; loads no weights."""

import math
from collections.abc import Mapping
from typing import Any

from medtune.data.base.inspection import inspect_base
from medtune.data.canaries import planted_sentence
from medtune.data.template_family import told_with_template
from medtune.errors.locked_mode import is_locked
from medtune.machine.gpus import machine_with
from medtune.machine.hardware import Machine, compute_dtype, describe_machine, world_size
from medtune.planning.base_config import local_config, model_config
from medtune.planning.choices import Choice, Choices, available_gib
from medtune.planning.cluster import Cluster
from medtune.planning.figures import measured_speed
from medtune.planning.memory import Shape
from medtune.planning.memory.setting import SUPERVISED
from medtune.planning.micro_batches import SEVERAL_MAY_SPLIT
from medtune.planning.minutes import with_minutes
from medtune.planning.outlook import outlook
from medtune.planning.parallel import with_parallel
from medtune.planning.preflight import precision_notes, require_sound, unusual
from medtune.planning.required import bits_of, require_backends
from medtune.planning.speed import cpu_speed
from medtune.planning.spread import spread
from medtune.planning.terms import licences_of
from medtune.plugins.contracts import Bundle
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import DataSize, Plan
from medtune.plugins.provenance import plugins_in_use
from medtune.specs import RunSpec
from medtune.specs.model import QUANT_SCHEMES

__all__ = ["make_plan", "planned_machine", "total_steps"]

_CPU_PARAMETERS = 1_000_000_000
"""A base larger than this is refused on a CPU: one epoch would take months."""
_SMALLER = "a smaller base model (--set model.path=FOLDER), or `medtune demo` to see the whole story on a CPU"


def make_plan(
    spec: RunSpec,
    host: PluginHost,
    size: DataSize | None = None,
    machine: Machine | None = None,
    kept: Mapping[str, Any] | None = None,
    cluster: Cluster | None = None,
) -> Plan:
    """Decide how ``spec`` runs on ``machine`` (this one by default).

    Args:
        spec: the run.
        host: looks up the backends; a missing one is an error here, before anything is loaded.
        size: rows and tokens when they were counted; a bundle's statement is used otherwise.
        machine: the machine to plan for.
        kept: the plan of a run that is continued, as JSON values: its storage stays, and its micro-batch where it fits.
        cluster: several GPUs of the machine's kind that it is spread over, each process with its share of every update.

    Raises:
        UnknownNameError: a backend of the spec is not registered.
        SpecError, BaseDamagedError: base, adapter or cluster cannot be used for this run, or the base's files are damaged.
    """
    planned, kept, inspected = machine or describe_machine(), kept or {}, inspect_base(spec)
    bundles: list[Bundle] = host.all("bundle")
    shape, size = Shape.of(_sound_config(spec, host, bundles)), size or _stated_size(spec, bundles)
    choices = None if shape is None else _choices(shape, planned, host, size, spec)
    spec, reason = _with_scheme(spec if cluster else with_parallel(spec, choices), choices, kept)
    choice = None if choices is None else _choose(choices, spec, kept)
    decided = {**_decided(choice, spec, planned), **_sized(spec, size, choice, shape, planned)}
    ahead = outlook(spec, host, shape, decided.get("path", "plain"), size, planned)
    made = Plan(
        **_made_by(spec, host, planned),
        **_judged(size, choices, choice, spec) | {"scheme_reason": reason},
        base=told_with_template(inspected.to_json(), inspected.tokenizer),
        **_stated(spec, shape, planned, bundles),
        **decided,
        **ahead,
    )
    return with_minutes(spread(made, choices, spec, cluster), spec, size, is_here=machine is None)


def _made_by(spec: RunSpec, host: PluginHost, machine: Machine) -> dict[str, Any]:
    """Return the fields of a plan that say by what it is done."""
    backends = require_backends(spec, host, "cuda" if machine.accelerator else "cpu")
    return {"backends": backends, "plugins": plugins_in_use(host, backends), "locked": is_locked()}


def _stated(spec: RunSpec, shape: Shape | None, machine: Machine, bundles: list[Bundle]) -> dict[str, Any]:
    """Return the fields of a plan that model and machine say."""
    return {
        "licences": licences_of(spec, bundles),
        "canaries": planted_sentence(spec.data.canaries),
        "scheme": spec.quant.scheme,
        "parallel": spec.train.parallel,
        "device": machine.accelerator.name if machine.accelerator else "CPU",
        "compute_dtype": compute_dtype(spec.quant.compute_dtype, machine.accelerator),
        "notes": (*unusual(spec), *precision_notes(spec, machine)),
        "parameters": shape.parameters if shape else None,
        "trainable_parameters": shape.adapter_parameters(spec) if shape else None,
    }


def _choices(shape: Shape, machine: Machine, host: PluginHost, size: DataSize | None, spec: RunSpec) -> Choices | None:
    """Return what can be chosen; None where nobody says what a parameter takes in the spec's scheme."""
    bits = bits_of(spec, host)
    if bits is None and spec.quant.scheme not in (*QUANT_SCHEMES, "auto"):
        return None
    supervised, common, sample_tokens = SUPERVISED, dict[int, float](), 0.0
    if size is not None and size.measured and size.tokens:
        supervised = size.facts.get("supervised_tokens", SUPERVISED * size.tokens) / size.tokens
        common = {int(rows): share for rows, share in size.facts.get("common_prefixes", {}).items()}
        sample_tokens = size.facts.get("sample_tokens", 0.0)
    stores_fp8 = (name for name, (q, _owner) in host.provided("quantizer").items() if _has_fp8(name, q))
    return Choices(
        shape,
        machine,
        supervised=min(supervised, 1.0),
        common=common,
        sample_tokens=sample_tokens,
        may_split=SEVERAL_MAY_SPLIT or world_size() == 1,
        processes=world_size(),
        fp8_backend=next(stores_fp8, None),
        bits=bits,
    )


def _has_fp8(name: str, quantizer: Any) -> bool:
    """Whether a quantizer stores in fp8: its ``schemes`` say so, or its name where it has none."""
    return "fp8" in getattr(quantizer, "schemes", (name,))


def _with_scheme(spec: RunSpec, choices: Choices | None, kept: Mapping[str, Any]) -> tuple[RunSpec, str]:
    """Return the spec with its storage resolved, and why."""
    if spec.quant.scheme != "auto":
        return spec, ""
    if kept.get("scheme", "auto") != "auto":
        backend = kept.get("backends", {}).get("quantizer", spec.quant.backend)
        quant, why = spec.quant.model_copy_with(scheme=kept["scheme"], backend=backend), "the run began with it"
    elif choices is None:
        quant, why = spec.quant.model_copy_with(scheme="nf4"), "the model's dimensions are unknown, and it needs least"
    else:
        quant, why = choices.scheme(spec)
    return spec.model_copy_with(quant=quant), why


def _choose(choices: Choices, spec: RunSpec, kept: Mapping[str, Any]) -> Choice:
    rows = kept.get("micro_batch_rows")
    effective = spec.train.update_rows
    if rows and effective % rows == 0 and spec.train.micro_batch == "auto":
        changes = {"per_device_batch_size": rows, "gradient_accumulation_steps": effective // rows}
        train = spec.train.model_copy_with(**changes, micro_batch="as_written")
        choice = choices.best(spec.model_copy_with(train=train))
        if choice.fits:
            return choice
    return choices.best(spec)


def _decided(choice: Choice | None, spec: RunSpec, machine: Machine) -> dict[str, Any]:
    """Return the fields of a plan that come from a choice."""
    spec.train.share(world_size())  # what processes cannot divide is refused here, before anything is loaded
    if choice is None:
        wanted = spec.train.recompute
        return {
            "memory_gib": {},
            "recompute": ("all" if machine.accelerator else "none") if wanted == "auto" else wanted,
            "dequantized_weights": "keep" if spec.train.dequantized_weights == "keep" else "each_pass",
            "micro_batch_rows": spec.train.per_device_batch_size,
            "gradient_accumulation_steps": spec.train.gradient_accumulation_steps,
        }
    memory = choice.memory
    return {
        "memory_gib": memory.parts,
        "phases_gib": {name: memory.of(name) for name in memory.phases},
        "allocated_gib": memory.allocated("training"),
        "recompute": choice.setting.recompute,
        "path": choice.setting.path,
        "dequantized_weights": "keep" if choice.setting.keeps_dequantized else "each_pass",
        "micro_batch_rows": choice.setting.rows,
        "gradient_accumulation_steps": choice.accumulation,
    }


def _sized(
    spec: RunSpec, size: DataSize | None, choice: Choice | None, shape: Shape | None, machine: Machine
) -> dict[str, Any]:
    """Return the fields of a plan that say how much there is to train on, and how long that takes."""
    steps = None if size is None else total_steps(spec, size.rows)
    if steps is not None:
        spec.train.warm_up(steps)  # a warm-up without an end is refused here
    tokens = _tokens(spec, size, steps)
    found: dict[str, Any] = {"steps": steps, "tokens": tokens}
    if size is not None:
        found["steps_unpacked"] = _steps_unpacked(spec, size)
        found |= {"size_is_measured": size.measured, "data": size.facts}
    estimate = None if choice is None or shape is None else choice.speed or cpu_speed(shape, choice.setting)
    if estimate is not None and choice is not None and shape is not None and machine.accelerator is not None:
        estimate = measured_speed(shape, choice.setting, estimate, machine.accelerator)
    if estimate is not None:
        seconds = None if tokens is None else tokens / estimate.tokens_per_second
        found |= {"tokens_per_second": estimate.tokens_per_second, "speed_basis": estimate.basis, "seconds": seconds}
    return found


def _steps_unpacked(spec: RunSpec, size: DataSize) -> int | None:
    """Return the updates that as many passes would take with a sample to a row; None where packing changes nothing of them."""
    rows = size.facts.get("rows")
    return None if not spec.train.packing or spec.train.max_steps or not rows else total_steps(spec, rows)


def planned_machine(gpu: str | None) -> Machine | None:
    """Return a machine with that GPU, None for this one."""
    return None if gpu is None else machine_with(gpu)


def total_steps(spec: RunSpec, rows: int) -> int:
    """Return the updates of a run over ``rows`` packed rows, by any number of processes; the last, partial one of an epoch counts."""
    if spec.train.max_steps is not None:
        return spec.train.max_steps
    per_epoch = math.ceil(rows / spec.train.update_rows)
    return max(1, math.ceil((spec.train.num_train_epochs or 1.0) * per_epoch))


def _sound_config(spec: RunSpec, host: PluginHost, bundles: list[Bundle]) -> Mapping[str, Any]:
    """Return the base's config.json, once nothing that it says rules the run out."""
    config = model_config(spec, bundles)
    require_sound(spec, host, config)
    return config


def _judged(size: DataSize | None, choices: Choices | None, choice: Choice | None, spec: RunSpec) -> dict[str, Any]:
    """Return the fields of a plan that say whether the run can be done, and what to do."""
    fits, advice = (False, size.refused) if size and size.refused else _judge(choices, choice, spec)
    return {"fits": fits, "advice": advice}


def _judge(choices: Choices | None, choice: Choice | None, spec: RunSpec) -> tuple[bool, str]:
    if (choices is None or choice is None) and spec.quant.scheme not in QUANT_SCHEMES:
        return True, (
            f"quantizer '{spec.quant.quantizer}' does not say what a parameter takes in scheme '{spec.quant.scheme}' "
            "(bits_per_parameter), so memory was not estimated"
        )
    if choices is None or choice is None:
        why = (
            "before its config.json is local"
            if local_config(spec) is None
            else "to the estimate, which does not know its kind"
        )
        return True, f"the model's dimensions are unknown {why}, so memory was not estimated"
    machine, needed = choices.machine, choice.memory.peak
    billions = choices.shape.parameters / 1e9
    if machine.accelerator is None and choices.shape.parameters > _CPU_PARAMETERS:
        return False, (
            f"this machine has no CUDA GPU, and training a base of {billions:.1f} billion parameters needs one with about "
            f"{needed:.0f} GiB; run it on such a machine, or use {_SMALLER}"
        )
    if spec.quant.scheme == "fp8" and machine.accelerator is not None and not machine.accelerator.has_fp8:
        return False, machine.accelerator.without_fp8
    if spec.train.dequantized_weights == "keep" and choice.setting.path != "fast":
        return False, (
            "train.dequantized_weights=keep is for the fast path, which does not apply to this run; leave it at auto, or "
            "see docs/speed.md for where the fast path applies"
        )
    if choice.fits:
        emulated = spec.quant.scheme == "fp8" and machine.accelerator is None
        return True, "fp8 is emulated on a CPU, which is slow and meant for tests" if emulated else ""
    place = machine.accelerator.name if machine.accelerator else "this machine"
    lacks = f"the run needs about {needed:.1f} GiB and {place} has {available_gib(machine):.1f} GiB usable"
    nearest = choices.nearest(spec)
    if nearest is None:
        return False, f"{lacks}; no setting near it fits; use {_SMALLER}, or a larger GPU"
    found, changes = nearest
    sets = " ".join(f"--set {change}" for change in changes)
    return False, f"{lacks}; the nearest setting that fits is {sets} ({choices.best(found).memory.peak:.1f} GiB)"


def _stated_size(spec: RunSpec, bundles: list[Bundle]) -> DataSize | None:
    """Return what a bundle says of this data set under this model, when the spec takes all of it."""
    data = spec.data
    whole = not (data.limit or data.include_sources or data.exclude_sources or data.mix or data.weight != 1)
    for bundle in bundles:
        same = bundle.spec.data.source == spec.data.source and bundle.spec.model.name == spec.model.name
        if same and whole and bundle.train_tokens:
            rows = math.ceil(bundle.train_tokens / spec.train.max_length)
            return DataSize(rows, bundle.train_tokens, measured=False, sources=bundle.sources)
    return None


def _tokens(spec: RunSpec, size: DataSize | None, steps: int | None) -> int | None:
    if size is None or steps is None or size.rows == 0:
        return None
    rows = steps * spec.train.update_rows
    if spec.train.max_steps is None:  # windows at the end of an epoch are not full
        rows = min(rows, size.rows * math.ceil(spec.train.num_train_epochs or 1.0))
    return round(size.tokens / size.rows * rows)
