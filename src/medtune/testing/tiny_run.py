"""A whole small run, started or resumed by the same call: the victim of the fault laboratory."""

import hashlib
import itertools
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from medtune.errors import RunInterruptedError
from medtune.machine.hardware import first_rank_says, is_first_rank, seed_all, world_size
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job, Loaded
from medtune.runs.changes import refuse_changes
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.runs.log import RunLog
from medtune.runs.signals import StopRequest
from medtune.runs.store import CheckpointStore, publish
from medtune.specs import ModelSpec, RunSpec
from medtune.testing.tiny import RandomRows, tiny_base

__all__ = ["TIMED", "adapter_digest", "tiny_run", "warm_up"]

_TRAIN: Mapping[str, Any] = {
    "max_length": 24,
    "num_train_epochs": 2,
    "gradient_accumulation_steps": 2,
    "logging_steps": 2,
    "optim": "adamw_torch",
    "save_strategy": "steps",
    "save_steps": 2,
    "save_total_limit": 2,
}
TIMED = {"tokens_per_second", "memory_gib", "scoring_seconds"}


def warm_up() -> None:
    """Load every library that a run needs, and compute nothing: threads would not survive a fork."""
    import torch

    from medtune.machine.libraries import import_bitsandbytes, quiet_libraries

    torch.set_num_threads(1)
    import_bitsandbytes()
    with quiet_libraries():
        for name in ("peft", "medtune.backends.sft_trainer"):
            import_module(name)


