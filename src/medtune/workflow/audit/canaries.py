"""Asks a model for canaries: how far each secret stands out, and whether the model writes it by itself."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from medtune.data.canaries import SPACE, Canary, canaries_of, never_planted, other_secrets, system_of
from medtune.data.encode import Encoder
from medtune.evaluation.memorization.exposure import Exposure, exposure
from medtune.plugins.contracts import AnswerRequest, GenerationRequest
from medtune.workflow.answering import Answering
from medtune.workflow.audit.request import AuditRequest

__all__ = ["CanaryProbe", "Probed", "canary_figures", "probe", "probes_of"]

_TOGETHER = 64
"""Candidates that are scored together: each takes a copy of the prompt's keys and values."""
_ROOM = 8  # tokens that an answer may take beyond the true one
_NOT_DIGITS = re.compile(r"\D")
_NEAR = 1  # digits by which a written secret may differ


@dataclass(frozen=True, slots=True)
class CanaryProbe:
    """What is asked of a model for one canary.

    Attributes:
        canary: the canary.
        question: ids of the prompt alone.
        prefix: ids up to where its secret begins.
        answers: what follows the prefix, with the true secret first and then with others.
    """

    canary: Canary
    question: Sequence[int]
    prefix: Sequence[int]
    answers: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Probed:
    """What a model gave away of one canary."""

    exposure: Exposure
    exact: bool
    near: bool

    @property
    def is_found(self) -> bool:
        """Whether it was written word for word, or stands out beyond chance."""
        return self.exact or self.exposure.is_found


def probes_of(request: AuditRequest, encoder: Encoder) -> list[CanaryProbe]:
    """Return what to ask for the planted canaries and for as many that were never planted; nothing without any planted."""
    spec = request.spec
    planted = canaries_of(spec.data.canaries, spec.seed)
    controls = never_planted(spec.data.canaries, spec.seed) if planted else []
    system = system_of(spec)
    found: list[CanaryProbe] = []
    for canary in [*planted, *controls]:
        secrets = [canary.secret, *other_secrets(canary, request.candidates, spec.seed)]
        encoded = list(encoder.encode_spans([canary.example(system, secret) for secret in secrets]))
        rows = [ids.tolist()[: spans[-1][1]] for ids, spans in encoded]
        common = _common(rows)
        found.append(CanaryProbe(canary, rows[0][: encoded[0][1][-1][0]], rows[0][:common], [r[common:] for r in rows]))
    return found


def probe(answering: Answering, probes: Sequence[CanaryProbe]) -> list[Probed]:
    """Return what the model gives away as it stands: with its adapter, or inside ``base_only`` without."""
    asked = [AnswerRequest(each.prefix, part) for each in probes for part in _parts(each.answers)]
    scores = iter(answering.log_probabilities(asked))
    written = list(_written(answering, probes))
    found: list[Probed] = []
    for each, texts in zip(probes, written, strict=True):
        own, *others = [math.fsum(tokens) for part in _parts(each.answers) for tokens in next(scores)[: len(part)]]
        wrong = min(_wrong_digits(each.canary.secret, text) for text in texts)
        found.append(Probed(exposure(own, others, SPACE), wrong == 0, 0 < wrong <= _NEAR))
    return found


def canary_figures(probes: Sequence[CanaryProbe], tuned: Sequence[Probed], base: Sequence[Probed]) -> dict[str, Any]:
    """Return the figures of an audit, empty where no canary was planted.

    Returns:
        ``planted``, ``space_bits`` (exposure of the one secret that stands before all others), ``candidates``, and
        ``groups``: for each number of repeats, and for 0 (never planted), ``canaries`` with ``tuned`` and ``base``.
    """
    if not probes:
        return {}
    repeats = sorted({each.canary.repeats for each in probes})
    groups = []
    for times in repeats:
        chosen = [place for place, each in enumerate(probes) if each.canary.repeats == times]
        figures = {name: _group([of[place] for place in chosen]) for name, of in (("tuned", tuned), ("base", base))}
        groups.append({"repeats": times, "canaries": len(chosen), **figures})
    return {
        "planted": sum(group["canaries"] for group in groups if group["repeats"]),
        "space_bits": math.log2(SPACE),
        "candidates": len(probes[0].answers) - 1,
        "groups": groups,
    }


def _group(found: Sequence[Probed]) -> dict[str, Any]:
    bits = [each.exposure.bits for each in found]
    return {
        "found": sum(each.is_found for each in found),
        "extracted": sum(each.exact for each in found),
        "near": sum(each.near for each in found),
        "first": sum(each.exposure.rank == 1 for each in found),
        "exposure": {"median": median(bits), "least": min(bits), "most": max(bits)},
    }


def _written(answering: Answering, probes: Sequence[CanaryProbe]) -> Iterator[tuple[str, str]]:
    """Yield what the model writes after each prefix, and after each question alone."""
    prompts: list[GenerationRequest] = []
    for each in probes:
        longest = max(map(len, each.answers)) + _ROOM
        prompts.append(GenerationRequest(each.prefix, longest))
        prompts.append(GenerationRequest(each.question, longest + len(each.prefix) - len(each.question)))
    texts = [answering.text(completion) for completion in answering.answer(prompts)]
    yield from zip(texts[::2], texts[1::2], strict=True)


def _wrong_digits(secret: str, text: str) -> int:
    """Return in how many digits the first ones of a text differ from a secret's."""
    true = _NOT_DIGITS.sub("", secret)
    written = _NOT_DIGITS.sub("", text)[: len(true)].ljust(len(true))
    return sum(one != other for one, other in zip(true, written, strict=True))


def _parts(answers: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    yield from (answers[start : start + _TOGETHER] for start in range(0, len(answers), _TOGETHER))


def _common(rows: Sequence[Sequence[int]]) -> int:
    """Return how many ids all rows begin with, less than the whole of any."""
    least = min(map(len, rows)) - 1
    for place in range(least):
        if any(row[place] != rows[0][place] for row in rows):
            return place
    return least
