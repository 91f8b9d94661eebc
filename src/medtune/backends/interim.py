"""Scores during training: when they are due, which step was best, and when waiting for a better one ends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from medtune.backends.exact_state import random_states, restore_random_states
from medtune.plugins.contracts import Job

__all__ = ["InterimScores", "undisturbed"]


class InterimScores:
    """The scores of one run, by which its best checkpoint is kept and its patience counted.

    Attributes:
        best_step: update with the best score so far, None before the first score.
        since_best: scores since then that were no better.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._spec = job, job.spec.eval
        self._best: float | None = None
        self.best_step: int | None = None
        self.since_best = 0

    @property
    def keeps_best(self) -> bool:
        """Whether the adapter is taken from the best checkpoint in the end."""
        return self._job.on_evaluate is not None and self._spec.keep_best is not None

    @property
    def is_exhausted(self) -> bool:
        """Whether as many scores as the run's patience allows were no better than the best one."""
        return self._spec.patience is not None and self.since_best >= self._spec.patience

    def are_due(self, step: int, epoch: float | None) -> bool:
        """Say whether the model is scored after update ``step``, which ends at ``epoch`` passes over the rows.

        The last update is followed by the run's full scoring, so it is scored here only as a candidate for the best.
        """
        if self._job.on_evaluate is None or self._spec.every == "never":
            return False
        if step >= self._job.total_steps:
            return self.keeps_best
        if self._spec.every == "epoch":
            return epoch is not None and float(epoch).is_integer()
        return step % self._spec.every == 0

    def note(self, step: int, score: float | None) -> bool:
        """Remember a score and say whether it is the best one so far; the first of equal ones is.

        A score that is undefined (None), because nothing was there to find, is neither the best nor a worse one.
        """
        if score is None:
            return False
        if self._best is not None and score <= self._best:
            self.since_best += 1
            return False
        self._best, self.best_step, self.since_best = score, step, 0
        return True

    def forget(self) -> None:
        """Begin anew, where the best checkpoint is not there any more."""
        self._best, self.best_step, self.since_best = None, None, 0

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        own = {"best": self._best, "best_step": self.best_step, "since_best": self.since_best}
        return {**own, "metric": self._spec.keep_best or "macro"}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what ``to_json`` returned, unless another figure decides now."""
        if saved["metric"] == (self._spec.keep_best or "macro"):
            self._best, self.best_step, self.since_best = saved["best"], saved["best_step"], saved["since_best"]


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Let a model answer in the middle of its training: afterwards it is as it was, and so is every generator."""
    _free_caches()
    base = model.get_base_model()
    states, was_training = random_states(), model.training
    forward = base.__dict__.pop("forward", None)  # that of training returns losses only
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
        if forward is not None:
            base.forward = forward
        restore_random_states(states)
        _free_caches()


def _free_caches() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
