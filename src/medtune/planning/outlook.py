"""What a run asks of the network, the disk and the clock beside its training; read off the cache, asking for nothing."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medtune.accel.model.eligibility import run_refusal
from medtune.accel.model.tolerances import WAYS, allowed_for, precision_of
from medtune.data.hub.download import missing_bytes
from medtune.data.hub.models import bytes_to_fetch
from medtune.data.hub.repository import Listing, Repository
from medtune.data.sources.paths import is_local
from medtune.machine.disk_room import bytes_to_keep, nearest_folder
from medtune.machine.gpus import gpu_of
from medtune.machine.hardware import Machine, compute_dtype
from medtune.machine.probes import product_speed
from medtune.planning.memory import Shape
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import DataSize, Plan
from medtune.plugins.plan_in_words import size_in_words
from medtune.specs import RunSpec

__all__ = ["outlook", "with_room"]

_ANSWER_TOKENS = 128
"""Of an answer on average: one line a token for a sentence whose entities are tagged, a word for a label."""
_TOGETHER = 256
_STEP_SHARE = {"fast": 0.18, "plain": 0.033}
"""Share of a GPU's bandwidth at which decoding reads 16-bit weights, 256 answers at a time. Measured on an H200 with a 7B
base: at least 15,000 tokens/s on the fast path, 2,810 by transformers."""
_CPU_STEP_SHARE = {"fast": 0.12, "plain": 0.04}
"""Share of the speed of a CPU's fp32 products that answering reaches, prompts and drafts included."""
_PROMPT_TOKENS, _PROMPT_COST = 200, 0.25
"""Tokens of a prompt, of the median of MedTuned's rows and the demo's, and what one takes beside a token that is decoded."""
_ID_BYTES = 3
"""On disk for each prepared token: its id and whether it is supervised."""


def outlook(
    spec: RunSpec, host: PluginHost, shape: Shape | None, path: str, size: DataSize | None, machine: Machine
) -> dict[str, Any]:
    """Return the fields of a plan on download, disk, scoring and proof, and why the fast path does not apply.

    Args:
        spec: the run, its scheme decided.
        host: finds the trainer, which may prove its loss.
        shape: of the base, None where it is unknown.
        path: "fast" or "plain", as decided.
        size: of the rows, None where it is unknown.
        machine: that it is planned for.
    """
    download = _download(spec, shape)
    fetched = sum(count for count in download.values() if count)
    prepared = size.tokens * _ID_BYTES if size is not None else 0
    saved = 0 if shape is None else _saved_bytes(spec, shape.adapter_parameters(spec))
    dtype = compute_dtype(spec.quant.compute_dtype, machine.accelerator)
    return {
        "download_bytes": download,
        "disk_bytes": fetched + prepared + saved,
        "scoring_seconds": _scoring_seconds(spec, shape, path, size, machine),
        "path_reason": (run_refusal(shape.traits, spec, dtype) or "") if shape is not None and path == "plain" else "",
        "proof": _proof(spec, dtype, machine, first=1 if shape is not None and path == "plain" else 0)
        if hasattr(host.find("trainer", spec.train.backend), "prove")
        else {},
    }


def _saved_bytes(spec: RunSpec, trainable: int) -> int:
    """Return what checkpoints and adapter of so many parameters take; 0 where these are unknown."""
    kept = spec.train.save_total_limit + (spec.eval.keep_best is not None)
    return bytes_to_keep(trainable, kept, resuming=False) if trainable else 0


def with_room(plan: Plan, spec: RunSpec) -> Plan:
    """Return a plan that does not fit where a disk here has less room than the run is known to take; training asks again."""
    from huggingface_hub.constants import HF_HUB_CACHE

    fetched = sum(count for count in plan.download_bytes.values() if count)
    for place, needed, what in (
        (Path(spec.output_dir), _saved_bytes(spec, plan.trainable_parameters or 0), "checkpoints and adapter"),
        (Path(HF_HUB_CACHE), fetched, "what is to be fetched"),
    ):
        free = shutil.disk_usage(nearest_folder(place)).free
        if plan.fits and needed > free:
            told = f"{what} take {size_in_words(needed)}, and '{place}' has {size_in_words(free)} free"
            return replace(plan, fits=False, advice=f"{told}; make room, or choose another place (output_dir, HF_HOME)")
    return plan


def _proof(spec: RunSpec, dtype: str, machine: Machine, *, first: int) -> dict[str, Any]:
    """Return what is tried before training, from the first way that may apply, and the bounds that it is held to."""
    precision = precision_of(spec.train.precision, dtype, on_cpu=machine.accelerator is None)
    return {"ways": list(WAYS[first:]), "bounds": asdict(allowed_for(dtype, precision, spec.quant.scheme))}


def _download(spec: RunSpec, shape: Shape | None) -> dict[str, int | None]:
    """Return the bytes to fetch by "model" and "data": 0 for what is here, None for what only the hub can say."""
    model = bytes_to_fetch(spec.model)
    if model is None and shape is not None:
        model = 2 * shape.parameters  # as most bases are stored
    data: int | None = 0
    for member in (spec.data, *spec.data.mix):
        if not is_local(member.source):
            listing = Listing.kept(Repository("dataset", member.source, member.revision))
            own = missing_bytes(listing.repository, list(listing.files.values())) if listing else None
            data = None if own is None or data is None else data + own
    return {"model": model, "data": data}


def _scoring_seconds(
    spec: RunSpec, shape: Shape | None, path: str, size: DataSize | None, machine: Machine
) -> float | None:
    """Return an estimate for scoring base and tuned model; None where the sources or the device are unknown."""
    if shape is None or size is None or not size.sources or not spec.eval.enabled:
        return None
    rows = spec.eval.rows_per_source * size.sources
    most = spec.eval.max_new_tokens
    answer = _ANSWER_TOKENS if most == "auto" else min(_ANSWER_TOKENS, most)
    if machine.accelerator is None:
        speed = _CPU_STEP_SHARE[path] * product_speed(shape.hidden_size, shape.intermediate_size)
        return 2 * rows * (_PROMPT_TOKENS * _PROMPT_COST + answer) * 2 * shape.parameters / speed
    gpu = gpu_of(machine.accelerator)
    if gpu is None or not gpu.bandwidth_gbs:
        return None
    per_step = 2 * shape.parameters / (gpu.bandwidth_gbs * 1e9 * _STEP_SHARE[path])
    return 2 * per_step * answer * max(1.0, rows / _TOGETHER)
