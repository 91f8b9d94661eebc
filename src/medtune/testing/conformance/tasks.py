"""Checks on tasks."""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medtune.plugins.contracts import Example, Prediction, TaskScore
from medtune.testing.conformance.checks import Case, NotTriedError, check
from medtune.testing.conformance.samples import STOCK_EXAMPLES, STRANGE_TEXTS

__all__: list[str] = []

_WORST = ("", "zzz", "</s>", "qqq qqq qqq")
_CLOSE = 1e-9
_MOST_TOKENS = 100_000


@check("task-matches", "task", "matches says True or False of any example, the same each time, and raises for none.")
def matches_any(case: Case) -> str | None:
    """Ask about examples of all sorts."""
    turns = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    strange = [Example(turns), Example(turns[1:]), Example(turns, source="\x00"), *STOCK_EXAMPLES]  # type: ignore[arg-type]
    for example in strange:
        found, again = (case.thing.matches(example) for _ in range(2))
        if not isinstance(found, bool):
            return f"matches returned a {type(found).__name__}"
        if found is not again:
            return "matches gave two answers for one example"
    return None


@check("task-limit", "task", "max_new_tokens returns a whole number from 1 up, also for long prompts.")
def has_limit(case: Case) -> str | None:
    """Ask with short and long prompts."""
    for example in _examples(case):
        for tokens in (1, 60, 30_000):
            found = case.thing.max_new_tokens(example, tokens)
            if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _MOST_TOKENS + 2 * tokens:
                return f"max_new_tokens returned {found!r:.20} for {tokens} tokens"
    return None


@check("task-parse", "task", "parse takes any text, empty, huge, of other scripts or broken, and raises for none.")
def parses_any(case: Case) -> str | None:
    """Parse what models give and do not give."""
    for example in _examples(case):
        for number, text in enumerate(STRANGE_TEXTS):
            try:
                case.thing.parse(text, example)
            except Exception as error:  # noqa: BLE001 - any is wrong
                return f"parse raised {type(error).__name__} for strange text {number} ({len(text)} characters)"
    return None


@check("task-parse-steady", "task", "parse gives the same for the same text and example.")
def parses_steadily(case: Case) -> str | None:
    """Parse twice."""
    for example in _examples(case):
        gold = example.messages[-1]["content"]
        first, again = (repr(_comparable(case.thing.parse(gold, example))) for _ in range(2))
        if first != again and " at 0x" not in first:
            return "the same text was parsed differently"
    return None


@check(
    "task-score", "task", "score returns a TaskScore: as many rows as predictions, a primary that is among the metrics."
)
def scores(case: Case) -> str | None:
    """Score answers of all sorts."""
    for predictions in _sets(case).values():
        score = case.thing.score(predictions)
        if not isinstance(score, TaskScore):
            return f"score returned a {type(score).__name__}"
        if score.rows != len(predictions):
            return f"{score.rows} rows for {len(predictions)} predictions"
        if score.primary not in score.metrics and score.primary not in score.undefined:
            return f"primary '{score.primary}' is among neither metrics nor undefined figures"
    return None


@check("task-bounded", "task", "Metrics, failures and intervals lie between 0 and 1, and are finite.")
def is_bounded(case: Case) -> str | None:
    """Look at all figures."""
    for name, predictions in _sets(case).items():
        score = case.thing.score(predictions)
        figures: dict[str, Any] = {**score.metrics, **score.failures}
        for figure, value in figures.items():
            if not _is_share(value):
                return f"{figure} is {value!r:.20} on {name} answers"
        for figure, (low, high) in score.intervals.items():
            if not (_is_share(low) and _is_share(high) and low <= high):
                return f"the interval of {figure} is [{low!r:.9}, {high!r:.9}] on {name} answers"
    return None


@check("task-perfect", "task", "The gold answers themselves score 1 in the primary figure, and fail in nothing.")
def rewards_gold(case: Case) -> str | None:
    """Score the gold answers."""
    score = case.thing.score(_perfect(case))
    if score.primary in score.undefined:
        raise NotTriedError("the primary figure is undefined on the sample examples")
    if abs(score.metrics[score.primary] - 1) > _CLOSE:
        return f"{score.primary} is {score.metrics[score.primary]:.3g} on the gold answers"
    failing = [name for name, rate in score.failures.items() if rate > _CLOSE]
    return f"{failing[0]} counts gold answers as failures" if failing else None


@check("task-worst", "task", "Answers that say nothing score less than the gold answers.")
def punishes_nonsense(case: Case) -> str | None:
    """Compare worst with perfect."""
    best = case.thing.score(_perfect(case))
    for text in _WORST:
        score = case.thing.score([replace(each, text=text) for each in _perfect(case)])
        if score.primary in score.undefined or best.primary in best.undefined:
            continue
        if score.metrics[score.primary] >= best.metrics[best.primary]:
            return f"{score.primary} is {score.metrics[score.primary]:.3g} on answers that say nothing"
    return None


