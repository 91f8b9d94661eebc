"""What happens after every update of a training: report, score, save when it is time, stop when that is wished."""

import time
from typing import Any

from transformers import TrainerCallback

__all__ = ["UpdateCallback"]


class UpdateCallback(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Follows a ``ResumableSFTTrainer``.

    Args:
        trainer: whose callbacks these are.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._saved_at = time.monotonic()

    def on_train_begin(self, *_events: Any, **_kwargs: Any) -> None:
        """Start the counters."""
        self._saved_at = time.monotonic()
        self._trainer.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> Any:  # noqa: ARG002 - their signature
        """Report the update; score, save and stop when it is time."""
        trainer, job = self._trainer, self._trainer.job
        job.on_step(state.global_step)
        is_best, is_enough = trainer.score_if_due()
        reason, minutes = job.stop_reason(), job.spec.train.save_every_minutes
        is_time = minutes is not None and time.monotonic() - self._saved_at >= minutes * 60
        stop, save = trainer.agreed([reason is not None, is_time])
        if stop and not is_enough and state.global_step < state.max_steps:
            trainer.interrupted = reason or "another process was stopped"
            control.should_training_stop = True
        control.should_training_stop = control.should_training_stop or is_enough
        control.should_save = control.should_save or stop or save or is_best
        return control

    def on_save(self, *_events: Any, **_kwargs: Any) -> None:
        """Count the time to the next save from now on."""
        self._saved_at = time.monotonic()
