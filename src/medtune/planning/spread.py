"""Spreads a planned run over several GPUs: what each process computes, holds and sends, and whether that pays."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from medtune.machine.gpus import gpu_of
from medtune.machine.hardware import Machine
from medtune.planning.choices import Choice, Choices, available_gib
from medtune.planning.cluster import Cluster, ring_seconds
from medtune.planning.memory import Setting, estimate_memory
from medtune.planning.memory.sharded import sharded
from medtune.planning.micro_batches import SEVERAL_MAY_SPLIT, divisors
from medtune.planning.speed import estimate_speed
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec
from medtune.specs.parallel import SHARDED_SCHEMES, sharding_refusal

__all__ = ["spread"]

_GRADIENT_BYTES = {"fp32": 4, "bf16": 2}
_WORTH_SAYING = 1.1
"""Times as fast that other micro-batches have to be."""
_MOST_ASKED = 64
"""Processes up to which is looked for a number that fits."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to spread a run: "ddp" or "fsdp", and what an update takes."""

    parallel: str
    choice: Choice
    fits: bool
    sent: float
    compute_seconds: float | None
    send_seconds: float | None

    @property
    def seconds(self) -> float | None:
        """Seconds of an update; gathering overlaps with computing, exchanging gradients does not."""
        if self.compute_seconds is None or self.send_seconds is None:
            return None
        return self.compute_seconds + self.send_seconds


def spread(plan: Plan, choices: Choices | None, spec: RunSpec, cluster: Cluster | None) -> Plan:
    """Return the plan of one process as it is on ``cluster``: memory of each process, time of all of them.

    Args:
        plan: for one process.
        choices: what it was chosen from; None where the base's dimensions are unknown.
        spec: the run, its scheme decided.
        cluster: where it runs; the plan stays as it is where that is one process.

    Raises:
        SpecError: the rows of an update cannot be divided.
    """
    if cluster is None or cluster.processes == 1:
        return plan
    rows = spec.train.share(cluster.processes).update_rows
    if choices is None:
        parallel = "fsdp" if spec.train.parallel == "fsdp" else "ddp"
        known = {"parallel": parallel, "rows_per_process": rows, "reason": "the base's dimensions are unknown"}
        return replace(plan, parallel=parallel, cluster={**_place(cluster), **known})
    way, reason = _pick(choices, spec, cluster)
    advice = _faster(choices, spec, cluster, way) if way.fits else _lacking(choices, spec, cluster, reason)
    whole = spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps * spec.train.max_length
    speed = whole / way.seconds if way.seconds else None
    alone = plan.tokens_per_second if plan.fits else None
    facts: dict[str, Any] = {
        "parallel": way.parallel,
        "reason": reason,
        "rows_per_process": rows,
        "memory_gib_per_process": round(way.choice.memory.peak, 4),
        "bytes_per_update": round(way.sent),
        "compute_seconds_per_update": way.compute_seconds,
        "communication_seconds_per_update": way.send_seconds,
        "link": link[1] if (link := cluster.bytes_per_second(gpu_of(choices.machine.accelerator))) else None,
        "share_of_linear": speed / alone / cluster.processes if speed and alone else None,
        "scaling": [*_scaling(plan, choices, spec, cluster)],
    }
    return replace(plan, **_followed(plan, way, advice, speed, cluster), cluster={**_place(cluster), **facts})


def _followed(plan: Plan, way: _Way, advice: str, speed: float | None, cluster: Cluster) -> dict[str, Any]:
    """Return the fields of a plan that another number of processes changes."""
    choice, told = way.choice, f"; over {cluster.processes} processes, each of them as alone but for what they send"
    return {
        "fits": way.fits and not plan.data.get("refused"),
        "advice": plan.advice if plan.data.get("refused") else advice,
        "memory_gib": choice.memory.parts,
        "phases_gib": {name: choice.memory.of(name) for name in choice.memory.phases},
        "allocated_gib": choice.memory.allocated("training"),
        "recompute": choice.setting.recompute,
        "parallel": way.parallel,
        "path": choice.setting.path,
        "dequantized_weights": "keep" if choice.setting.keeps_dequantized else "each_pass",
        "micro_batch_rows": choice.setting.rows,
        "gradient_accumulation_steps": choice.accumulation,
        "tokens_per_second": speed,
        "speed_basis": f"{choice.speed.basis}{told}" if choice.speed and speed else "",
        "seconds": plan.tokens / speed if plan.tokens is not None and speed else None,
    }


