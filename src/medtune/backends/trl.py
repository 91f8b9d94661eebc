"""Fits an adapter with trl's SFTTrainer: turns specs into its arguments and its logs into records."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.machine.hardware import world_size
from medtune.machine.libraries import quiet_libraries
from medtune.machine.optimizers import ADAM, optimizer_refusal, runs_as
from medtune.plugins.contracts import Job, Loaded, PackedRows, Trainer, TrainResult
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.origin import told_of
from medtune.specs import RunSpec, TrainSpec

__all__ = ["TrlTrainer", "provide_trainers"]


class TrlTrainer:
    """trl's supervised fine-tuning on packed rows, on CPU and CUDA."""

    name = "trl"

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("trl")

    def check(self, spec: TrainSpec) -> None:
        """Refuse an optimizer that is not known or not installed, and settings that it does not read; loads no library.

        Raises:
            SpecError: naming the field.
        """
        asked = [name for name in ADAM if getattr(spec, name) != TrainSpec.model_fields[name].default]
        reason = optimizer_refusal(spec.optim, asked)
        if reason is not None:
            raise SpecError(reason)

    def fit(self, job: Job) -> TrainResult:
        """Train the adapter in place.

        Args:
            job: the attached model, the packed rows, and where to write.

        Returns:
            Steps, mean loss per supervised token, real tokens, seconds and peak memory.
        """
        job = _shared(job)
        with quiet_libraries():
            from medtune.accel.train import FastPath
            from medtune.backends.proved import prove_route
            from medtune.backends.sft_trainer import PackedSFTTrainer

            route = prove_route(job)
            plain = not isinstance(route.path, FastPath)
            config = sft_config(job, recompute=plain and job.spec.train.recompute not in ("auto", "none"))
            with PackedSFTTrainer(job, config, route) as trainer:
                return trainer.fit()

    def prove(self, job: Job) -> Mapping[str, Any]:
        """Return what ``fit`` would prove of its loss before the first update; the model stays as it was.

        Raises:
            UnprovenBaseError: no way of computing the loss is right.
        """
        job = _shared(job)
        with quiet_libraries():
            from medtune.accel.train import FastPath
            from medtune.backends.proved import prove_route

            route = prove_route(job)
            if isinstance(route.path, FastPath):
                route.path.disable()
            return route.proof

    def held_out_losses(self, loaded: Loaded, rows: PackedRows, spec: RunSpec) -> Mapping[str, tuple[float, int]]:
        """Return source -> summed loss in nats and supervised tokens, of the model as it stands.

        The loss is one of those that ``fit`` computes by, proved on these rows; it runs the model's own layers, so that base and
        tuned model are measured in the same way.

        Raises:
            UnprovenBaseError: no way of computing the loss is right.
        """
        with quiet_libraries():
            from medtune.backends.held_out import held_out_losses
            from medtune.backends.proved import prove_route

            route = prove_route(Job(spec, loaded, rows, Path(), 0), measures=True)
            return held_out_losses(route.loss, loaded, rows, spec)


@hookimpl
def provide_trainers() -> Sequence[Trainer]:
    """Provide ``trl``."""
    return [TrlTrainer()]


def _shared(job: Job) -> Job:
    """Return the part of a job that this process does."""
    train = job.spec.train.share(world_size())
    return replace(job, spec=job.spec.model_copy_with(train=train))


def sft_config(job: Job, *, recompute: bool) -> Any:
    """Return the SFTConfig of a job: every field that medtune sets, nothing pushed, nothing reported.

    Args:
        job: what is trained, and where to.
        recompute: whether transformers' layers recompute their activations; the fast path does so by itself.
    """
    from trl.trainer.sft_config import SFTConfig

    train, on_cpu = job.spec.train, job.loaded.device == "cpu"
    trained = sum(p.numel() for p in job.loaded.model.parameters() if p.requires_grad)
    return SFTConfig(
        output_dir=str(Path(job.run_dir) / "checkpoints"),
        per_device_train_batch_size=train.per_device_batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        optim=runs_as(train.optim, trained, on_gpu=not on_cpu),
        learning_rate=train.learning_rate,
        **_schedule(train, job.total_steps),
        weight_decay=train.weight_decay,
        adam_beta1=train.adam_beta1,
        adam_beta2=train.adam_beta2,
        adam_epsilon=train.adam_epsilon,
        max_grad_norm=train.max_grad_norm,
        max_steps=job.total_steps,
        max_length=None,  # rows arrive prepared; nothing may be cut here
        **_records_and_saves(train),
        **_device_arguments(job, on_cpu=on_cpu),
        ddp_broadcast_buffers=False,  # they never change, and a process that runs out of memory would break the rhythm
        **_recompute_arguments(SFTConfig, recompute=recompute),
        seed=job.spec.seed,
        data_seed=job.spec.seed,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        push_to_hub=False,
    )


def _schedule(train: TrainSpec, total_steps: int) -> dict[str, Any]:
    """Return the schedule by transformers' names, which has falling ones to a minimum under names of their own."""
    kind, settings = str(train.lr_scheduler_type), dict[str, float]()
    if train.min_lr_rate and kind == "cosine":
        kind, settings = "cosine_with_min_lr", {"min_lr_rate": train.min_lr_rate}
    elif train.min_lr_rate:
        kind, settings = "polynomial", {"lr_end": train.min_lr_rate * train.learning_rate, "power": 1.0}
    return {
        "lr_scheduler_type": kind,
        "lr_scheduler_kwargs": settings,
        "warmup_steps": train.warm_up(total_steps),
    }


def _records_and_saves(train: TrainSpec) -> dict[str, Any]:
    return {
        "logging_steps": train.logging_steps,
        "logging_nan_inf_filter": False,  # the filter would log a NaN loss as 0.0
        "logging_first_step": True,
        "save_strategy": train.save_strategy,
        "save_steps": train.save_steps,
        "save_total_limit": train.save_total_limit,
    }


def _device_arguments(job: Job, *, on_cpu: bool) -> dict[str, Any]:
    wanted = job.spec.train.precision
    precision = job.loaded.compute_dtype if wanted == "auto" else wanted
    return {
        "bf16": precision == "bf16" and not on_cpu,
        "fp16": precision == "fp16" and not on_cpu,
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "accelerator_config": {"non_blocking": not on_cpu},  # batches travel while the device works
    }


def _recompute_arguments(config: Any, *, recompute: bool) -> dict[str, Any]:
    """Name the recompute arguments as the installed transformers does: they were renamed within version 5."""
    names = {field.name for field in fields(config)}
    prefix = "activation" if "activation_checkpointing" in names else "gradient"
    return {
        f"{prefix}_checkpointing": recompute,
        f"{prefix}_checkpointing_kwargs": {"use_reentrant": False} if recompute else None,
    }
