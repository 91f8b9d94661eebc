"""Proves on the first micro-batch which way of computing the loss is right for this model, the fastest first."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from medtune.accel.model.agreement import Examination, Figures, TrainingLoss
from medtune.accel.model.micro_batch import SMALLEST, choose_rows
from medtune.accel.train import FastPath, Refusal
from medtune.backends.losses import Loss, choose_route, fast_loss, loss_alone, own_loss, supervised_loss
from medtune.backends.safeguards import memory_advice
from medtune.errors import NonFiniteLossError, OutOfMemoryError, UnprovenBaseError
from medtune.plugins.contracts import Job, PackedRow

__all__ = ["TOLERANCES", "Route", "Tolerance", "prove_route"]

T = TypeVar("T")

_FAST = "fast path"
_MOST_TOKENS = 1024
"""Tokens of the proof's micro-batch: enough to see what differs far from a sample's begin, a second or two on 7B."""

_ROUNDINGS = 16
"""How much more a right pass moves than one rounding at its begin does: 4 measured on SmolLM2-135M, 30 layers, in fp32."""
_WIDEST = 10


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest figures that are taken for rounding, from measured right runs (docs/models.md)."""

    loss: float
    gradient: float
    scale: float
    leak: float
    foresight: float

    def beside(self, unsteady: Figures) -> "Tolerance":
        """Return the bounds for a model whose own figures are as unsteady as that, at most ten times these."""
        return Tolerance(
            loss=min(max(self.loss, _ROUNDINGS * unsteady.loss), _WIDEST * self.loss),
            gradient=min(max(self.gradient, _ROUNDINGS * unsteady.gradient), _WIDEST * self.gradient),
            scale=min(max(self.scale, _ROUNDINGS * unsteady.scale), _WIDEST * self.scale),
            leak=self.leak,
            foresight=self.foresight,
        )

    def excess(self, figures: Figures) -> str:
        """Return what is too large, as the end of a sentence; empty where nothing is."""
        wrong = {
            f"its loss is off by {figures.loss:.2g}": not figures.loss <= self.loss,  # so that NaN is refused
            f"its gradients are off by {figures.gradient:.2g}": not figures.gradient <= self.gradient,
            f"its gradients are scaled by {figures.scale:.2g} too much or too little": not figures.scale <= self.scale,
            f"samples that share a row see each other ({figures.leak:.2g})": not figures.leak <= self.leak,
        }
        return ", ".join(said for said, holds in wrong.items() if holds)


TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(loss=1e-5, gradient=1e-4, scale=1e-5, leak=1e-5, foresight=1e-5),
    "fp16": Tolerance(loss=5e-3, gradient=5e-2, scale=5e-3, leak=5e-3, foresight=5e-3),
    "bf16": Tolerance(loss=3e-2, gradient=0.4, scale=1e-2, leak=1e-2, foresight=1e-2),
    "fp8": Tolerance(loss=0.1, gradient=1.0, scale=5e-2, leak=1e-2, foresight=1e-2),
    "int8": Tolerance(loss=5e-2, gradient=0.5, scale=1.5e-2, leak=0.3, foresight=0.3),
}
"""By compute type, and by storage where that rounds more: in int8 every token of a batch rounds every other."""


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


def prove_route(job: Job) -> Route:
    """Choose the fastest way of computing a job's loss that is right on its first micro-batch.

    In this order: the fast path; the model's own layers with its head on supervised tokens only; the model's own logits;
    each sample in a sequence of its own. Nothing of the model is changed by that.

    Raises:
        UnprovenBaseError: none of them is right, or the model is not causal.
        NonFiniteLossError: the model's own forward gives no number on these rows.
        OutOfMemoryError: not even one row of a few tokens fits.
        DataError: no training row holds a sample to prove it on.
    """
    began = time.perf_counter()
    path, most_tokens = choose_route(job), _MOST_TOKENS
    while True:
        try:
            return _proved(job, path, most_tokens, began)
        except torch.OutOfMemoryError as error:
            if most_tokens == 1:
                raise OutOfMemoryError(memory_advice(job.spec.train, job.spec.train.per_device_batch_size)) from error
            most_tokens = most_tokens // 2 if most_tokens // 2 >= SMALLEST else 1  # one row, and no more
        if isinstance(path, FastPath):  # outside the handler, whose error holds the failed pass's memory
            path.disable()


def _proved(job: Job, path: FastPath | Refusal, most_tokens: int, began: float) -> Route:
    loaded, train = job.loaded, job.spec.train
    base = loaded.model.get_base_model()
    vocabulary = len(base.get_input_embeddings().weight)
    tokens = max(most_tokens, SMALLEST)
    rows = choose_rows(job.rows, train.per_device_batch_size, vocabulary, tokens, packs=train.packing)
    rows = rows[:1] if most_tokens == 1 and train.packing else rows
    precision = _precision(job)
    allowed = _allowed(loaded.compute_dtype, precision, loaded.scheme)
    passed_over: dict[str, str] = {}
    with Examination(loaded.model, rows, loaded.tokenizer.pad_token_id, precision).open() as examination:
        foresight = _tried(examination.foresight)
        if isinstance(foresight, str):
            raise UnprovenBaseError(_name(job), [f"its own forward: {foresight}"])
        if not foresight <= allowed.foresight:
            raise UnprovenBaseError(
                _name(job), ["a later token changes what it says of earlier ones: it is not causal"]
            )
        if odd := examination.not_finite(as_trained=isinstance(path, FastPath)):
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


def _allowed(*names: str) -> Tolerance:
    """Return the widest bounds of a run's compute types and storage; a storage that rounds no activations has none."""
    each = [asdict(TOLERANCES[name]) for name in names if name in TOLERANCES]
    return Tolerance(**{figure: max(bounds[figure] for bounds in each) for figure in each[0]})


def _precision(job: Job) -> str:
    """Return the type that the trainer lets torch cast to on a GPU, on a CPU that of the base."""
    wanted = job.spec.train.precision
    return job.loaded.compute_dtype if wanted == "auto" or job.loaded.device == "cpu" else wanted


def _ways(path: FastPath | Refusal) -> Iterator[tuple[str, Loss]]:
    if isinstance(path, FastPath):
        yield _FAST, fast_loss(path)
    yield "plain path", supervised_loss
    yield "plain path, own logits", own_loss
    yield "unpacked", loss_alone


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
