"""Proves on the first micro-batch which way of computing the loss is right for this model, the fastest first."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from medtune.accel.model.agreement import Examination, Figures, TrainingLoss
from medtune.accel.model.micro_batch import SMALLEST, choose_rows
from medtune.accel.model.tolerances import WAYS, allowed_for, precision_of
from medtune.accel.train import FastPath, Refusal
from medtune.backends.losses import Loss, choose_route, fast_loss, loss_alone, own_loss, supervised_loss
from medtune.backends.safeguards import memory_advice
from medtune.errors import NonFiniteLossError, OutOfMemoryError, UnprovenBaseError
from medtune.plugins.contracts import Job, PackedRow

__all__ = ["Route", "prove_route"]

T = TypeVar("T")

_FAST = WAYS[0]
_MOST_TOKENS = 1024
"""Tokens of the proof's micro-batch: enough to see what differs far from a sample's begin, a second or two on 7B."""

_SCALES = (256.0, 16.0, 1.0)
"""Of the loss in the proof, the first that no gradient exceeds; a gradient scaler finds its own in training."""


@dataclass(frozen=True, slots=True)
class Route:
    """A proved way to compute the loss.

    Attributes:
        path: the fast path, or why it is off.
        loss: what stands in the place of the base's ``forward`` while it is trained.
        proof: JSON values: ``route``, the errors measured, ``tokens``, ``seconds``, and ``passed_over``, route -> reason.
    """

    path: FastPath | Refusal
    loss: Loss
    proof: Mapping[str, Any]


def prove_route(job: Job, *, measures: bool = False) -> Route:
    """Choose the fastest way of computing a job's loss that is right on its first micro-batch.

    In this order: the fast path; the model's own layers with its head on supervised tokens only; the model's own logits;
    each sample in a sequence of its own. Nothing of the model is changed by that.

    Args:
        job: what is trained.
        measures: whether the loss of the model as it stands is only looked at. Then gradients are not, and the fast path, which
            always computes with the adapter, is none of the ways.

    Raises:
        UnprovenBaseError: none of them is right, or the model is not causal.
        NonFiniteLossError: the model's own forward gives no number on these rows.
        OutOfMemoryError: not even one row of a few tokens fits.
        DataError: no training row holds a sample to prove it on.
    """
    began = time.perf_counter()
    path = Refusal("the loss is only measured") if measures else choose_route(job)
    most_tokens = _MOST_TOKENS
    while True:
        try:
            with torch.no_grad() if measures else nullcontext():
                return _proved(job, path, most_tokens, began, gradients=not measures)
        except torch.OutOfMemoryError as error:
            if most_tokens == 1:
                raise OutOfMemoryError(memory_advice(job.spec.train, job.spec.train.per_device_batch_size)) from error
            most_tokens = most_tokens // 2 if most_tokens // 2 >= SMALLEST else 1  # one row, and no more
        if isinstance(path, FastPath):  # outside the handler, whose error holds the failed pass's memory
            path.disable()


def _proved(job: Job, path: FastPath | Refusal, most_tokens: int, began: float, *, gradients: bool) -> Route:
    loaded, train = job.loaded, job.spec.train
    base = loaded.model.get_base_model()
    vocabulary = len(base.get_input_embeddings().weight)
    tokens = max(most_tokens, SMALLEST)
    rows = choose_rows(job.rows, train.per_device_batch_size, vocabulary, tokens, packs=train.packing)
    rows = rows[:1] if most_tokens == 1 and train.packing else rows
    precision = precision_of(train.precision, loaded.compute_dtype, on_cpu=loaded.device == "cpu")
    allowed = allowed_for(loaded.compute_dtype, precision, loaded.scheme)
    passed_over: dict[str, str] = {}
    pad = loaded.tokenizer.pad_token_id
    with Examination(loaded.model, rows, pad, precision, gradients=gradients).open() as examination:
        foresight = _tried(examination.foresight)
        if isinstance(foresight, str):
            raise UnprovenBaseError(_name(job), [f"its own forward: {foresight}"])
        if not foresight <= allowed.foresight:
            raise UnprovenBaseError(_name(job), [_cause(foresight)])
        if odd := _odd(examination, path, precision):
            raise NonFiniteLossError(0, odd, [job.rows.row_id(sample) for row in rows for sample in row.samples])
        for name, loss in _ways(path):
            figures = _tried(partial(examination.figures, _bound(loss, base), as_trained=name == _FAST))
            reason = figures if isinstance(figures, str) else allowed.excess(figures)
            if isinstance(figures, Figures) and reason and precision == loaded.compute_dtype == "fp32":
                reason = allowed.beside(examination.unsteadiness(as_trained=name == _FAST)).excess(figures)
            if isinstance(figures, Figures) and not reason:
                return _route(name, loss, path, passed_over, {**_told(figures, foresight), **_size(rows, began)})
            passed_over[name] = reason
            if isinstance(path, FastPath) and name == _FAST:
                path.disable()
    raise UnprovenBaseError(_name(job), [f"{name}: {reason}" for name, reason in passed_over.items()])


def _odd(examination: Examination, path: FastPath | Refusal, precision: str) -> str:
    """Return what of the model's own forward is no number, with the largest scale of the loss that gradients in fp16 stand."""
    odd = ""
    for scale in _SCALES if precision == "fp16" else _SCALES[-1:]:
        examination.rescale(scale)
        if isinstance(path, FastPath):
            path.scale_gradients(torch.tensor(scale))
        odd = examination.not_finite(as_trained=isinstance(path, FastPath))
        if odd != "gradient":
            break
    return odd


