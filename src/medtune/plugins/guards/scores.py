"""What a task may not say: figures beyond their range, of other rows than it was given, or claims that are no claims."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medtune.plugins.contracts import Example, Prediction, TaskScore
from medtune.plugins.guards.boundary import Call
from medtune.plugins.guards.examples import lent, with_lent
from medtune.plugins.guards.values import ROUNDING, is_finite, is_json, is_share, is_whole

__all__ = ["checked_matches", "checked_max_new_tokens", "checked_score", "checked_tally"]

_FIGURES = "metrics and failures are numbers between 0 and 1 by their names, and the primary one is a metric"


_FIRST, _STRIDE = 8, 256
"""Examples that a task is asked about twice: the first ones, then every so many."""


def checked_matches(call: Call) -> Callable[[Example], bool]:
    """Return a task's ``matches``, which answers with True or False; about some examples it is asked twice."""
    asked = 0

    def matches(example: Example) -> bool:
        nonlocal asked
        asked += 1
        found = _claim(call, example)
        if asked <= _FIRST or not asked % _STRIDE:
            call.require(_claim(call, example) is found, "gave two answers for one example", "it gives the same again")
        return found

    return matches


def _claim(call: Call, example: Example) -> bool:
    found = lent(call, call.function, example)
    if found is not True and found is not False:
        raise call.fault(f"returned a {type(found).__name__}", "it returns True or False")
    return found


def checked_max_new_tokens(call: Call) -> Callable[[Example, int], int]:
    """Return a task's ``max_new_tokens``, which answers with a positive int."""

    def max_new_tokens(example: Example, prompt_tokens: int) -> int:
        found = lent(call, lambda given: call.function(given, prompt_tokens), example)
        if not is_whole(found, 1):
            told = f"{found}" if is_whole(found, -(1 << 62)) else f"a {type(found).__name__}"
            raise call.fault(f"returned {told}", "it returns a number of tokens, at least 1")
        return int(found)

    return max_new_tokens


def checked_score(call: Call) -> Callable[[Sequence[Prediction]], TaskScore]:
    """Return a task's ``score``, whose figures are held to their range."""

    def score(predictions: Sequence[Prediction]) -> TaskScore:
        found = with_lent(call, predictions)
        if not isinstance(found, TaskScore):
            raise call.fault(f"returned a {type(found).__name__}", "it returns a TaskScore")
        rows = len(predictions)
        call.require(
            is_whole(found.rows) and found.rows == rows, f"scored {found.rows!r} rows of {rows}", "it scores all"
        )
        _require_figures(call, found)
        _require_intervals(call, found)
        call.require(is_json(found.details), "gave details that are no JSON values", "they are written into files")
        call.require(is_json(dict(found.no_interval)), "gave reasons that are no texts", "no_interval is name -> why")
        return found

    return score


def _require_figures(call: Call, found: TaskScore) -> None:
    for part in ("metrics", "failures"):
        figures: Any = getattr(found, part)
        call.require(isinstance(figures, Mapping), f"gave {part} that are no mapping", _FIGURES)
        for name, value in figures.items():
            call.require(isinstance(name, str) and bool(name), f"gave {part} a name that is no text", _FIGURES)
            told = repr(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
            call.require(is_share(value), f"gave {part} '{name}' the value {told}", _FIGURES)
    is_known = found.primary in found.metrics or found.primary in found.undefined
    call.require(is_known, f"named '{found.primary}' as primary, which is no metric", _FIGURES)


def _require_intervals(call: Call, found: TaskScore) -> None:
    wanted = "an interval is a low and a high end between 0 and 1, around its figure"
    for name, interval in found.intervals.items():
        value = found.metrics.get(name, found.failures.get(name))
        call.require(value is not None, f"gave an interval of '{name}', which is no figure", wanted)
        ends = list(interval)
        call.require(len(ends) == 2 and all(map(is_share, ends)), f"gave '{name}' an interval that is none", wanted)  # noqa: PLR2004 - two ends
        low, high = ends
        slack = (high - low) / 2 + ROUNDING  # resampling may leave a figure just outside
        is_around = value is not None and low - slack <= value <= high + slack
        call.require(low <= high and is_around, f"gave '{name}' the interval {low} to {high}", wanted)


def checked_tally(call: Call) -> Callable[[Sequence[Prediction]], Any]:
    """Return a task's ``tally``: a row of finite counts for each prediction, and figures that stay in their range."""

    def tally(predictions: Sequence[Prediction]) -> Any:
        found = with_lent(call, predictions)
        counts = getattr(found, "counts", None)
        shape: Any = getattr(counts, "shape", ())
        call.require(hasattr(found, "__dataclass_fields__") and len(shape) == 2, _no_tally(found), _TALLY)  # noqa: PLR2004 - [rows, columns]
        assert counts is not None  # noqa: S101 - it has a shape
        call.require(shape[0] == len(predictions), f"counted {shape[0]} rows of {len(predictions)}", _TALLY)
        total = counts.sum(axis=0)
        call.require(all(is_finite(float(value)) for value in total), "gave counts that are not finite", _TALLY)
        figures, parts = _guarded_figures(call, found.figures), _guarded_parts(call, found)
        if len(predictions):
            names = {*figures(total), *parts["points"](range(len(predictions)))}
            call.require(found.primary in names, f"has no figure '{found.primary}', its primary one", _TALLY)
        return dataclasses.replace(found, figures=figures, **parts)

    return tally


_TALLY = "a tally has a row of counts for each prediction, in order, and figures between 0 and 1"


def _no_tally(found: Any) -> str:
    return f"returned a {type(found).__name__}, which is no Tally with a table of counts"


def _guarded_figures(call: Call, function: Callable[[Any], Mapping[str, Any]]) -> Callable[[Any], Mapping[str, Any]]:
    def figures(sums: Any) -> Mapping[str, Any]:
        found = call.boundary.run(f"{call.method}.figures", function, sums)
        for name, values in found.items():
            outside = ((values < -ROUNDING) | (values > 1 + ROUNDING)).any()  # nan, for what is undefined, is neither
            call.require(not outside, f"gave figures '{name}' beyond 0 and 1", _TALLY)
        return found

    return figures


def _guarded_parts(call: Call, found: Any) -> dict[str, Callable[..., Any]]:
    def part(name: str) -> Callable[..., Any]:
        function = getattr(found, name)
        return lambda *args: call.boundary.run(f"{call.method}.{name}", function, *args)

    return {name: part(name) for name in ("details", "points")}