def tiny_run(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Start or resume the run in ``folder / "run"`` until it is finished.

    Args:
        folder: where the run lies, and beside it the files of its base model.
        options: ``train`` and ``lora`` (fields of the spec to change), ``scheme`` ("none" or "nf4"), ``rows`` (of RandomRows),
            ``stop_after`` (updates after which it interrupts itself), ``forget`` (a generator that is not restored: the negative
            control), ``starve`` (by rank, rows of a pass beyond which memory runs out, or None), ``die`` (number of a process,
            updates that it has done then, name of the signal that it sends itself), ``patience`` (seconds that processes wait for
            each other), ``export`` (write the merged model too), ``base`` (folder of the base).

    Returns:
        ``digest`` of the adapter's values, ``steps``, ``log`` (without measured times) and ``passed_over``.
    """
    train, lora = {**_TRAIN, **options.get("train", {})}, options.get("lora", {})
    quant = {name: value for name, value in options.items() if name == "scheme"}
    spec = RunSpec.model_validate({"quant": quant, "train": train, "lora": lora, "output_dir": str(folder / "run")})
    rows, first = RandomRows(**options.get("rows", {})), _meet(options.get("patience"))
    place, log, steps = RunFolder(spec.output_dir), RunLog(folder / "run" / "log.jsonl"), list[int]()
    with ExitStack() as held:
        if first:
            held.enter_context(RunLock(place.path))
        stop = held.enter_context(StopRequest(spec.train.max_minutes))
        resume_from, passed = _find_start(place, spec, rows, log) if first else (None, [])
        resume_from = first_rank_says(resume_from)
        seed_all(spec.seed)
        job = Job(
            spec=spec,
            loaded=_attach(_base(folder, options, spec), spec),
            rows=rows,
            run_dir=place.path,
            total_steps=total_steps(spec, len(rows)),
            resume_from=resume_from,
            on_log=log.append,
            on_step=steps.append,
            stop_reason=_reasons(options, steps, stop),
        )
        digest, done = _fit(job, place, options, first=first)
        kept = [{k: v for k, v in record.items() if k not in TIMED} for record in log.read()] if first else []
    return {"digest": digest, "steps": done, "log": kept, "passed_over": passed}


def _meet(patience: float | None) -> bool:
    """Say whether this is the first process; where it is given, processes wait for each other no longer than that."""
    if patience is not None and world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=True, timeout=timedelta(seconds=patience))
    return is_first_rank()


def _reasons(options: Mapping[str, Any], steps: list[int], stop: StopRequest) -> Callable[[], str | None]:
    """Return what is asked after every update, in every process."""
    process, update, name = options.get("die") or (None, 0, "SIGKILL")
    asked = itertools.count(1)

    def reason() -> str | None:
        if next(asked) == update and os.environ.get("RANK") == str(process):
            os.kill(os.getpid(), getattr(signal, name))
        return "asked to" if steps and steps[-1] == options.get("stop_after") else stop.reason

    return reason


def adapter_digest(loaded: Loaded) -> str:
    """Return the SHA-256 of every trainable value of a model, names and types included."""
    digest = hashlib.sha256()
    for name, parameter in loaded.model.named_parameters():
        if parameter.requires_grad:
            digest.update(f"{name} {parameter.dtype}".encode() + parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _base(folder: Path, options: Mapping[str, Any], spec: RunSpec) -> Loaded:
    place = Path(options.get("base", folder / "base"))
    if spec.train.parallel != "fsdp":
        return tiny_base(place, options.get("scheme", "none"))
    from medtune.backends.sharded.loading import load_sharded_base

    return load_sharded_base(ModelSpec(path=str(place)), spec.quant)


def _find_start(place: RunFolder, spec: RunSpec, rows: RandomRows, log: RunLog) -> tuple[Path | None, list[str]]:
    values, prints = spec.model_dump(mode="json"), {"data": rows.fingerprint}
    if not place.exists:
        place.create(values, {}, prints)
        return None, []
    refuse_changes(str(place.path), place.read(), values, prints)
    newest, passed = CheckpointStore(place.checkpoints_dir, spec.train.save_total_limit).newest_whole()
    log.keep_until(newest.step if newest else 0)
    return (newest.path if newest else None), [f"{p.path.name}: {p.reason}" for p in passed]


def _fit(job: Job, place: RunFolder, options: Mapping[str, Any], *, first: bool) -> tuple[str, int]:
    from medtune.backends.parallel import resumed
    from medtune.backends.trl import TrlTrainer

    if options.get("forget"):
        setattr(resumed, "restore_random_states", _forgetting(options["forget"]))  # noqa: B010 - not its own name
    if options.get("starve"):
        _starve(job.loaded, options["starve"][int(os.environ.get("RANK", "0"))])
    if first:
        place.update("running")
    seed_all(job.spec.seed)
    result = TrlTrainer().fit(job)
    if result.interrupted:
        if first:
            place.update("interrupted")
        raise RunInterruptedError(str(place.path), result.steps, result.interrupted, result.steps)
    digest = adapter_digest(job.loaded)
    if first:
        publish(place.adapter_dir, lambda path: _save_adapter(path, job.loaded))
        if options.get("export"):
            publish(place.path / "merged", lambda path: _save_merged(path, job.loaded))
        place.update("finished", digest=digest)
    return digest, result.steps


def _attach(base: Loaded, spec: RunSpec) -> Loaded:
    from medtune.backends.peft import PeftAdapter

    return PeftAdapter().attach(base, spec.lora)


def _save_adapter(path: Path, loaded: Loaded) -> None:
    if loaded.save_adapter is not None:
        loaded.save_adapter(path)
    loaded.tokenizer.save_pretrained(path)


def _save_merged(path: Path, loaded: Loaded) -> None:
    loaded.model.merge_and_unload().save_pretrained(path)


def _starve(loaded: Loaded, most_rows: int | None) -> None:
    """Let memory run out in the second half of every forward pass with more rows."""
    import torch

    def check(_layer: Any, arguments: Any) -> None:
        if most_rows is not None and len(arguments[0]) > most_rows:
            raise torch.OutOfMemoryError("there is no room for so many rows")

    loaded.model.get_base_model().model.layers[-1].register_forward_pre_hook(check)


def _forgetting(name: str) -> Any:
    """Return a restore that leaves one generator as it is."""
    from medtune.backends.exact_state import random_states, restore_random_states

    return lambda states: restore_random_states({**states, name: random_states()[name]})
