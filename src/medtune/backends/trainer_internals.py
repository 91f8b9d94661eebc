"""The one file that names private members of transformers' Trainer and of what it drives, each checked on import.

A subclass because transformers offers no other way to replace what a checkpoint is or how an update is clipped. Every
private method that medtune replaces is overridden here and hands on to a public one, and so is every private counter.
Should a release drop or change one of them, its replacement would silently never run: so ``require_internals`` looks at
the installed classes before a trainer is made. Imported inside ``TrlTrainer.fit`` only: it loads torch and transformers.
"""

import inspect
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dis import get_instructions
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch.optim import Adam
from transformers import Trainer
from trl.trainer.sft_trainer import SFTTrainer

from medtune.errors import UnsupportedVersionError
from medtune.machine.libraries import import_bitsandbytes

__all__ = ["INTERNALS", "TESTED", "Internal", "TrainerInternals", "require_internals"]

TESTED = {
    "accelerate": ("1.15", "1.15"),
    "bitsandbytes": ("0.50", "0.50"),
    "torch": ("2.11", "2.13"),
    "transformers": ("5.17", "5.24"),
    "trl": ("1.15", "1.16"),
}
"""Oldest and newest tested release of each library; pyproject.toml's bounds, as a test compares."""


@dataclass(frozen=True, slots=True)
class Internal:
    """A member of a library's class that medtune relies on although no documentation promises it.

    Attributes:
        library: the distribution.
        owner: its class.
        name: the member.
        parameters: of a method, without ``self``; None where it is an attribute that the class itself sets.
        is_replaced: whether medtune overrides the method, so that other methods of the class have to call it.
    """

    library: str
    owner: type
    name: str
    parameters: tuple[str, ...] | None = None
    is_replaced: bool = True

    @property
    def fault(self) -> str | None:
        """What differs from the tested releases; None where nothing does."""
        shown = f"{self.owner.__name__}.{self.name}"
        if self.parameters is None:
            return None if self.name in _stored_names(self.owner) else f"no longer sets {shown}"
        method = getattr(self.owner, self.name, None)
        if method is None:
            return f"no longer has {shown}"
        found = tuple(inspect.signature(method).parameters)[1:]
        if found != self.parameters:
            return f"has {shown} with the parameters ({', '.join(found)}), not ({', '.join(self.parameters)})"
        is_called = any(self.name in code.co_names for name, code in _codes(self.owner) if name != self.name)
        return None if is_called or not self.is_replaced else f"no longer calls {shown}"


def _of_trainer() -> Iterator[Internal]:
    replaced = {
        "_clip_grad_norm": ("model",),
        "_get_num_items_in_batch": ("batch_samples", "device"),
        "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
        "_load_optimizer_and_scheduler": ("checkpoint",),
        "_load_rng_state": ("checkpoint",),
        "_load_scaler": ("checkpoint",),
        "_save_checkpoint": ("model", "trial"),
        "compute_loss": ("model", "inputs", "return_outputs", "num_items_in_batch"),
        "floating_point_ops": ("inputs",),
        "get_train_dataloader": (),
        "log": ("logs", "start_time"),
        "training_step": ("model", "inputs", "num_items_in_batch"),
    }
    for name, parameters in replaced.items():
        yield Internal("transformers", Trainer, name, parameters)
    counters = ("_tr_loss", "_total_loss_scalar", "_globalstep_last_logged")
    for name in (*counters, "model_accepts_loss_kwargs", "lr_scheduler", "model_wrapped", "optimizer"):
        yield Internal("transformers", Trainer, name)


def _of_bitsandbytes() -> Iterator[Internal]:
    import_bitsandbytes()
    if "bitsandbytes" not in sys.modules:  # an unquantized base trains without it
        return
    optimizer: type = import_module("bitsandbytes.optim.optimizer").Optimizer8bit
    yield Internal("bitsandbytes", import_module("bitsandbytes.nn").Linear4bit, "support_avx512bf16_for_cpu")
    yield Internal("bitsandbytes", optimizer, "is_paged")
    yield Internal("bitsandbytes", optimizer, "get_state_buffer", ("p", "dtype"), is_replaced=False)


INTERNALS = (
    *_of_trainer(),
    *_of_bitsandbytes(),
    Internal("accelerate", AcceleratedOptimizer, "optimizer"),
    Internal("torch", Adam, "_step_supports_amp_scaling"),
)


def require_internals(internals: Sequence[Internal] = INTERNALS) -> None:
    """Check the installed libraries.

    Raises:
        UnsupportedVersionError: one of them lacks a member, or has changed it.
    """
    for internal in internals:
        if fault := internal.fault:
            raise UnsupportedVersionError(internal.library, version(internal.library), fault, TESTED[internal.library])
    if not _fused_step_leaves_out():
        fault = "applies a fused update of Adam although its found_inf says no"
        raise UnsupportedVersionError("torch", version("torch"), fault, TESTED["torch"])


