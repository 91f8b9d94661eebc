"""How many minutes a run takes from the command to its score, stage by stage, each with what the figure rests on.

Nothing is promised without a basis: a stage that nobody can estimate is None, and its basis says "not estimated" and why. What
is downloaded is left out, since nobody knows the line.
"""

from dataclasses import replace
from pathlib import Path

from medtune.data.base.folder import folder_of
from medtune.machine.probes import read_speed
from medtune.plugins.plan import DataSize, Plan
from medtune.specs import ModelSpec, RunSpec

__all__ = ["with_minutes"]

_LIBRARY_SECONDS = {"load": 5.0, "prepare": 5.0, "train": 4.0}
"""What importing takes in a fresh process, on two slow cores: torch and transformers before the rows are encoded, bitsandbytes and
peft before the base is loaded, trl before training."""
_PREPARED_TOKENS = 300_000
"""Tokens of rows that are read, checked, encoded and packed in a second: 556 rows a second of trl's preparation, and 2,750 of the
bare tokenizer, have 500,000; medtune reaches four fifths of the latter, half of that on a slow core."""
_WEIGHTS = ("*.safetensors", "*.bin")

_Told = tuple[float | None, str]
"""Seconds, None where they are not estimated, and what they rest on."""


def with_minutes(plan: Plan, spec: RunSpec, size: DataSize | None, *, is_here: bool) -> Plan:
    """Return a plan with its fields ``minutes`` and ``minutes_basis``.

    Args:
        plan: says how long training and scoring take.
        spec: the run.
        size: of the rows, None where it is unknown.
        is_here: whether it is planned for this machine: what is measured on it says nothing of another.
    """
    stages: dict[str, _Told] = {
        "load": _load(spec.model) if is_here else _unknown("another machine's disk was not measured"),
        "prepare": _prepare(size) if is_here else _unknown("another machine's cores were not measured"),
        "train": _train(plan),
        "score": _score(spec, plan.scoring_seconds),
    }
    seconds = [told for told, _basis in stages.values()]
    missing = [name for name, (told, _basis) in stages.items() if told is None]
    known = [told for told in seconds if told is not None]
    total: _Told = (sum(known), "all four; downloads come on top")
    if missing:
        total = _unknown(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not")
    stages["total"] = total
    return replace(
        plan,
        minutes={name: None if told is None else round(told / 60, 6) for name, (told, _basis) in stages.items()},
        minutes_basis={name: basis for name, (_told, basis) in stages.items()},
    )


def _unknown(why: str) -> _Told:
    return None, f"not estimated: {why}"


def _load(model: ModelSpec) -> _Told:
    folder = folder_of(model)
    files = [] if folder is None else [file for kind in _WEIGHTS for file in sorted(folder.glob(kind))]
    if not files or not all(file.is_file() for file in files):  # links of a cache may lead nowhere
        return _unknown("the base's weights are not on this machine yet")
    largest, count = max(files, key=_size), sum(map(_size, files))
    speed = read_speed(largest.resolve())
    libraries = _LIBRARY_SECONDS["load"]
    if speed is None:
        return libraries, f"{libraries:g} s for importing libraries; the base's files are too small to count"
    basis = f"{count / 1e9:.2f} GB at {speed / 1e9:.2f} GB/s, measured on their disk just now, and {libraries:g} s for libraries"
    return count / speed + libraries, basis


def _size(file: Path) -> int:
    return file.stat().st_size


def _prepare(size: DataSize | None) -> _Told:
    if size is None:
        return _unknown("the number of rows is not known before they are read")
    libraries = _LIBRARY_SECONDS["prepare"]
    if size.is_kept:
        return libraries, f"{libraries:g} s for importing libraries; the rows are prepared and kept already"
    rate = _PREPARED_TOKENS
    return size.tokens / rate + libraries, f"{rate:,} tokens a second on one core, and {libraries:g} s for libraries"


def _train(plan: Plan) -> _Told:
    if plan.seconds is not None:
        libraries = _LIBRARY_SECONDS["train"]
        return plan.seconds + libraries, f"{plan.speed_basis}; {libraries:g} s for importing libraries"
    if plan.tokens_per_second is not None:
        return _unknown("the number of tokens is not known before the rows are read")
    return _unknown("no speed is known for this device, storage or kind of model")


def _score(spec: RunSpec, scoring: float | None) -> _Told:
    if not spec.eval.enabled:
        return 0.0, "nothing is scored (eval.enabled=false)"
    if scoring is None:
        return _unknown("the number of sources, or the speed of this device, is not known")
    return (
        scoring,
        "rows by source, answers of 128 tokens or eval.max_new_tokens, at a share of the device's speed, measured on an H200, taken on a CPU",
    )
