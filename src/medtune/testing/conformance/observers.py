"""Checks on observers of runs."""

import copy
import inspect
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.plugins.plan import Plan
from medtune.specs import RunSpec
from medtune.testing.conformance.bench import CANARY
from medtune.testing.conformance.checks import Case, check
from medtune.testing.conformance.subject import hooks_of

__all__: list[str] = []

_STEPS = 20
_SECONDS_PER_STEP = 0.05

_RUN_ID = "0123456789abcdef0123456789abcdef"
_RECORD: Mapping[str, Any] = {
    "step": 1, "loss": 2.5, "learning_rate": 1e-4, "grad_norm": 1.0, "tokens": 100, "tokens_per_second": 1000.0,
    "memory_gib": 0.5, "sources": {"NCBI-disease": {"loss": 2.0, "tokens": 50}},
}  # fmt: skip
_PLAN = Plan(
    backends={"quantizer": "bitsandbytes", "adapter": "peft", "trainer": "trl", "generator": "transformers"},
    memory_gib={"base": 0.1}, fits=True, advice="", steps=_STEPS, tokens=2_000, licences=(), device="cpu",
    compute_dtype="fp32", recompute="none",
)  # fmt: skip


@dataclass
class _Run:
    """A finished run, as far as an observer may look at it."""

    path: Path
    state: str = "finished"
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def adapter_dir(self) -> Path:
        """Folder of the adapter."""
        return self.path / "adapter"


@check("observer-takes-run", "observer", "Its hooks take a whole run: started, steps logged, finished; none raises.")
def takes_run(case: Case) -> str | None:
    """Call its hooks as a run does, for two runs one after the other."""
    for _run in range(2):
        problem = _called(case, _finishing(case))
        if problem:
            return problem
    return None


@check(
    "observer-takes-failure", "observer", "run_failed takes any error, also without a step before it, and tells no row."
)
def takes_failure(case: Case) -> str | None:
    """Let a run fail at its start."""
    spec = _spec(case)
    error = ValueError(f"bad row: {CANARY}")
    return _called(case, iter([("run_started", (spec, _PLAN, _RUN_ID)), ("run_failed", (spec, error, _RUN_ID))]))


@check("observer-odd-records", "observer", "step_logged takes records with fewer, more and undefined figures.")
def takes_odd_records(case: Case) -> str | None:
    """Log records as a validation or a first step does."""
    records: list[dict[str, Any]] = [
        {"step": 1}, {"step": 2, "loss": math.nan}, {"step": 3, "loss": None}, {**_RECORD, "step": 4, "new": [1, {"a": None}]},
        {"step": 4, "evaluation": {"ner": {"span_f1_strict": 0.5}}}, {**_RECORD, "step": 4},
    ]  # fmt: skip
    started = [("run_started", (_spec(case), _PLAN, _RUN_ID))]
    return _called(case, iter([*started, *(("step_logged", (each, _RUN_ID)) for each in records)]))


@check("observer-keeps-values", "observer", "It leaves records and metrics as they are; others are handed them too.")
def keeps_values(case: Case) -> str | None:
    """Compare with copies."""
    for name, values in _finishing(case):
        shown = copy.deepcopy([_seen(value) for value in values])
        _call(case, name, values)
        if [_seen(value) for value in values] != shown:
            return f"{name} changed what it was handed"
    return None


@check("observer-quick", "observer", "step_logged returns within 50 ms: training waits for it.")
def is_quick(case: Case) -> str | None:
    """Time the steps; the middle one counts."""
    if "step_logged" not in hooks_of(case.subject.plugin):
        return None
    _call(case, "run_started", (_spec(case), _PLAN, _RUN_ID))
    times: list[float] = []
    for step in range(1, 6):
        began = time.perf_counter()
        _call(case, "step_logged", ({**_RECORD, "step": step}, _RUN_ID))
        times.append(time.perf_counter() - began)
    middle = sorted(times)[2]
    return f"a step took {middle * 1000:.0f} ms" if middle > _SECONDS_PER_STEP else None


@check("observer-in-its-place", "observer", "What it writes goes into the run folder, not where medtune was called.")
def writes_in_place(case: Case) -> str | None:
    """Look for new files in the working directory."""
    before = set(Path.cwd().iterdir())
    for name, values in _finishing(case):
        _call(case, name, values)
    new = sorted(path.name for path in set(Path.cwd().iterdir()) - before)
    return f"it wrote {', '.join(new[:3])} into the working directory" if new else None


def _spec(case: Case) -> RunSpec:
    folder = case.bench.fresh("observed")
    return RunSpec.model_validate({"output_dir": str(folder)})


def _finishing(case: Case) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the calls of a run that finishes."""
    spec = _spec(case)
    yield "run_started", (spec, _PLAN, _RUN_ID)
    for step in range(1, _STEPS + 1, 5):
        yield "step_logged", ({**copy.deepcopy(dict(_RECORD)), "step": step}, _RUN_ID)
    metrics = {
        "steps": _STEPS,
        "train_loss": 2.0,
        "scores": {"ner": {"metric": "f1", "base": 0.1, "tuned": 0.6, "rows": 9}},
    }
    (Path(spec.output_dir) / "adapter").mkdir()
    yield "run_finished", (_Run(Path(spec.output_dir), metrics=metrics), _RUN_ID)


def _called(case: Case, calls: Iterator[tuple[str, tuple[Any, ...]]]) -> str | None:
    for name, values in calls:
        try:
            _call(case, name, values)
        except Exception as error:  # noqa: BLE001 - foreign code; a run goes on without it
            return f"{name} raised {type(error).__name__}"
    return None


def _call(case: Case, name: str, values: tuple[Any, ...]) -> None:
    """Call a hook with those of its arguments that it takes."""
    function = hooks_of(case.subject.plugin).get(name)
    if function is None:
        return
    names = {"run_started": ("spec", "plan"), "step_logged": ("record",), "run_finished": ("run",)}
    given = dict(zip((*names.get(name, ("spec", "error")), "run_id"), values, strict=True))
    taken = inspect.signature(function).parameters
    function(**{key: value for key, value in given.items() if key in taken})


def _seen(value: Any) -> Any:
    """Return what must not change of a value."""
    return value.metrics if isinstance(value, _Run) else value if isinstance(value, dict) else None
