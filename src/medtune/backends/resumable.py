"""trl's SFTTrainer with saves that cannot be half done, and a resume that goes on exactly where the save was.

Imported inside ``TrlTrainer.fit`` only, like its subclass in ``sft_trainer``.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object

from medtune.backends.callback import UpdateCallback
from medtune.backends.exact_state import (
    load_optimizer,
    load_trainable,
    random_states,
    read_tree,
    save_trainable,
    write_tree,
)
from medtune.backends.interim import InterimScores, undisturbed
from medtune.backends.parallel.order import shared_loader
from medtune.backends.parallel.resumed import (
    mean_loss,
    mean_of_processes,
    own_part,
    require_same_updates,
    trainer_state,
)
from medtune.backends.safeguards import SENT_AS, FiniteGuard, MicroBatchSplitter, average_gradients
from medtune.backends.sharded.training import leave_unwrapped
from medtune.backends.trainer_internals import TrainerInternals
from medtune.machine.disk_room import bytes_to_keep, expected_bytes
from medtune.machine.hardware import is_first_rank
from medtune.machine.lost import Roll
from medtune.machine.owner_only import make_folder
from medtune.plugins.contracts import Job
from medtune.runs.durable import attempt, require_space
from medtune.runs.store import CheckpointStore

__all__ = ["ResumableSFTTrainer"]

_STATE, _TRAINER_STATE = "state", "trainer_state.json"


class ResumableSFTTrainer(TrainerInternals):
    """Checkpoints through medtune's store, with the guard against NaN and the splitter of micro-batches.

    Args:
        job: what is trained, and where to.
        arguments: as for SFTTrainer.
    """

    def __init__(self, job: Job, **arguments: Any) -> None:
        checkpoints = Path(job.run_dir) / "checkpoints"
        if is_first_rank():
            attempt(lambda: make_folder(checkpoints), "the run folder", checkpoints)
        super().__init__(**arguments)
        if not self.is_world_process_zero():  # one log, one progress bar
            job = replace(job, on_log=_ignore, on_step=_ignore)
        self.job = job
        world = self.args.world_size
        self._update_rows = job.spec.train.update_rows * world
        self.guard, self.splitter = FiniteGuard(job, world), MicroBatchSplitter(job)
        self._is_wrapped = world > 1 and not leave_unwrapped(self)
        self._sent_as = SENT_AS[job.spec.train.reduce_dtype]
        is_late = not self._is_wrapped or job.spec.train.on_oom == "halve" or self._sent_as != torch.float32
        self._averages_late = world > 1 and is_late
        self.adapter = [p for p in self.model.parameters() if p.requires_grad]
        self._trainable = sum(p.numel() for p in self.adapter)
        own = getattr(job.checkpoints, "store", None)  # of a run, which records what is saved
        own = own if isinstance(own, CheckpointStore) and own.root == checkpoints else None
        self.store = own or CheckpointStore(checkpoints, job.spec.train.save_total_limit)
        self.store.expected_bytes = max(self.store.expected_bytes, expected_bytes(self._trainable))
        self.scores = InterimScores(job)
        self.interrupted: str | None = None
        self.is_alone = False
        self.stopped_early = ""
        self.adapter_step: int | None = None
        self._resumed_progress: dict[str, Any] | None = None
        self._saved_step = -1
        self.add_callback(UpdateCallback(self))

    def get_train_dataloader(self) -> Any:
        """Return this process's rows of each update: together all processes take those that one would, in its order."""
        return shared_loader(self) if self.args.world_size > 1 else super().get_train_dataloader()

    def train_resumably(self) -> float:
        """Train what is left of the run and return the mean loss over the whole run.

        Raises:
            DamagedArtifactError: the checkpoint, or the best one, which the spec wants, is not what was saved.
            DiskFullError: the checkpoints and the adapter would not fit on the disk.
        """
        resume = self.job.resume_from
        if self.is_world_process_zero():
            keep = self.job.spec.train.save_total_limit + self.scores.keeps_best
            require_space(Path(self.job.run_dir), bytes_to_keep(self._trainable, keep, resuming=resume is not None))
        if resume is not None:
            done = trainer_state(resume, _TRAINER_STATE)
            saved = read_tree(resume, _STATE)
            require_same_updates(saved, self._update_rows, self.job.run_dir)
            progress: dict[str, Any] = {**saved["progress"], "running_loss": mean_loss(saved["random"])}
            self.scores.restore(progress["scores"])
            if done.global_step >= self.job.total_steps or self.scores.is_exhausted:  # only what follows is left
                load_trainable(resume, self.model)
                self.state = done
                self.restore_progress(progress)
                self.count_unlogged_loss()
                return self._finish()
        try:
            self.train(resume_from_checkpoint=str(resume) if resume else None)
        except RuntimeError as error:
            self.interrupted = Roll(self.args.process_index, self.args.world_size).reason(error, self.state.global_step)
            self.is_alone = self.interrupted is not None
            if not self.is_alone:
                raise
        if self.is_alone:  # nothing that takes the others can be done any more
            self.store.settle()
            return float(self.summed_loss / max(1, self.state.global_step))
        self.guard.settle()
        self.store.settle()
        return self._finish()

    def _finish(self) -> float:
        """Take the best adapter where that is wished, once it verifies, and return the mean loss of the run."""
        self.adapter_step, best = self.state.global_step, self.scores.best_step
        if self.interrupted is None and self.scores.is_exhausted and self.adapter_step < self.job.total_steps:
            self.stopped_early = f"no better score than that of step {best} in {self.scores.since_best} scorings"
        if self.interrupted is None and self.scores.keeps_best and best not in (None, self.adapter_step):
            folder = self.store.path_of(best)
            self.store.verify(folder)
            load_trainable(folder, self.model)
            self.adapter_step = best
        return self._mean_loss()

    def score_if_due(self) -> tuple[bool, bool]:
        """Score the model when it is time, and say whether to save it and whether to end the training."""
        step = self.state.global_step
        is_due = self.scores.are_due(step, self.state.epoch)
        if not is_due and step != self.job.score_after:
            return False, False
        self.guard.settle()
        told: list[Any] = [None]
        with undisturbed(self.job.loaded.model):
            if self._is_wrapped:
                self.measure()  # each process its rows
            with self.job.loaded.in_step():
                if self.is_world_process_zero() and (score := self.job.on_evaluate):
                    if not self._is_wrapped:
                        self.measure()
                    told[0] = score(step)
            if self.args.world_size > 1:
                broadcast_object_list(told)  # the others wait here
        is_best = is_due and self.scores.note(step, told[0])
        if is_best and self.scores.keeps_best:
            self.store.pinned = step
            return True, False
        return self.scores.is_exhausted, self.scores.is_exhausted

    def measure(self) -> None:
        """Tell the losses of the rows that are held out, where that is wanted."""

    def progress(self) -> dict[str, Any]:
        """Return the counters of the run so far, as JSON values."""
        return {
            **self.counters,
            "skipped": self.guard.skipped,
            "parts": self.splitter.parts,
            "scores": self.scores.to_json(),
        }

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Continue the counters of the run."""
        self.resume_counters(progress)
        self.guard.skipped, self.splitter.parts = progress["skipped"], progress["parts"]
        self.scores.restore(progress["scores"])
        best = self.scores.best_step
        if self.scores.keeps_best:
            self.store.pinned = best if best and self.store.path_of(best).is_dir() else None
            if not self.store.pinned:  # nothing was kept before, or somebody removed it
                self.scores.forget()

    def begin(self) -> None:
        """Start the counters, after transformers set its own to zero."""
        # The saved trainer state brought the old intervals with it, which are free to change on resume.
        self.state.compute_steps(self.args, self.state.max_steps)
        if self._resumed_progress is not None:
            self.restore_progress(self._resumed_progress)

    def begin_update(self, samples: list[list[int]]) -> None:
        """Tell the guard which samples the micro-batches of the next update hold."""
        self.guard.begin_update(samples, self.running_loss)

    def forget_update(self) -> None:
        """Take back what was counted of an update that is refused."""

    def forget_update_if(self, bad: Any) -> Callable[[], None]:
        """Take back on the device what was counted there if ``bad`` [] is not 0; return what does so on the host."""
        del bad
        return self.forget_update

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Run one micro-batch forward and backward and return its share of the loss."""
        whole = super().training_step
        step = self.state.global_step + 1
        with model.no_sync() if self._averages_late and self._is_wrapped else nullcontext():
            loss = self.splitter.run(lambda part: whole(model, part, num_items_in_batch), inputs, model, step)
        self.guard.note_loss(loss)
        return loss

    def agreed(self, wishes: Sequence[bool]) -> list[bool]:
        """Return for each wish whether any process has it."""
        if self.args.world_size == 1:
            return list(wishes)
        votes = torch.tensor([float(w) for w in wishes], device=self.args.device)
        torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MAX)
        return [bool(vote) for vote in votes.tolist()]

    def clip(self, model: Any) -> Any:
        """Clip, then let the guard look at the update; a refused one finds no gradients and changes nothing."""
        if self._averages_late:
            average_gradients(model, self.args.world_size, self._sent_as)
            self.splitter.agree(self.args.device, self.state.global_step + 1)
        scaler = self.accelerator.scaler
        if scaler is None:  # as transformers does, without a walk over the base
            norm: Any = torch.nn.utils.clip_grad_norm_(self.adapter, self.args.max_grad_norm)
        else:
            norm = super().clip(model)
        if scaler is None and self.device_leaves_out:
            # the device leaves a bad update out, as for torch's own scaler; the next pass starts without a wait
            bad = (~torch.isfinite(norm.detach())).float()
            self.guard.watch(self.state.global_step + 1, bad, self.running_loss, self.forget_update_if(bad))
            self.leave_out_if(bad)
        elif not self.guard.accepts(self.state.global_step + 1, norm, scaler):
            self.guard.forget_loss(self.running_loss)
            self.forget_update()
            if scaler is None:  # a scaler leaves the update out by itself
                model.zero_grad(set_to_none=True)
        return norm

    def save(self) -> None:
        """Save through the store, on the first rank, once per step."""
        step = self.state.global_step
        if step == self._saved_step:  # the end of an epoch can fall on a step that was saved
            return
        self.guard.settle()
        states = {**random_states(), "running_loss": self.running_loss.item()}  # what differs between processes
        all_states = gather_object([states]) if self.args.world_size > 1 else [states]
        if self.is_world_process_zero():
            self.store.save(step, lambda folder: self._write(folder, all_states))
        self.accelerator.wait_for_everyone()  # nobody goes on before the checkpoint has its name
        self._saved_step = step

    def _write(self, folder: Path, all_random_states: list[dict[str, Any]]) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # paged optimizer states live in memory that both sides write
        scaler = self.accelerator.scaler
        save_trainable(folder, self.model)
        tree = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.lr_scheduler.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "random": all_random_states,
            "progress": {**self.progress(), "update_rows": self._update_rows},
        }
        write_tree(folder, _STATE, tree)
        self.state.save_to_json(str(folder / _TRAINER_STATE))

    def load(self, folder: Path) -> None:
        """Load the trained parameters, and read what the others take; any number of processes may have written them."""
        self._resumed = read_tree(folder, _STATE)
        load_trainable(folder, self.model)
        self._own = own_part(self._resumed["random"], self.args.process_index, self.args.world_size)
        self._resumed_progress = {**self._resumed["progress"], "running_loss": self._own.running_loss}

    def resume_optimizer(self) -> None:
        """Go on with optimizer and schedule."""
        load_optimizer(self.optimizer, self._resumed["optimizer"])
        self.lr_scheduler.load_state_dict(self._resumed["scheduler"])

    def resume_scaler(self) -> None:
        """Go on with the gradient scaler, where this run and that before have one."""
        if self.accelerator.scaler is not None and self._resumed["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(self._resumed["scaler"])

    def resume_random_states(self) -> None:
        """Go on with this process's own generators."""
        self._own.restore()

    def _mean_loss(self) -> float:
        summed = mean_of_processes(self.summed_loss, self.args.world_size)  # each has what it did not log yet
        return float(summed / max(1, self.state.global_step - self.guard.skipped))


def _ignore(_told: Any) -> None:
    """Take what only the first rank passes on."""
