"""Checks on trainers, on a tiny base with medtune's own adapter and random rows."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job, PackedRow, TrainResult
from medtune.runs.store import CheckpointStore
from medtune.specs import RunSpec
from medtune.testing.conformance.checks import Case, NotTriedError, check
from medtune.testing.conformance.models import adapted, frozen_digest, kept, or_not_tried
from medtune.testing.tiny import RandomRows
from medtune.testing.tiny_run import adapter_digest

__all__: list[str] = []

_TRAIN: Mapping[str, Any] = {
    "max_length": 24, "num_train_epochs": 2, "per_device_batch_size": 2, "gradient_accumulation_steps": 1,
    "logging_steps": 1, "optim": "adamw_torch", "save_strategy": "steps", "save_steps": 2, "save_total_limit": 3,
    "precision": "fp32",
}  # fmt: skip
_STOP_AFTER = 2
_LOSS_TOLERANCE = 1e-3
"""Of fp32 sums in another order, with room; the losses of all tokens and of the supervised ones differ by more."""


class _Rows(RandomRows):
    """Random rows in arrays, as prepared rows are."""

    def __getitem__(self, index: int) -> PackedRow:
        import numpy as np

        row = super().__getitem__(index)
        ids, supervised = np.asarray(row.input_ids, np.int32), np.asarray(row.supervised, np.int8)
        return replace(row, input_ids=cast("Sequence[int]", ids), supervised=cast("Sequence[int]", supervised))


_ROWS = _Rows(count=4)


@dataclass
class _Fit:
    """A fit and what was seen of it."""

    result: Any
    digest: str
    was: str
    base_kept: bool
    total: int
    folder: Path
    steps: list[int] = field(default_factory=list[int])
    records: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])


@check(
    "trainer-result",
    "trainer",
    "fit returns a TrainResult with the updates done, a finite loss, tokens and seconds.",
    is_heavy=True,
)
def gives_result(case: Case) -> str | None:
    """Look at its fields."""
    fit = _whole(case)
    found = fit.result
    if not isinstance(found, TrainResult):
        return f"fit returned a {type(found).__name__}"
    if found.interrupted is None and not found.stopped_early and found.steps != fit.total:
        return f"it says {found.steps} updates where {fit.total} were asked for"
    if not math.isfinite(found.train_loss) or found.train_loss < 0:
        return f"train_loss is {found.train_loss!r:.20}"
    return None if found.tokens > 0 and found.seconds > 0 else "tokens or seconds are not above 0"


@check("trainer-learns", "trainer", "fit changes the adapter, and leaves it finite.", is_heavy=True)
def learns(case: Case) -> str | None:
    """Compare hashes of the trained values."""
    fit = _whole(case)
    if fit.digest == fit.was:
        return "the adapter is as it was"
    return "a value of the adapter is not finite" if fit.digest == "not finite" else None


@check("trainer-keeps-base", "trainer", "fit changes no value of the base.", is_heavy=True)
def keeps_base(case: Case) -> str | None:
    """Compare hashes of the frozen values."""
    return None if _whole(case).base_kept else "values of the base changed"


@check(
    "trainer-tells-steps", "trainer", "fit calls job.on_step after each update, with 1, 2, 3 and so on.", is_heavy=True
)
def tells_steps(case: Case) -> str | None:
    """Look at what was told."""
    fit = _whole(case)
    done = getattr(fit.result, "steps", fit.total)
    return None if fit.steps == list(range(1, done + 1)) else f"it told {fit.steps[:5]} of {done} updates"


@check(
    "trainer-logs",
    "trainer",
    "fit calls job.on_log with records of JSON values: a step that grows, a finite loss.",
    is_heavy=True,
)
def logs(case: Case) -> str | None:
    """Look at the records."""
    records = _whole(case).records
    if not any("loss" in each for each in records):
        return "no record with a loss"
    for each in records:
        try:
            json.dumps(dict(each), allow_nan=False)
        except (TypeError, ValueError):
            return "a record holds something else than finite JSON values"
    steps = [each["step"] for each in records if "step" in each]
    return None if steps == sorted(steps) and steps else "the records' steps do not grow"


@check(
    "trainer-loss",
    "trainer",
    "The loss of the supervised tokens alone is trained on, and told as train_loss.",
    is_heavy=True,
)
def has_right_loss(case: Case) -> str | None:
    """Compare with the model's own loss on the same rows, at a learning rate at which nothing moves."""
    import torch

    rows = _Rows(count=4, packed=False)
    options = {"learning_rate": 1e-12, "num_train_epochs": 1, "max_grad_norm": 1.0, "weight_decay": 0.0}
    options["per_device_batch_size"] = 1  # so that a trainer of one row per update sees all rows
    fit = _fit(case, options, rows=rows)
    loaded, losses = adapted(case.bench), list[float]()
    with torch.no_grad():
        for row in (rows[index] for index in range(len(rows))):
            found = loaded.model(input_ids=torch.tensor([list(map(int, row.input_ids))])).logits[0].log_softmax(-1)
            losses += [
                -float(found[at - 1, token])
                for at, (token, chosen) in enumerate(zip(row.input_ids, row.supervised, strict=True))
                if chosen and at
            ]
    wanted = sum(losses) / len(losses)
    off = abs(fit.result.train_loss - wanted) / wanted
    return f"train_loss {fit.result.train_loss:.4f} instead of {wanted:.4f}" if off > _LOSS_TOLERANCE else None