def _place(cluster: Cluster) -> dict[str, Any]:
    return {**asdict(cluster), "processes": cluster.processes}


def _pick(choices: Choices, spec: RunSpec, cluster: Cluster) -> tuple[_Way, str]:
    """Return the way that is taken, and why, as the end of a sentence."""
    choices = replace(choices, may_split=choices.may_split and (SEVERAL_MAY_SPLIT or cluster.processes == 1))
    wanted = spec.train.parallel
    whole = _whole(choices, spec, cluster)
    scheme = spec.quant.scheme
    if wanted == "ddp" or (wanted == "auto" and whole.fits):
        return whole, "the spec says so" if wanted == "ddp" else "the base fits each GPU"
    if scheme not in SHARDED_SCHEMES:
        return whole, f"a base stored as {scheme} cannot be sharded ({' and '.join(SHARDED_SCHEMES)} can)"
    if (refused := sharding_refusal(spec, scheme)) is not None:
        return whole, refused
    shared = _shared(choices, spec, cluster)
    return shared, "the spec says so" if wanted == "fsdp" else "the base does not fit one GPU"


def _whole(choices: Choices, spec: RunSpec, cluster: Cluster) -> _Way:
    """Return data parallel training: the whole base in each process, gradients of the adapter exchanged."""
    choice = choices.best(_of_one(spec, cluster))
    size = float(_GRADIENT_BYTES[spec.train.reduce_dtype] * choices.shape.adapter_parameters(spec))
    compute = _seconds(choice)
    return _Way(
        "ddp",
        choice,
        _fits(choice, choices.machine, cluster),
        _sent(size, cluster),
        compute,
        _ring(size, choices, cluster),
    )