@check("task-any-order", "task", "The score does not depend on the order of the predictions.")
def ignores_order(case: Case) -> str | None:
    """Score them forwards and backwards."""
    for name in ("perfect", "mixed"):
        predictions = _sets(case)[name]
        for other in (predictions[::-1], predictions[1:] + predictions[:1]):
            one, two = case.thing.score(predictions), case.thing.score(other)
            if not _is_close(one.metrics, two.metrics) or not _is_close(one.failures, two.failures):
                return f"other figures on {name} answers in another order"
    return None


@check("task-steady", "task", "The same predictions score the same again; nothing is kept between calls.")
def is_steady(case: Case) -> str | None:
    """Score, score others, score again."""
    first = case.thing.score(_perfect(case))
    case.thing.score(_sets(case)["mixed"])
    again = case.thing.score(_perfect(case))
    return None if _is_close(first.metrics, again.metrics) else "other figures for the same predictions"


@check("task-keeps-examples", "task", "No method writes into the examples that it is given; others are asked the same.")
def keeps_examples(case: Case) -> str | None:
    """Compare with a copy after each method."""
    examples = copy.deepcopy(_examples(case))
    before = copy.deepcopy(examples)
    given = [Prediction(each, each.messages[-1]["content"]) for each in examples]
    one, thing = examples[0], case.thing
    asked = {
        "matches": (one,),
        "max_new_tokens": (one, 60),
        "parse": ("", one),
        "draft": (one,),
        "score": (given,),
        "tally": (given,),
    }
    for name, values in asked.items():
        if hasattr(thing, name):
            getattr(thing, name)(*values)
        if examples != before:
            return f"{name} changed an example"
    return None


@check("task-json", "task", "details hold JSON values, without the text of a row.")
def has_json_details(case: Case) -> str | None:
    """Write the details down."""
    for predictions in _sets(case).values():
        try:
            text = json.dumps(dict(case.thing.score(predictions).details))
        except (TypeError, ValueError) as error:
            return f"details are no JSON values: {type(error).__name__}"
        if any(
            json.dumps(turn["content"])[1:-1] in text for each in predictions for turn in each.example.messages[:-1]
        ):
            return "details hold the text of a row"
    return None


@check("task-tally", "task", "tally counts a row per prediction, and its figures are those of score.")
def tallies(case: Case) -> str | None:
    """Compare the tally with the score."""
    if not hasattr(case.thing, "tally"):
        raise NotTriedError("it has no tally, so its figures get no intervals")
    predictions = _sets(case)["mixed"]
    tally, score = case.thing.tally(predictions), case.thing.score(predictions)
    if len(tally.counts) != len(predictions):
        return f"{len(tally.counts)} rows of counts for {len(predictions)} predictions"
    figures = tally.figures(tally.counts.sum(axis=0))
    for name, value in {**score.metrics, **score.failures}.items():
        if name in figures and abs(float(figures[name]) - value) > 1e-6:  # noqa: PLR2004 - rounding of sums
            return f"{name} is {float(figures[name]):.4f} by the tally and {value:.4f} by the score"
    return None


def _examples(case: Case) -> list[Example]:
    """Return examples that it matches: its own samples, those of the plugin's formatters, or stock ones."""
    key = "examples of task", case.name
    if key not in case.bench.kept:
        own: Sequence[Example] = getattr(case.thing, "samples", ())
        case.bench.kept[key] = list(own) or [each for each in _offered(case) if case.thing.matches(each) is True]
    examples: list[Example] = case.bench.kept[key]
    if not examples:
        raise NotTriedError("it matches no stock example; give the task `samples`, a list of examples that it matches")
    return examples


def _offered(case: Case) -> list[Example]:
    made = [
        formatter.format(dict(row))
        for formatter in case.subject.things("formatter")
        for row in getattr(formatter, "samples", ())
    ]
    return [*made, *STOCK_EXAMPLES]


def _perfect(case: Case) -> list[Prediction]:
    return [Prediction(each, each.messages[-1]["content"]) for each in _examples(case)]


def _sets(case: Case) -> dict[str, list[Prediction]]:
    """Return sets of predictions by what they are."""
    perfect = _perfect(case)
    mixed = [*perfect, replace(perfect[0], text=""), replace(perfect[-1], text=STRANGE_TEXTS[-3], truncated=True)]
    found = {"perfect": perfect, "mixed": mixed, "single": perfect[:1]}
    found |= {f"'{text}'": [replace(each, text=text) for each in perfect] for text in _WORST}
    return found


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and -_CLOSE <= value <= 1 + _CLOSE


def _is_close(one: Any, two: Any) -> bool:
    return one.keys() == two.keys() and all(abs(one[name] - two[name]) <= 1e-6 for name in one)  # noqa: PLR2004 - rounding


def _comparable(value: Any) -> Any:
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else value
