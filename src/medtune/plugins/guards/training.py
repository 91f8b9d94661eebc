"""What a trainer may not do: fewer or more updates than asked, a changed base, an adapter as it was, a loss that is none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from medtune.plugins.contracts import Job, TrainResult
from medtune.plugins.guards.boundary import Call
from medtune.plugins.guards.tensors import changed_among, sampled
from medtune.plugins.guards.values import is_finite, is_json, is_whole

__all__ = ["checked_fit", "checked_held_out_losses", "checked_prove"]

_STEPS = "it does job.total_steps updates, unless it says why it was interrupted or stopped early"
_TOLD = "job.on_step and job.on_log are told the updates done, one after the other"
_RESULT = "a TrainResult holds what was done: finite numbers, and JSON values"


def checked_fit(call: Call) -> Callable[[Job], TrainResult]:
    """Return a trainer's ``fit``, held to what the job asks and to the parameters that are the adapter's."""

    def fit(job: Job) -> TrainResult:
        frozen, trained = _parameters(job, trains=False), _parameters(job, trains=True)
        watch = _Watch(call, job.total_steps)
        found: Any = call.function(_watched(call, job, watch))
        call.boundary.require_passed()
        call.require(isinstance(found, TrainResult), f"returned a {type(found).__name__}", "it returns a TrainResult")
        _require_result(call, found)
        _require_steps(call, found, job, watch)
        changed = changed_among(frozen, sampled(job.loaded.model.named_parameters()))
        call.require(changed is None, f"changed the base's '{changed}'", "a trainer changes the adapter alone")
        _require_adapter(call, job, trained, watch)
        return found  # type: ignore[no-any-return]

    return fit


def _parameters(job: Job, *, trains: bool) -> dict[str, bytes]:
    return sampled((name, p) for name, p in job.loaded.model.named_parameters() if p.requires_grad == trains)


@dataclass(slots=True)
class _Watch:
    """The updates that a trainer tells of.

    Attributes:
        call: the ``fit`` that is watched.
        total: updates of the whole run.
        steps: last update that ``on_step`` was told.
        first: first of them.
        logged: last update that ``on_log`` was told.
    """

    call: Call
    total: int
    steps: int = 0
    first: int = 0
    logged: int = field(default=0)

    def step(self, step: Any) -> None:
        is_next = is_whole(step, 1) and self.steps < step <= self.total
        self.call.require(is_next, f"told step {_said(step)} after step {self.steps} of {self.total}", _TOLD)
        self.first = self.first or step
        self.steps = step

    def log(self, record: Any) -> None:
        self.call.require(isinstance(record, Mapping), f"logged a {type(record).__name__}", "a record is a mapping")
        step = record.get("step", self.logged)
        is_next = is_whole(step) and self.logged <= step <= self.total
        self.call.require(is_next, f"logged step {_said(step)} after step {self.logged} of {self.total}", _TOLD)
        self.logged = step


def _said(step: Any) -> str:
    return str(step) if isinstance(step, int | float) else f"of type {type(step).__name__}"


def _watched(call: Call, job: Job, watch: _Watch) -> Job:
    """Return the job whose callbacks check what they are told; what they raise themselves is not the trainer's fault."""
    ours = call.boundary.ours

    def on_step(step: int) -> None:
        watch.step(step)
        job.on_step(step)

    def on_log(record: Mapping[str, Any]) -> None:
        watch.log(record)
        job.on_log(record)

    told: dict[str, Any] = {"on_proof": ours(job.on_proof), "on_held_out": ours(job.on_held_out)}
    if job.on_evaluate is not None:
        told["on_evaluate"] = ours(job.on_evaluate)
    return replace(job, on_step=ours(on_step), on_log=ours(on_log), stop_reason=ours(job.stop_reason), **told)


def _require_result(call: Call, found: TrainResult) -> None:
    call.require(is_whole(found.steps), "told steps that are no number of updates", _RESULT)
    call.require(is_finite(found.train_loss), "told a train_loss that is not finite", _RESULT)
    call.require(is_whole(found.tokens), "told tokens that are no number", _RESULT)
    for name in ("seconds", "peak_memory_gib"):
        value = getattr(found, name)
        call.require(is_finite(value) and value >= 0, f"told {name} that are no number of at least 0", _RESULT)
    for name in ("interrupted", "fast_path", "stopped_early"):
        value = getattr(found, name)
        call.require(value is None or isinstance(value, str), f"told a reason ({name}) that is no text", _RESULT)
    call.require(is_json(dict(found.proof)), "told a proof that is no JSON value", _RESULT)


def _require_steps(call: Call, found: TrainResult, job: Job, watch: _Watch) -> None:
    done, total = found.steps, job.total_steps
    call.require(done <= total, f"did {done} updates of {total}", _STEPS)
    is_early = bool(found.interrupted or found.stopped_early)
    call.require(done == total or is_early, f"did {done} updates of {total}", _STEPS)
    if watch.steps:
        call.require(watch.steps == done, f"told {watch.steps} updates and returned {done}", _TOLD)
        call.require(found.tokens > 0, f"did {done} updates on no token", _RESULT)
    else:
        is_over = job.resume_from is not None or is_early or total == 0
        call.require(is_over, f"told none of its {done} updates", _TOLD)


def _require_adapter(call: Call, job: Job, before: Mapping[str, bytes], watch: _Watch) -> None:
    """Require an adapter that is finite and, after two updates, another one: a warm-up may begin at a rate of 0."""
    wanted = "the adapter's parameters are trained in place"
    for name, parameter in job.loaded.model.named_parameters():
        if name in before and not bool(parameter.isfinite().all()):
            raise call.fault(f"left the adapter's '{name}' with values that are not finite", wanted)
    if watch.steps - watch.first < 1:
        return
    after = sampled((name, p) for name, p in job.loaded.model.named_parameters() if name in before)
    call.require(changed_among(before, after) is not None, "left the adapter as it was", wanted)


def checked_prove(call: Call) -> Callable[[Job], Mapping[str, Any]]:
    """Return a trainer's ``prove``, which answers with JSON values."""

    def prove(job: Job) -> Mapping[str, Any]:
        found = call.function(job)
        call.require(isinstance(found, Mapping) and is_json(dict(found)), "returned no JSON values", _RESULT)
        return found  # type: ignore[no-any-return]

    return prove


def checked_held_out_losses(call: Call) -> Callable[..., Mapping[str, tuple[float, int]]]:
    """Return a trainer's ``held_out_losses``: source -> summed loss, and supervised tokens."""
    wanted = "it returns source -> (summed loss in nats, supervised tokens)"

    def held_out_losses(*args: Any, **kwargs: Any) -> Mapping[str, tuple[float, int]]:
        found = call.function(*args, **kwargs)
        call.require(isinstance(found, Mapping), f"returned a {type(found).__name__}", wanted)
        for source, pair in found.items():
            is_pair = isinstance(source, str) and isinstance(pair, tuple | list) and len(pair) == 2  # noqa: PLR2004
            call.require(is_pair, "returned what is no pair for a source", wanted)
            loss, tokens = pair
            call.require(isinstance(loss, float | int) and is_whole(tokens), "returned a pair of no numbers", wanted)
            call.require(not loss < 0, "returned a loss below 0", wanted)
        return found  # type: ignore[no-any-return]

    return held_out_losses
