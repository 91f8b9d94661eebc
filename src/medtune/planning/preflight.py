"""Looks, before a base is loaded, for what a run would be refused for later, and for settings that hardly anybody means."""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtune.accel.model.eligibility import LINEARS
from medtune.data.base.inspection import QUICK_CHECKS, inspect_base
from medtune.data.base.model_checks import too_few_positions
from medtune.data.shipped_templates import chosen_template
from medtune.data.sources.paths import is_local, local_files
from medtune.data.validation_place import validation_place
from medtune.errors import BaseUnsuitedError, SpecError, StorageError
from medtune.machine.disk_room import nearest_folder
from medtune.machine.hardware import Machine, compute_dtype
from medtune.planning.base_config import model_config
from medtune.planning.required import require_backends
from medtune.plugins.host import PluginHost
from medtune.plugins.trackers import require_trackers
from medtune.specs import RunSpec

__all__ = ["pre_flight", "precision_notes", "require_sound", "unusual"]

_SO_NAMED = ("gemma", "gemma2", "llama", "mistral", "qwen2", "qwen3")
"""Families whose blocks have these linear layers and no others."""
_RATES = (1e-6, 1e-2)
"""Learning rates of adapters that anybody reports lie well within; the demo's tiny base takes 3e-3."""
_MOST_EPOCHS, _MOST_DROPOUT, _MOST_DECAY, _MOST_SCALE, _LEAST_BETA = 50, 0.5, 1.0, 64, 0.8


def pre_flight(spec: RunSpec, host: PluginHost, *, has_rows: bool = False) -> tuple[str, ...]:
    """Check what needs no machine learning library, and return what a user should know.

    Args:
        spec: the run.
        host: the plugins.
        has_rows: whether training rows are given, so that ``data.source`` is not read.

    Raises:
        UnknownNameError: a backend or the formatter is not registered.
        SpecError: adapter, optimizer, schedule or scores could not be had as asked.
        BaseUnsuitedError, BaseDamagedError: what is known of the base does not suit the run, or is damaged.
        DataError, StorageError: a local path leads to no rows, or a run folder could not be made.
    """
    require_backends(spec, host)
    require_trackers(spec.train.report_to, host)
    inspect_base(spec, checks=QUICK_CHECKS)
    if spec.model.chat_template is not None:
        chosen_template(spec.model.chat_template)
    require_sound(spec, host, model_config(spec, host.all("bundle")))
    _require_paths(spec, has_rows=has_rows)
    return (*unusual(spec),)


def require_sound(spec: RunSpec, host: PluginHost, config: Mapping[str, Any]) -> None:
    """Refuse what the base's config.json and the names of tasks rule out.

    Raises:
        SpecError: ``eval.keep_best`` names no figure.
        BaseUnsuitedError: rows are longer than the base's positions, or a target is none of its layers.
    """
    known = {"macro", "loss", *(task.name for task in host.all("task"))}
    named = spec.eval.keep_best
    if named is not None and named not in known:
        close = difflib.get_close_matches(named, known, n=1)
        nearest = f"did you mean '{close[0]}'? " if close else ""
        raise SpecError(f"eval.keep_best names no figure: '{named}'; {nearest}it is one of {', '.join(sorted(known))}")
    if spec.train.max_steps is not None:
        spec.train.warm_up(spec.train.max_steps)
    if fault := too_few_positions(config.get("max_position_embeddings"), spec.train.max_length):
        raise BaseUnsuitedError("positions", spec.model.label, fault.problem, fault.instead)
    targets = spec.lora.target_modules
    if spec.lora.backend == "peft" and targets != "all-linear" and config.get("model_type") in _SO_NAMED:
        wrong = [target for target in targets if target.rpartition(".")[2] not in LINEARS]
        if wrong or not targets:
            what = (
                f"does not have '{wrong[0]}', which lora.target_modules names"
                if wrong
                else "gets no adapter: lora.target_modules is empty"
            )
            raise BaseUnsuitedError("targets", spec.model.label, what, f"name some of its layers: {', '.join(LINEARS)}")


def unusual(spec: RunSpec) -> Iterator[str]:
    """Yield sentences on settings that hardly anybody means; nothing is refused for them."""
    train, lora = spec.train, spec.lora
    low, high = _RATES
    if not low <= train.learning_rate <= high:
        yield f"train.learning_rate {train.learning_rate:g} is unusual: adapters are trained with 1e-5 to 1e-3"
    if (train.num_train_epochs or 0) > _MOST_EPOCHS:
        yield f"train.num_train_epochs {train.num_train_epochs:g} is unusual: adapters are trained for 1 to 10 passes"
    if train.weight_decay > _MOST_DECAY:
        yield f"train.weight_decay {train.weight_decay:g} is unusual: 0 to 0.1 is common"
    if train.warmup_steps is None and train.warmup_ratio > _MOST_DROPOUT:
        yield f"train.warmup_ratio {train.warmup_ratio:g} is unusual: more than half of the run ramps up"
    if train.adam_beta2 < _LEAST_BETA:
        yield f"train.adam_beta2 {train.adam_beta2:g} is unusual: 0.95 to 0.999 is common"
    if lora.dropout > _MOST_DROPOUT:
        yield f"lora.dropout {lora.dropout:g} is unusual: 0 to 0.1 is common"
    if lora.alpha / lora.r > _MOST_SCALE:
        yield f"lora.alpha {lora.alpha:g} with lora.r {lora.r} is unusual: the update is multiplied by {lora.alpha / lora.r:g}"


def precision_notes(spec: RunSpec, machine: Machine) -> Iterator[str]:
    """Yield a sentence where fp16 is asked of a GPU that has bf16, as tutorials for older GPUs do."""
    gpu = machine.accelerator
    if gpu is None or not gpu.has_bf16:
        return
    asked = {
        "train.precision": spec.train.precision,
        "quant.compute_dtype": compute_dtype(spec.quant.compute_dtype, gpu),
    }
    fp16 = [name for name, value in asked.items() if value == "fp16"]
    if fp16:
        yield (
            f"{' and '.join(fp16)}: fp16 on {gpu.name}, which has bf16: gradients need scaling, and updates that overflow are left "
            'out; set "auto" for bf16'
        )


def _require_paths(spec: RunSpec, *, has_rows: bool) -> None:
    """Refuse paths that lead to no rows, and a run folder that could not be made."""
    members = [*spec.data.mix] if has_rows else [spec.data, *spec.data.mix]
    for member in members:
        if member.source != "rows" and is_local(member.source):
            local_files(member.source, member.split)
    if not has_rows and spec.data.validation is not None:
        held = validation_place(spec.data)
        if is_local(held.source):
            local_files(held.source, held.split)
    place = nearest_folder(Path(spec.output_dir))
    if not place.is_dir():
        raise StorageError(f"output_dir '{spec.output_dir}' cannot be made: '{place}' is no folder; choose another one")
    if not os.access(place, os.W_OK):
        raise StorageError(
            f"output_dir '{spec.output_dir}' cannot be made: '{place}' may not be written to; choose another one"
        )