def _cause(foresight: float) -> str:
    """Return why a base is refused whose earlier logits are not what they were when later tokens change."""
    if math.isnan(foresight):
        return "its own forward gives logits that are NaN or infinite: its values overflow, or its weights are damaged"
    if math.isinf(foresight):
        return "its own forward says the same whatever its tokens are"
    return "a later token changes what it says of earlier ones: it is not causal"


def _ways(path: FastPath | Refusal) -> Iterator[tuple[str, Loss]]:
    losses: list[Loss | None] = [fast_loss(path) if isinstance(path, FastPath) else None]
    losses += [supervised_loss, own_loss, loss_alone]
    yield from ((way, loss) for way, loss in zip(WAYS, losses, strict=True) if loss is not None)


def _bound(loss: Loss, base: Any) -> TrainingLoss:
    def training_loss(batch: Mapping[str, Any]) -> tuple[Any, Any]:
        found = loss(base, **batch)
        return found["loss_sum"], found["token_losses"]

    return training_loss


def _tried(measure: Callable[[], T]) -> T | str:
    """Return what is measured, or what kept it from being computed."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model runs into, this way is not for it
        return f"it fails with {type(error).__name__}"


def _route(
    name: str, loss: Loss, path: FastPath | Refusal, passed_over: dict[str, str], facts: dict[str, Any]
) -> Route:
    if isinstance(path, FastPath) and name != _FAST:
        path = Refusal(f"on the first micro-batch {passed_over[_FAST]}")
    return Route(path, loss, {"route": name, **facts, "passed_over": passed_over})


def _told(figures: Figures, foresight: float) -> dict[str, float]:
    return {
        "loss_error": figures.loss,
        "gradient_error": figures.gradient,
        "gradient_scale_error": figures.scale,
        "leak": figures.leak,
        "foresight": foresight,
    }


def _size(rows: list[PackedRow], began: float) -> dict[str, Any]:
    tokens = sum(len(row.input_ids) for row in rows)
    samples = sum(len(row.lengths) for row in rows)
    return {"tokens": tokens, "samples": samples, "seconds": round(time.perf_counter() - began, 3)}


def _name(job: Job) -> str:
    return job.spec.model.path or job.spec.model.name
