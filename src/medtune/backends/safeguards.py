"""What keeps a training honest from step to step: nothing is updated with NaN, and a micro-batch that is too big halves."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object

from medtune.errors import NonFiniteLossError, OutOfMemoryError
from medtune.plugins.contracts import Job
from medtune.specs import TrainSpec

__all__ = ["SENT_AS", "FiniteGuard", "MicroBatchSplitter", "average_gradients"]

SENT_AS = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""``train.reduce_dtype`` -> the type in which gradients are exchanged."""


_SMALLEST_SCALE = 1.0
"""Of the loss in fp16: gradients that exceed fp16 even so are no matter of the scale."""
Pass = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class _Watched:
    """An update that the device has decided on, and what the host needs should it have been left out."""

    step: int
    is_bad: Any
    is_known: Any
    losses: list[Any]
    samples: list[list[int]]
    undo: Callable[[], None]


class FiniteGuard:
    """Looks at every update before it is applied, or lets the device look and asks it one update later.

    Args:
        job: names the rows, takes the log records, and says whether to stop or to skip.
        world_size: processes that train together.

    Attributes:
        skipped: updates left out so far in the whole run.
    """

    def __init__(self, job: Job, world_size: int) -> None:
        self._job, self._world_size = job, world_size
        self.skipped = 0
        self._losses: list[Any] = []
        self._samples: list[list[int]] = []
        self._total_before: Any = None
        self._watched: _Watched | None = None

    def begin_update(self, samples: list[list[int]], total: Any) -> None:
        """Remember the samples of each micro-batch, and the running loss before the update."""
        self._samples, self._losses, self._total_before = samples, [], total.clone()

    def note_loss(self, loss: Any) -> None:
        """Remember the loss of a micro-batch, without waiting for the device."""
        self._losses.append(loss)

    def accepts(self, step: int, grad_norm: Any, scaler: Any) -> bool:
        """Say whether the update may be applied; waits for the device once per update.

        With a gradient scaler infinite gradients are part of its search for a scale, so only the loss counts then; such an
        update, which the scaler leaves out, is told, and counts once no smaller scale is left to try.

        Raises:
            NonFiniteLossError: it may not, and the job's policy is to stop or has skipped too often.
        """
        quantity, value = ("loss", torch.stack(self._losses).sum()) if scaler else ("gradient norm", grad_norm)
        finite = torch.isfinite(torch.as_tensor(value)).float()
        if scaler and self._world_size > 1:
            torch.distributed.all_reduce(finite, op=torch.distributed.ReduceOp.MIN)
        if finite.item():
            if scaler is None or self._is_in_reach(step, grad_norm, scaler):
                return True
            quantity = "gradient norm"
        self._refuse(step, quantity, self._losses, self._samples)
        return False

    def _is_in_reach(self, step: int, grad_norm: Any, scaler: Any) -> bool:
        """Say whether gradients are finite, or may be with a smaller scale of the loss; tell of an update left out for that."""
        if torch.isfinite(torch.as_tensor(grad_norm)):
            return True
        scale = float(scaler.get_scale())
        if scale < _SMALLEST_SCALE:
            return False
        told = {"event": "skipped update", "not_finite": "gradient norm", "row_ids": [], "loss_scale": scale}
        self._job.on_log({"step": step, **told})
        return True

    def watch(self, step: int, bad: Any, total: Any, undo: Callable[[], None]) -> None:
        """Note an update that the device applies or leaves out by itself; ``settle`` asks it later.

        Args:
            step: number of the update.
            bad: fp32 [], on the device, not 0 where the update is left out.
            total: running loss, set back on the device then.
            undo: takes back what the host counted of the update.
        """
        self.settle()
        total.copy_(torch.where(bad > 0, self._total_before, total))
        told, known = bad, None
        if bad.is_cuda:
            told, known = torch.empty(bad.shape, dtype=bad.dtype, pin_memory=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
            told.copy_(bad, non_blocking=True)
            known.record()
        self._watched = _Watched(step, told, known, self._losses, self._samples, undo)

    def settle(self) -> None:
        """Hear of the watched update, if there is one: it is over, or nearly so.

        Raises:
            NonFiniteLossError: as ``accepts``.
        """
        watched, self._watched = self._watched, None
        if watched is None:
            return
        if watched.is_known is not None:
            watched.is_known.synchronize()
        if watched.is_bad.item():
            watched.undo()
            self._refuse(watched.step, "gradient norm", watched.losses, watched.samples)

    def forget_loss(self, total: Any) -> None:
        """Take the losses of a skipped update out of the running loss, in place."""
        total.copy_(self._total_before)

    def _refuse(self, step: int, quantity: str, losses: list[Any], samples: list[list[int]]) -> None:
        bad = [not bool(torch.isfinite(loss)) for loss in losses]
        quantity, row_ids = "loss" if any(bad) else quantity, self._row_ids(samples, bad)
        train = self._job.spec.train
        skip = train.on_nonfinite == "skip" and self.skipped < train.max_skipped_steps
        event = "skipped update" if skip else "stopped"
        self._job.on_log({"step": step, "event": event, "not_finite": quantity, "row_ids": row_ids})
        if not skip:
            raise NonFiniteLossError(step, quantity, row_ids)
        self.skipped += 1

    def _row_ids(self, samples: list[list[int]], bad: list[bool]) -> list[str]:
        """Return the ids of the micro-batches with a bad loss, or of the whole update, over all processes."""
        micro_batches = [s for s, is_bad in zip(samples, bad, strict=True) if is_bad] or samples
        mine = [self._job.rows.row_id(sample) for samples in micro_batches for sample in samples]
        return [str(row_id) for row_id in gather_object(mine)] if self._world_size > 1 else mine


class MicroBatchSplitter:
    """Runs a micro-batch in as many parts as the device's memory demands.

    The loss is a sum over tokens divided by the tokens of the whole update, so parts add up to the same gradient:
    effective batch and loss stay what they were.

    Attributes:
        parts: parts that each micro-batch is run in; a power of two that only grows.
    """

    def __init__(self, job: Job) -> None:
        self._may_halve = job.spec.train.on_oom == "halve"
        self._job = job
        self.parts = 1

    def run(self, pass_over: Pass, inputs: Mapping[str, Any], model: Any, step: int) -> Any:
        """Return the summed loss of ``pass_over`` (forward and backward) over the parts of ``inputs``.

        Args:
            pass_over: runs forward and backward on some rows and returns their loss.
            inputs: tensors of the micro-batch, all [rows, ...]; anything else is for the whole only.
            model: holds the gradients.
            step: number of the update, for the log.

        Raises:
            OutOfMemoryError: one row alone does not fit, or the job does not allow to halve.
        """
        rows = len(inputs["input_ids"])
        while True:
            before = _gradients(model) if self._may_halve and self.parts < rows else None
            loss = self._try(pass_over, inputs)
            if loss is not None:
                return loss
            if before is None:
                raise OutOfMemoryError(memory_advice(self._job.spec.train, rows))
            for parameter, gradient in before:
                parameter.grad = gradient
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._divide(self.parts * 2, step)

    def agree(self, device: Any, step: int) -> None:
        """Take over the most parts that any process needs, so that a checkpoint of one holds for all."""
        parts = torch.tensor(self.parts, device=device)
        torch.distributed.all_reduce(parts, op=torch.distributed.ReduceOp.MAX)
        if parts.item() > self.parts:
            self._divide(int(parts.item()), step)

    def _divide(self, parts: int, step: int) -> None:
        self.parts = parts
        self._job.on_log({"step": step, "event": "out of memory", "micro_batch_parts": parts})

    def _try(self, pass_over: Pass, inputs: Mapping[str, Any]) -> Any:
        """Return the loss, or None when memory ran out; what the attempt held is free again on return."""
        loss: Any = None
        try:
            for part in _divided(inputs, self.parts):
                part_loss = pass_over(part)
                loss = part_loss if loss is None else loss + part_loss
        except torch.OutOfMemoryError:
            return None
        return loss


def memory_advice(train: TrainSpec, rows: int) -> str:
    """Return what to do where ``rows`` rows do not fit the device, as a sentence."""
    smaller = "lower train.per_device_batch_size" if rows > 1 else "lower train.max_length"
    if rows > 1 and train.micro_batch == "auto":  # the plan may have put several micro-batches together
        smaller = f"set train.micro_batch=as_written, {smaller}"
    halve = ", set train.on_oom=halve" if rows > 1 and train.on_oom != "halve" else ""
    recompute = ", set train.recompute=all" if train.recompute not in ("all", "offload") else ""
    return (
        f"the device ran out of memory with {rows} row(s) of {train.max_length} tokens; {smaller}{halve}{recompute}, "
        "or use a smaller quant.scheme; the last checkpoint is kept"
    )


def average_gradients(model: Any, world_size: int, sent_as: torch.dtype = torch.float32) -> None:
    """Put the mean over all processes into every gradient, as torch's wrapper does during the backward pass.

    For processes that may run out of memory one by one: inside a backward pass the others would wait for it for ever. And for
    gradients that are sent in another type than they have, each divided before, so that none overflows.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        if parameter.grad is None:  # an expert that this process's tokens did not take
            parameter.grad = torch.zeros_like(parameter)
    sent = [p.grad if p.grad.dtype == sent_as else (p.grad / world_size).to(sent_as) for p in parameters]
    begun: list[Any] = [torch.distributed.all_reduce(part, async_op=True) for part in sent]
    for work in begun:
        work.wait()
    for parameter, part in zip(parameters, sent, strict=True):
        if part is parameter.grad:
            parameter.grad /= world_size
        else:
            parameter.grad.copy_(part)


def _gradients(model: Any) -> list[tuple[Any, Any]]:
    """Return each trainable parameter with a copy of its gradient, which a failing backward pass may spoil."""
    trainable = (p for p in model.parameters() if p.requires_grad)
    return [(p, None if p.grad is None else p.grad.clone()) for p in trainable]


def _divided(inputs: Mapping[str, Any], parts: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of every tensor in ``parts`` equal shares (the last may be smaller)."""
    if parts == 1:
        yield dict(inputs)
        return
    rows = len(inputs["input_ids"])
    size = -(-rows // parts)
    for start in range(0, rows, size):
        # a layout of the whole does not divide; each part is laid out anew
        yield {n: value[start : start + size] for n, value in inputs.items() if isinstance(value, torch.Tensor)}