def _fused_step_leaves_out() -> bool:
    """Whether a fused optimizer leaves out the update that ``found_inf`` refuses; asked of one number."""
    weight = torch.ones(1, requires_grad=True)
    weight.grad = torch.ones(1)
    optimizer = Adam([weight], fused=True)
    setattr(optimizer, "found_inf", torch.ones(()))  # noqa: B010 - torch declares no such attribute
    optimizer.step()
    return weight.item() == 1.0


def _codes(owner: type) -> Iterator[tuple[str, CodeType]]:
    """Yield name and code of every method of a class and its bases."""
    for kind in owner.__mro__:
        for name, member in vars(kind).items():
            function = inspect.unwrap(member) if callable(member) else member
            if isinstance(function, FunctionType):
                yield name, function.__code__


@cache
def _stored_names(owner: type) -> frozenset[str]:
    """Return the names of the attributes that a class's methods set."""
    return frozenset(
        str(instruction.argval)
        for _name, code in _codes(owner)
        for instruction in get_instructions(code)
        if instruction.opname == "STORE_ATTR"
    )


require_internals()


class TrainerInternals(SFTTrainer):  # type: ignore[misc]  # trl ships no types
    """trl's trainer with public names for the private members that medtune replaces or reads.

    What transformers saves and loads as a checkpoint is replaced as a whole: ``save``, ``load`` and the three ``resume``
    methods are the subclass's.
    """

    lr_scheduler: Any
    model: Any
    model_wrapped: Any
    optimizer: Any

    @property
    def running_loss(self) -> Any:
        """Loss since the last record, fp32 [] on the device; the loop adds to it in place."""
        return self._tr_loss

    @property
    def counters(self) -> dict[str, Any]:
        """The loop's counters, as JSON values; waits for the device."""
        running = self._tr_loss.item()
        return {
            "running_loss": running,
            "logged_loss": self._total_loss_scalar,
            "logged_step": self._globalstep_last_logged,
        }

    def resume_counters(self, counters: Mapping[str, Any]) -> None:
        """Go on from what ``counters`` said, which the loop sets to zero when it begins."""
        self._tr_loss = torch.tensor(counters["running_loss"], device=self.args.device)
        self._total_loss_scalar = counters["logged_loss"]
        self._globalstep_last_logged = counters["logged_step"]
        # Unchecked: older releases have no such counter. Those that do tell callbacks the mean loss since this step.
        self._initial_global_step = 0

    @property
    def summed_loss(self) -> float:
        """Sum of the losses of all updates whose records are out; after training, of all updates."""
        return float(self._total_loss_scalar)

    def count_unlogged_loss(self) -> None:
        """Add the running loss to the sum, as the loop does when it ends."""
        self._total_loss_scalar += self._tr_loss.item()

    def divide_loss_once(self) -> None:
        """Tell the loop that ``compute_loss`` divides by the tokens of the whole update itself."""
        self.model_accepts_loss_kwargs = True

    def count_items(self, batches: list[dict[str, Any]], device: torch.device) -> Any:
        """Return what the losses of an update's micro-batches are divided by."""
        return super()._get_num_items_in_batch(batches, device)

    def clip(self, model: Any) -> Any:
        """Clip the gradients of an update and return their norm before."""
        return super()._clip_grad_norm(model)

    @property
    def device_leaves_out(self) -> bool:
        """Whether the optimizer can leave an update out by itself, on the device."""
        return bool(getattr(self._innermost_optimizer, "_step_supports_amp_scaling", False))

    def leave_out_if(self, bad: Any) -> None:
        """Let the optimizer leave the next update out on the device if ``bad``, fp32 [], is not 0."""
        self._innermost_optimizer.found_inf = bad

    @abstractmethod
    def save(self) -> None:
        """Save a checkpoint after the update that was just done."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Load the trained parameters, before optimizer and schedule exist."""

    @abstractmethod
    def resume_optimizer(self) -> None:
        """Go on with the optimizer and the schedule of the checkpoint that ``load`` read."""

    @abstractmethod
    def resume_scaler(self) -> None:
        """Go on with the gradient scaler of the checkpoint that ``load`` read."""

    @abstractmethod
    def resume_random_states(self) -> None:
        """Go on with the generators of the checkpoint that ``load`` read."""

    @property
    def _innermost_optimizer(self) -> Any:
        return getattr(self.optimizer, "optimizer", self.optimizer)  # accelerate wraps it

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Any:
        return self.count_items(batch_samples, device)

    def _clip_grad_norm(self, model: Any) -> Any:
        return self.clip(model)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        del model, trial
        self.save()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        del model
        self.load(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.resume_optimizer()

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.resume_scaler()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.resume_random_states()