@check("trainer-seeded", "trainer", "The same seed, rows and spec give the same adapter.", is_heavy=True)
def is_seeded(case: Case) -> str | None:
    """Fit twice."""
    return None if _fit(case).digest == _whole(case).digest else "the second fit gave another adapter"


@check(
    "trainer-stops",
    "trainer",
    "Where job.stop_reason gives a reason fit ends after that update and returns it as interrupted.",
    is_heavy=True,
)
def stops(case: Case) -> str | None:
    """Ask it to stop."""
    found = _stopped(case).result
    if found.interrupted != "asked to":
        return f"interrupted is {found.interrupted!r:.40}"
    return None if found.steps == _STOP_AFTER else f"it stopped after {found.steps} updates instead of {_STOP_AFTER}"


@check(
    "trainer-resumes",
    "trainer",
    "A fit that was stopped and resumed from its checkpoint ends with the same adapter, to the bit.",
    is_heavy=True,
)
def resumes(case: Case) -> str | None:
    """Go on from the newest checkpoint."""
    stopped = _stopped(case)
    newest, _passed = CheckpointStore(stopped.folder / "checkpoints", 3).newest_whole()
    if newest is None:
        raise NotTriedError("it wrote no checkpoint, so an interrupted run of it begins anew")
    again = _fit(case, folder=stopped.folder, resume_from=newest.path)
    if again.result.steps != again.total:
        return f"after resuming it says {again.result.steps} updates instead of {again.total}"
    return None if again.digest == _whole(case).digest else "the resumed fit gave another adapter"


def _whole(case: Case) -> _Fit:
    found: _Fit = kept(case.bench, ("fit by trainer", case.name), lambda: _fit(case))
    return found


def _stopped(case: Case) -> _Fit:
    found: _Fit = kept(case.bench, ("stopped fit by", case.name), lambda: _fit(case, stop_after=_STOP_AFTER))
    return found


def _fit(
    case: Case,
    options: Mapping[str, Any] | None = None,
    *,
    rows: RandomRows = _ROWS,
    stop_after: int | None = None,
    folder: Path | None = None,
    resume_from: Path | None = None,
) -> _Fit:
    place = folder or case.bench.fresh("run")
    spec = RunSpec.model_validate(
        {"train": {**_TRAIN, **(options or {})}, "lora": {"dropout": 0.0}, "output_dir": str(place)}
    )
    loaded = adapted(case.bench)
    fit = _Fit(None, "", adapter_digest(loaded), False, total_steps(spec, len(rows)), place)
    before = frozen_digest(loaded.model)
    seed_all(spec.seed)
    job = Job(
        spec=spec, loaded=loaded, rows=rows, run_dir=place, total_steps=fit.total, resume_from=resume_from,
        on_log=lambda record: fit.records.append(dict(record)), on_step=fit.steps.append,
        stop_reason=lambda: "asked to" if fit.steps and fit.steps[-1] == stop_after else None,
    )  # fmt: skip
    with or_not_tried():
        fit.result = case.thing.fit(job)
    fit.digest = _finite_digest(loaded)
    fit.base_kept = frozen_digest(loaded.model) == before
    return fit


def _finite_digest(loaded: Any) -> str:
    import torch

    finite = all(bool(torch.isfinite(p).all()) for p in loaded.model.parameters() if p.requires_grad)
    return adapter_digest(loaded) if finite else "not finite"
