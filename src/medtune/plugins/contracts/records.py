"""What is told of a training as it goes."""

from typing import Required, TypedDict

__all__ = ["StepRecord"]


class StepRecord(TypedDict, total=False):
    """What ``on_step`` is told of an update; a line of ``log.jsonl`` and the hook ``step_logged`` have no ``total_steps``.

    Every update is told with ``step`` and ``total_steps``; the other keys come with what is logged, and one that says nothing
    is absent. What a trainer of a plugin logs may hold more.

    Attributes:
        step: updates done.
        total_steps: updates of the whole run.
        epoch: passes over the packed rows, a fraction.
        loss: mean loss per supervised token since the last line, in nats.
        learning_rate: of the update.
        grad_norm: global norm of the gradient before it is scaled down.
        tokens: tokens trained on since the run began.
        supervised_tokens: those of them that carry loss.
        tokens_per_second: since the last line.
        memory_gib: peak of the device's memory, or of the process on a CPU, in GiB.
        loss_by_source: source -> mean loss per supervised token since the last line, in nats.
        supervised_by_source: source -> supervised tokens since the run began.
        evaluation: task -> its main figure, between 0 and 1, where the adapter was scored.
        macro: their mean; None where there is none.
        scoring_seconds: how long the scoring took.
        held_out_loss: loss per supervised token of the validation rows, in nats.
        held_out_loss_by_source: the same by source.
        event: what happened instead of a usual update, such as "out of memory".
        not_finite: which quantity was NaN or infinite.
        row_ids: rows of that update.
        micro_batch_parts: in how many parts a micro-batch is computed from then on.
        fast_path: why the fast path stays off.
    """

    step: Required[int]
    total_steps: Required[int]
    epoch: float | None
    loss: float
    learning_rate: float | None
    grad_norm: float | None
    tokens: int
    supervised_tokens: int
    tokens_per_second: float
    memory_gib: float
    loss_by_source: dict[str, float]
    supervised_by_source: dict[str, int]
    evaluation: dict[str, float]
    macro: float | None
    scoring_seconds: float
    held_out_loss: float
    held_out_loss_by_source: dict[str, float]
    event: str
    not_finite: str
    row_ids: list[str]
    micro_batch_parts: int
    fast_path: str
