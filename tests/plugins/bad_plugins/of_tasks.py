"""Tasks with one fault each."""

import random
import re
from dataclasses import replace

from bad_plugins.making import Bad, providing
from medtune import Example
from medtune.plugins.contracts import TaskScore


class Right:
    """A right task, which the others break in one place."""

    name = "dose"
    samples = tuple(
        Example([{"role": "user", "content": "?"}, {"role": "assistant", "content": dose}], source="doses")
        for dose in ("5 mg", "7 mg", "9 mg")
    )

    def matches(self, example):
        return example.source == "doses"

    def max_new_tokens(self, example, prompt_tokens):
        return 16

    def parse(self, text, example):
        return text.split()[0] if text.split() else None

    def right(self, predictions):
        return [
            self.parse(p.text, p.example) == self.parse(p.example.messages[-1]["content"], p.example)
            for p in predictions
        ]

    def score(self, predictions):
        right = self.right(predictions)
        unread = [self.parse(each.text, each.example) is None for each in predictions]
        figures = {"accuracy": sum(right) / len(right)}
        return TaskScore(len(predictions), "accuracy", figures, {"unread": sum(unread) / len(unread)})


class Tallying(Right):
    """Counts too few rows."""

    def tally(self, predictions):
        from medtune.evaluation.tally import tally_ratios

        return tally_ratios("accuracy", {"accuracy": (self.right(predictions)[1:], [1] * (len(predictions) - 1))})


class OtherTally(Right):
    """Counts other figures than it scores."""

    def tally(self, predictions):
        from medtune.evaluation.tally import tally_ratios

        return tally_ratios("accuracy", {"accuracy": ([0] * len(predictions), [1] * len(predictions))})


def tasking(fault, check, seconds=60.0, **members):
    return Bad(fault, "task", check, providing("task", type("Wrong", (Right,), members)()), seconds)


def scoring(change):
    """Return a ``score`` whose outcome is changed."""
    return lambda self, predictions: change(self, predictions, Right.score(self, predictions))


def _percent(_self, _predictions, score):
    return replace(score, metrics={name: 100 * value for name, value in score.metrics.items()})


def _by_place(self, predictions, score):
    right = self.right(predictions)
    weights = range(1, len(right) + 1)
    return replace(score, metrics={"accuracy": sum(w for w, r in zip(weights, right, strict=True) if r) / sum(weights)})


def _with_memory(self, predictions, score):
    self.seen = [*getattr(self, "seen", []), *self.right(predictions)]
    return replace(score, metrics={"accuracy": sum(self.seen) / len(self.seen)})


def _generous(_self, _predictions, score):
    return replace(score, metrics={"accuracy": 1.0})


def _stern(_self, _predictions, score):
    return replace(score, metrics={"accuracy": score.metrics["accuracy"] * 0.9})


def _raise_on_empty(_self, text, _example):
    return text.split()[0]


def _raise_on_json(_self, text, _example):
    import json

    return json.dumps(json.loads(text)) if text.startswith("[") else text


def _hang(_self, text, _example):
    return bool(re.fullmatch(r"(x+x+)+y", text[:40])) or text.split()[:1] == ["5"]


def _quote(_self, predictions, score):
    return replace(score, details={"worst": [p.example.messages[0]["content"] + p.text for p in predictions]})


def _claim_in_turn(self, example):
    self.asked = getattr(self, "asked", 0) + 1
    return bool(self.asked % 2)


def _write(_self, predictions, score):
    predictions[0].example.messages[0]["content"] = "Another question ?"
    return score


def _write_while_parsing(_self, text, example):
    example.messages[0]["role"] = "system"
    return text


BAD = [
    tasking("writes into an example that it scores", "task-keeps-examples", score=scoring(_write)),
    tasking("writes into an example that it parses for", "task-keeps-examples", parse=_write_while_parsing),
    tasking("matches every other time", "task-matches", matches=_claim_in_turn),
    tasking("raises for an empty answer", "task-parse", parse=_raise_on_empty),
    tasking("raises for broken JSON", "task-parse", parse=_raise_on_json),
    tasking("hangs on a long answer", "calls-return", seconds=5.0, parse=_hang),
    tasking("parses at random", "task-parse-steady", parse=lambda _s, text, _e: random.random()),
    tasking("scores in percent", "task-bounded", score=scoring(_percent)),
    tasking("scores NaN", "task-bounded",
            score=scoring(lambda _s, _p, score: replace(score, metrics={"accuracy": float("nan")}))),
    tasking("counts failures instead of rates", "task-bounded",
            score=scoring(lambda _s, p, score: replace(score, failures={"unread": len(p)}))),
    tasking("has an interval upside down", "task-bounded",
            score=scoring(lambda _s, _p, score: replace(score, intervals={"accuracy": (0.9, 0.1)}))),
    tasking("counts no rows", "task-score", score=scoring(lambda _s, _p, score: replace(score, rows=0))),
    tasking("has a primary that is nowhere", "task-score",
            score=scoring(lambda _s, _p, score: replace(score, primary="f1"))),
    tasking("returns a mapping", "task-score", score=lambda _s, _p: {"accuracy": 1.0}),
    tasking("weighs by place", "task-any-order", score=scoring(_by_place)),
    tasking("remembers answers", "task-steady", score=scoring(_with_memory)),
    tasking("gives gold less than 1", "task-perfect", score=scoring(_stern)),
    tasking("fails gold", "task-perfect", score=scoring(lambda _s, _p, score: replace(score, failures={"unread": 1.0}))),
    tasking("rewards all", "task-worst", score=scoring(_generous)),
    tasking("matches with a text", "task-matches", matches=lambda _s, example: example.source),
    tasking("raises for other rows", "task-matches", matches=lambda _s, example: {"doses": True}[example.source]),
    tasking("lets answers take nothing", "task-limit", max_new_tokens=lambda _s, _e, _t: 0),
    tasking("lets answers take halves", "task-limit", max_new_tokens=lambda _s, _e, tokens: tokens / 2),
    tasking("has details that are no JSON", "task-json",
            score=scoring(lambda _s, _p, score: replace(score, details={"seen": {1, 2}}))),
    tasking("quotes rows in details", "task-json", score=scoring(_quote)),
    Bad("tallies too few rows", "task", "task-tally", providing("task", Tallying())),
    Bad("tallies other figures", "task", "task-tally", providing("task", OtherTally())),
    tasking("takes one argument too few", "signatures", parse=lambda _s, text: text),
]  # fmt: skip
