"""The trainer of packed rows: head on supervised tokens only, fp32 adapters, honest records out.

``compute_loss`` is overridden because trl's own loss runs through a Triton kernel, which a CPU machine lacks; this is
trl's documented way out. Imported inside ``TrlTrainer.fit`` only: it loads torch, transformers and trl.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MethodType, TracebackType
from typing import Any, Self

import torch
from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback
from trl.trainer.sft_config import SFTConfig

from medtune.accel.train import FastPath, Refusal, UpdateMasks
from medtune.backends.by_source import SourceLosses
from medtune.backends.collator import PackedCollator, source_numbers
from medtune.backends.exact_state import random_states
from medtune.backends.held_out import held_out_losses
from medtune.backends.losses import describe, loss_alone
from medtune.backends.parallel.counts import TokenCounts
from medtune.backends.proved import Route
from medtune.backends.resumable import ResumableSFTTrainer
from medtune.backends.shortcuts import shortcuts
from medtune.machine.hardware import resident_peak_gib
from medtune.plugins.contracts import Job, TrainResult

__all__ = ["PackedSFTTrainer"]

_IGNORED = -100
_GIB = 1024**3
_BESIDE = ("sources", "supervised_sources", "blank")
_ROUTER = ("output_router_logits", "router_aux_loss_coef")


class PackedSFTTrainer(ResumableSFTTrainer):
    """trl's trainer over packed rows; use as a context manager, which leaves the model as it was found.

    Args:
        job: what is trained, and where to.
        config: trl's arguments.
        route: how the loss is computed, as it was proved.
    """

    def __init__(self, job: Job, config: SFTConfig, route: Route) -> None:
        self._path, self._loss, self._proof = route.path, route.loss, route.proof
        model = job.loaded.model
        adapter = [p for p in model.parameters() if p.requires_grad]
        kept = [p.detach().clone() for p in adapter]
        self._by_source, self._shortcuts = SourceLosses(), ExitStack()
        fast = self._path if isinstance(self._path, FastPath) else None
        self._masks = UpdateMasks(model, fast, job.spec.seed)
        self._watches = job.resume_from is None  # else the log says it already
        router = _router_settings(model)
        super().__init__(
            job,
            model=model,
            args=config,
            data_collator=PackedCollator(
                job, self._path.lay_out if isinstance(self._path, FastPath) else None, self._by_source
            ),
            train_dataset=Dataset.from_dict({"row": range(len(job.rows))}),
            processing_class=job.loaded.tokenizer,
        )
        # trl asks a mixture of experts for the loss that balances its router, which answering stumbles over; the router is
        # frozen, so that loss is no part of training, and of the proof neither
        vars(model.config.get_text_config()).update(router)
        # trl casts adapters on a 4-bit base to bf16, where small updates are lost; back to the exact fp32 values.
        for parameter, value in zip(adapter, kept, strict=True):
            parameter.data = value
        self.divide_loss_once()
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self._counts, self._resumed_tokens = TokenCounts(), 0
        self._logged_tokens, self._logged_time, self._scoring_seconds = 0, 0.0, 0.0
        self._logged_step = self._logged_skipped = 0

    def __enter__(self) -> Self:
        base = self.job.loaded.model.get_base_model()
        base.__dict__.pop("forward", None)  # trl's fused head
        base.forward = MethodType(self._loss, base)
        # layers that are computed again once other samples have passed would draw by the tokens of these
        if not (self._loss is loss_alone and self.args.gradient_checkpointing):
            self._shortcuts.enter_context(self._masks)
        self._shortcuts.enter_context(shortcuts(self.job.loaded.model, self.adapter))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shortcuts.close()
        model = self.accelerator.unwrap_model(self.model_wrapped, keep_fp32_wrapper=False)
        model.get_base_model().__dict__.pop("forward", None)
        if isinstance(self._path, FastPath):
            self._path.disable()
        if self.args.gradient_checkpointing:
            model.gradient_checkpointing_disable()
        model.eval()

    def fit(self) -> TrainResult:
        """Train and report what was done."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self.job.on_proof(self._proof)
        if isinstance(self._path, Refusal) and self.job.spec.train.fast_path != "off":
            self.job.on_log({"fast_path": describe(self._path)})
        started = self._logged_time = time.perf_counter()
        loss = self.train_resumably()
        started += self._scoring_seconds
        if not self.is_alone:
            self._counts.gather(self.args.world_size, first=self.is_world_process_zero())
        return TrainResult(
            steps=self.state.global_step,
            train_loss=loss,
            tokens=self._counts.tokens - self._resumed_tokens,
            seconds=time.perf_counter() - started,
            peak_memory_gib=_peak_memory_gib(),
            interrupted=self.interrupted,
            fast_path=describe(self._path),
            proof=self._proof,
            best_step=self.scores.best_step,
            adapter_step=self.adapter_step,
            stopped_early=self.stopped_early,
        )

    def progress(self) -> dict[str, Any]:
        """Return the counters of the run, those of tokens included."""
        own = {**self._counts.to_json(), "by_source": self._by_source.to_json()}
        return {**super().progress(), **own, "logged_skipped": self._logged_skipped}

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Continue the counters of the run, those of tokens included."""
        super().restore_progress(progress)
        if self.is_world_process_zero():  # the saved sums are those of all processes
            self._counts.restore(progress)
            self._resumed_tokens = self._logged_tokens = progress["tokens"]
            self._by_source.restore(progress["by_source"])
        self._logged_step, self._logged_skipped = progress["logged_step"], progress["logged_skipped"]

    def count_items(self, batches: list[dict[str, Any]], device: torch.device) -> Any:
        """Return the supervised tokens of a whole update, over all ranks, counted on the host.

        Counting labels on the device, as transformers does, would make every step wait for it.
        """
        self.begin_update([batch.pop("samples") for batch in batches])
        supervised, by_source = self._counts.add(batches)
        self._by_source.begin_update(by_source, device)
        if self.args.world_size > 1:
            gathered: Any = self.accelerator.gather(torch.tensor(supervised, device=device))
            return gathered.sum()
        return supervised

    def score_if_due(self) -> tuple[bool, bool]:
        """Score as the base class does, and leave its time out of the speed of training."""
        began = time.perf_counter()
        if self.scores.are_due(self.state.global_step, self.state.epoch):
            self._leave_memory()
        outcome = super().score_if_due()
        took = time.perf_counter() - began
        self._logged_time += took
        self._scoring_seconds += took
        return outcome

    def measure(self) -> None:
        """Tell the losses of the rows that are held out, by the loss that is trained with."""
        job = self.job
        if job.held_out is not None:
            place = (self.args.process_index, self.args.world_size) if self._is_wrapped else (0, 1)
            losses = held_out_losses(self._loss, job.loaded, job.held_out, job.spec, place)
            if self.is_world_process_zero():
                job.on_held_out(losses)
            self._leave_memory()

    def _leave_memory(self) -> None:
        """Drop what the fast path keeps: on a GPU that training fills, this memory is all that answers could use."""
        if isinstance(self._path, FastPath):
            self._path.disable()
            torch.cuda.empty_cache()

    def forget_update(self) -> None:
        """Take back the losses of an update that is refused."""
        self._by_source.forget_update()

    def forget_update_if(self, bad: Any) -> Callable[[], None]:
        """Take them back on the device if ``bad`` [] is not 0 there; return what does so on the host."""
        return self._by_source.forget_update_if(bad)

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """Return 0: transformers' estimate walks over the whole model at every step, and nobody reads it."""
        del inputs
        return 0

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Run one micro-batch, and add its losses to those of their sources."""
        rows = len(inputs["input_ids"])
        self._masks.begin(self.state.global_step)
        with self._watched():
            loss = super().training_step(model, inputs, num_items_in_batch)
        self._by_source.keep_last(rows)
        return loss

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Say once what is dropped by other masks than those of the update, which depend on how its rows are divided."""
        before = random_states() if self._watches else {}
        yield
        if self._watches:
            self._watches, now = False, random_states()
            drawn = [name for name in ("torch", "cuda") if before[name] != now[name]]
            if drawn or self._masks.unplaced:
                what = "torch draws what is dropped" if drawn else "an adapter reads other rows than tokens"
                told = f"{what}: results depend on how many processes and micro-batches share an update"
                self.job.on_log({"step": self.state.global_step + 1, "event": "dropout", "note": told})

    def save(self) -> None:
        """Save, the sums of all processes at the first one."""
        self._gather()
        super().save()

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the summed loss of the supervised tokens over their number in the whole update."""
        if return_outputs:
            raise TypeError("PackedSFTTrainer computes losses only; logits come from the generators")
        given = {name: value for name, value in inputs.items() if name not in _BESIDE}
        share = 1.0 if num_items_in_batch is None else self.args.world_size / num_items_in_batch
        if self.accelerator.scaler is not None and isinstance(self._path, FastPath):
            # its gradient is computed with the loss: so the factor that the scaler puts on the loss has to be known before
            self._path.scale_gradients(self.accelerator.scaler.scale(torch.ones((), device=self.args.device) * share))
        output = model(**given)
        loss, sources = output["loss_sum"], source_numbers(inputs)
        if "blank" in inputs:  # passed with the others, so that none of them waits, and counts for nothing
            loss, sources = loss * 0, sources[:0]
        self._by_source.note(output["token_losses"], sources, len(inputs["input_ids"]))
        # DDP averages gradients over ranks, while the count already spans them.
        return loss if num_items_in_batch is None else loss * self.args.world_size / num_items_in_batch

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Turn a log of transformers into a record."""
        self.guard.settle()
        super().log(logs, start_time)
        if "loss" not in logs:
            return
        self._gather()
        if not self.is_world_process_zero():
            return
        now = time.perf_counter()
        tokens, seconds = self._counts.tokens - self._logged_tokens, now - self._logged_time
        self._logged_tokens, self._logged_time = self._counts.tokens, now
        record = {
            "step": self.state.global_step,
            "epoch": logs.get("epoch"),
            "loss": logs["loss"] * self._steps_per_applied_update(),
            "learning_rate": logs.get("learning_rate"),
            "grad_norm": logs.get("grad_norm"),
            "tokens": self._counts.tokens,
            "supervised_tokens": self._counts.supervised,
            "tokens_per_second": tokens / seconds if seconds > 0 else 0.0,
            "memory_gib": _peak_memory_gib(),
            "loss_by_source": self._by_source.means(),
            "supervised_by_source": dict(sorted(self._counts.by_source.items())),
        }
        self.job.on_log({key: float(v) if isinstance(v, torch.Tensor) else v for key, v in record.items()})

    def _gather(self) -> None:
        """Bring the sums of all processes to the first one."""
        for sums in (self._by_source, self._counts):
            sums.gather(self.args.world_size, first=self.is_world_process_zero())

    def _steps_per_applied_update(self) -> float:
        """Return the factor by which transformers' mean since the last log is too low: it counts skipped updates."""
        steps, skipped = self.state.global_step - self._logged_step, self.guard.skipped - self._logged_skipped
        self._logged_step, self._logged_skipped = self.state.global_step, self.guard.skipped
        return steps / (steps - skipped) if steps > skipped else 1.0


def _router_settings(model: Any) -> dict[str, Any]:
    """Return what a config says of the router's own loss."""
    return {name: value for name, value in vars(model.config.get_text_config()).items() if name in _ROUTER}


def _peak_memory_gib() -> float:
    """Return the peak of allocated device memory, or of the resident set on a CPU, in GiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / _GIB
    return resident_peak_gib()