def _shared(choices: Choices, spec: RunSpec, cluster: Cluster) -> _Way:
    """Return sharded training: each layer gathered before it computes, forward and backward, in every micro-batch."""
    share = _of_one(spec, cluster)
    rows, setting = spec.train.share(cluster.processes).update_rows, choices.best(share).setting
    splits = choices.may_split and setting.on_gpu and spec.train.micro_batch == "auto"
    tried = [
        _gathering(choices, replace(setting, rows=micro, recompute=policy), cluster, rows // micro)
        for micro in (divisors(rows, spec.train.max_length) if splits else [share.train.per_device_batch_size])
        for policy in ("none", "all")
        if policy == "all" or spec.train.recompute in ("auto", "none")
    ]
    fitting = [way for way in tried if way.fits]
    if not fitting:
        return min(tried, key=lambda way: way.choice.memory.peak)
    return min(fitting, key=lambda way: (way.seconds or 0.0, way.choice.memory.peak))


def _gathering(choices: Choices, setting: Setting, cluster: Cluster, times: int) -> _Way:
    """Return what a setting takes and needs where layers are gathered, in ``times`` micro-batches an update."""
    setting, shape, gpu = sharded(setting, cluster.processes), choices.shape, gpu_of(choices.machine.accelerator)
    memory = estimate_memory(shape, setting)
    choice = Choice(
        setting, memory, times, estimate_speed(shape, setting, gpu), fits=memory.peak <= available_gib(choices.machine)
    )
    width = 1 if setting.spec.quant.scheme == "fp8" else setting.width
    layers = 2.0 * shape.linear_parameters * width * times
    adapter = float(_GRADIENT_BYTES[setting.spec.train.reduce_dtype] * shape.adapter_parameters(setting.spec))
    compute, link = _seconds(choice), cluster.bytes_per_second(gpu)
    if compute is not None and link is not None:  # the next layer comes while one computes
        compute = max(compute, ring_seconds(cluster.processes, layers, link[0], reduces=False))
    sent = _sent(adapter, cluster) + layers * (cluster.processes - 1) / cluster.processes
    return _Way(
        "fsdp", choice, _fits(choice, choices.machine, cluster), sent, compute, _ring(adapter, choices, cluster)
    )


def _of_one(spec: RunSpec, cluster: Cluster) -> RunSpec:
    """Return the spec of what one process does of each update."""
    rows, micro = spec.train.share(cluster.processes).update_rows, spec.train.per_device_batch_size
    micro = micro if rows % micro == 0 else math.gcd(rows, micro)
    changes = {"per_device_batch_size": micro, "gradient_accumulation_steps": rows // micro}
    return spec.model_copy_with(train=spec.train.model_copy_with(**changes))


def _fits(choice: Choice, machine: Machine, cluster: Cluster) -> bool:
    """Whether a process has the memory; the processes of a machine without GPUs share what it has."""
    share = 1 if machine.accelerator else cluster.gpus
    return choice.memory.peak * share <= available_gib(machine)


def _seconds(choice: Choice) -> float | None:
    """Return what a process computes for an update."""
    if choice.speed is None:
        return None
    return choice.setting.tokens * choice.accumulation / choice.speed.tokens_per_second


def _sent(size: float, cluster: Cluster) -> float:
    return 2 * size * (cluster.processes - 1) / cluster.processes


def _ring(size: float, choices: Choices, cluster: Cluster) -> float | None:
    if cluster.processes == 1:
        return 0.0
    link = cluster.bytes_per_second(gpu_of(choices.machine.accelerator))
    return None if link is None else ring_seconds(cluster.processes, size, link[0])


def _lacking(choices: Choices, spec: RunSpec, cluster: Cluster, reason: str) -> str:
    """Say what each process lacks, and how many would do."""
    whole, place = _whole(choices, spec, cluster), choices.machine.accelerator
    has = available_gib(choices.machine) / (1 if place else cluster.gpus)
    where = place.name if place else "a process's share of this machine"
    told = f"each process needs about {whole.choice.memory.peak:.1f} GiB with a base of its own"
    if spec.quant.scheme not in SHARDED_SCHEMES or sharding_refusal(spec, spec.quant.scheme):
        return f"{told} and {where} has {has:.1f} GiB usable; {reason}; use a larger GPU, or --set quant.scheme=none over more of them"
    shared = _shared(choices, spec, cluster)
    told += f", {shared.choice.memory.peak:.1f} GiB with a share of one, and {where} has {has:.1f} GiB usable"
    more = next((n for n in _more(spec, cluster) if _shared(choices, spec, cluster.with_processes(n)).fits), None)
    return f"{told}; " + (
        f"{more} of them would do" if more else "use larger GPUs, --set quant.scheme=nf4, or a shorter train.max_length"
    )


def _faster(choices: Choices, spec: RunSpec, cluster: Cluster, way: _Way) -> str:
    """Say which micro-batch would be worth setting, empty where none is: several processes take rows as they are written."""
    if SEVERAL_MAY_SPLIT or spec.train.micro_batch == "as_written":
        return ""
    other = (_whole if way.parallel == "ddp" else _shared)(choices, spec, cluster)
    if not other.fits or not other.seconds or not way.seconds or way.seconds < _WORTH_SAYING * other.seconds:
        return ""
    rows = other.choice.setting.rows
    times = other.choice.accumulation * cluster.processes
    return (
        f"several processes take rows as they are written, {way.choice.setting.rows} at a time; the same update would be "
        f"{way.seconds / other.seconds:.1f} times as fast with --set train.per_device_batch_size={rows} "
        f"--set train.gradient_accumulation_steps={times}"
    )


def _more(spec: RunSpec, cluster: Cluster) -> Iterator[int]:
    rows = spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps
    yield from (
        n for n in range(cluster.processes + 1, _MOST_ASKED + 1) if rows % n == 0 and n % min(n, cluster.gpus) == 0
    )


def _scaling(plan: Plan, choices: Choices, spec: RunSpec, cluster: Cluster) -> Iterator[Mapping[str, Any]]:
    """Yield what 1, 2, 4, ... processes would come to, up to the cluster's own number."""
    rows = spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps
    powers = {2**power for power in range(cluster.processes.bit_length()) if 2**power <= cluster.processes}
    for count in sorted(powers | {cluster.processes}):
        if rows % count or count % min(count, cluster.gpus):
            continue
        way, _reason = _pick(choices, spec, cluster.with_processes(count))
        if way.seconds is None:
            continue
        speed = rows * spec.train.max_length / way.seconds
        hours = None if plan.tokens is None else plan.tokens / speed / 3600
        yield {
            "processes": count,
            "parallel": way.parallel,
            "fits": way.fits,
            "tokens_per_second": speed,
            "hours": hours,
            "gpu_hours": None if hours is None else hours * count,
        }
