"""What a trainer of encoders may not answer: other rows than it was asked, or labels that there are not."""

from collections.abc import Callable
from typing import Any

from medtune.plugins.contracts import EncoderJob, EncoderKind, EncoderResult
from medtune.plugins.guards.boundary import Call
from medtune.plugins.guards.values import is_finite, is_json, is_whole

__all__ = ["checked_fit_and_answer"]

_LABELS = "it answers each asked row, in order: a label for each word, exactly one, or any number of them, by the kind"


def checked_fit_and_answer(call: Call) -> Callable[[EncoderJob], EncoderResult]:
    """Return a trainer's ``fit_and_answer``, which answers every row with labels that there are."""

    def fit_and_answer(job: EncoderJob) -> EncoderResult:
        found: Any = call.function(job)
        call.require(isinstance(found, EncoderResult), f"returned a {type(found).__name__}", "it is an EncoderResult")
        answers = list(found.labels)
        call.require(len(answers) == len(job.asked), f"answered {len(answers)} rows of {len(job.asked)}", _LABELS)
        for row, labels in zip(job.asked, answers, strict=True):
            _require_labels(call, job, len(row.text), labels)
        times = (found.training_seconds, found.answering_seconds)
        call.require(all(is_finite(t) and t >= 0 for t in times), "told a time that is none", "it is in seconds")
        call.require(is_json(dict(found.facts)), "told facts that are no JSON values", "they are written into a file")
        return found

    return fit_and_answer


def _require_labels(call: Call, job: EncoderJob, words: int, labels: Any) -> None:
    for label in labels:
        if not is_whole(label) or label >= len(job.labels):
            raise call.fault(f"gave a label that is none of the {len(job.labels)}", "it is the number of a label")
    wanted = {EncoderKind.TAGS: words, EncoderKind.LABEL: 1}.get(job.kind)
    if wanted is not None:
        call.require(len(labels) == wanted, f"gave {len(labels)} labels where {wanted} were asked", _LABELS)
    else:
        call.require(len(set(labels)) == len(labels), "gave a row the same label twice", _LABELS)
        call.require(bool(labels) or job.may_be_empty, "gave a row no label", _LABELS)
