"""Decides whether an artifact is the tuned model: its logits, its greedy answers, its prompts and what ends its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medtune.workflow.exporting.reference import Reference
from medtune.workflow.exporting.reload import Answers

__all__ = ["TOLERANCES", "Verdict", "judge"]

TOLERANCES: Mapping[str, float] = {
    "fp32": 1e-4,
    "fp16": 1e-2,
    "bf16": 5e-2,
    "F32": 1e-4,
    "F16": 1e-2,
    "BF16": 5e-2,
    "Q8_0": 5e-2,
    "int8": 0.1,
    "fp8": 0.2,
    "nf4": 0.5,
    "fp4": 0.6,
}
"""Precision or storage scheme -> largest difference of two logits that its rounding makes, as a share of the largest logit
(measured: docs/export.md). What is not listed has fewer than 8 bits and is bounded by ``_COARSE``."""
_COARSE = 0.6
_EXACT = {"fp32", "fp16", "bf16", "F32", "F16", "BF16"}
"""Precisions whose greedy answers must be equal, but where the two best logits lie closer than the measured error."""
_TOLD_APART = 2.0
"""Times the error by which the adapter must change the base's logits before it can be told whether it is in an artifact."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison found.

    Attributes:
        reader: what answered for the artifact.
        prompts: prompts answered; ``validation_prompts`` of them are validation rows of the run.
        validation_prompts: see ``prompts``.
        equal: answers whose ids are all equal.
        near_ties: answers that differ first where the two best logits lie closer than twice the measured error.
        differing: answers that differ otherwise.
        logit_error: largest difference of two logits.
        relative_error: the same as a share of the largest logit.
        mean_error: mean over prompts of the largest difference, as a share of the largest logit.
        base_distance: mean over prompts of the largest difference that the adapter makes, as a share of the largest logit.
        tolerance: largest ``relative_error`` that is allowed.
        told_apart: whether base and tuned model differ by enough to tell which of them the artifact is.
        prompts_equal: conversations whose ids by the artifact's own tokenizer and template are those of training, out of
            ``conversations``; None where its reader cannot say.
        conversations: see ``prompts_equal``.
        problems: why it is refused; empty where it is proved.
        note: what could not be asked.
    """

    reader: str
    prompts: int
    validation_prompts: int
    equal: int
    near_ties: int
    differing: int
    logit_error: float
    relative_error: float
    mean_error: float
    base_distance: float
    tolerance: float
    told_apart: bool
    prompts_equal: int | None
    conversations: int
    problems: tuple[str, ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, ``equal_share`` added."""
        return {**asdict(self), "equal_share": self.equal / max(1, self.prompts), "problems": list(self.problems)}


def judge(reference: Reference, found: Answers, roundings: Sequence[str]) -> Verdict:
    """Compare an artifact's answers with the tuned model's.

    Args:
        reference: the tuned model's.
        found: the artifact's, to the same questions.
        roundings: precisions and storage schemes that come between the two.
    """
    errors, to_base, from_base, largest = _distances(reference, found)
    asked = [n for n, limit in enumerate(reference.questions.limits) if limit]
    error = float(errors.max())
    equal, near, differing = _compare_ids(reference, found, asked, 2 * error)
    tolerance = max(TOLERANCES.get(rounding, _COARSE) for rounding in roundings)
    told = bool(from_base.mean() > _TOLD_APART * errors.mean()) or bool(from_base.mean() > tolerance * largest)
    problems = _ends(reference, found)
    problems += _of_logits(error, largest, tolerance, is_nearer_to_base=told and not errors.mean() < to_base.mean())
    if differing and set(roundings) <= _EXACT:
        problems.append(f"{differing} of {len(asked)} greedy answers differ where the tuned model is sure")
    prompts_equal, conversations = _prompts_equal(reference, found), len(reference.questions.conversation_ids)
    if prompts_equal is not None and prompts_equal < conversations:
        problems.append("its own tokenizer and chat template give other prompts than those of training")
    return Verdict(
        found.reader,
        len(asked),
        reference.questions.validation,
        equal,
        near,
        differing,
        error,
        error / largest,
        float(errors.mean()) / largest,
        float(from_base.mean()) / largest,
        tolerance,
        told,
        prompts_equal,
        conversations,
        tuple(problems),
        reference.questions.note,
    )


def _of_logits(error: float, largest: float, tolerance: float, *, is_nearer_to_base: bool) -> list[str]:
    """Return what is wrong with an artifact's logits, in words."""
    if not error <= tolerance * largest:  # also where it is not a number
        return [f"its logits are off by {error / largest:.2g} of the largest, and {tolerance:g} is rounding"]
    return ["its answers are nearer to the base's than to the tuned model's"] if is_nearer_to_base else []


def _distances(reference: Reference, found: Answers) -> tuple[Any, Any, Any, float]:
    """Return per prompt how far the artifact is from the tuned model, from the base, and the base from the tuned model."""
    import numpy as np

    tuned, base = reference.tuned.logits, reference.base
    largest = float(np.abs(tuned).max())
    if found.normalised:
        tuned, base = _log_probabilities(tuned), _log_probabilities(base)
    logits, width = found.logits, min(tuned.shape[1], found.logits.shape[1])
    given = np.isfinite(logits[:, :width]) if found.normalised else np.ones_like(logits[:, :width], dtype=bool)

    def distance(one: Any, other: Any) -> Any:
        difference = np.abs(one[:, :width] - other[:, :width])
        return np.where(given, difference, 0.0).max(axis=1)

    if tuned.shape[1] > width:  # ids that the artifact has no logits for
        return np.full(len(tuned), np.inf), np.full(len(tuned), np.inf), distance(base, tuned), largest
    unanswered = ~given.any(axis=1)
    errors = distance(logits, tuned)
    errors[unanswered] = np.inf
    return errors, distance(logits, base), distance(base, tuned), largest


def _log_probabilities(logits: Any) -> Any:
    import numpy as np

    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _compare_ids(reference: Reference, found: Answers, asked: Sequence[int], near: float) -> tuple[int, int, int]:
    """Return how many answers are equal, differ first at a near tie, and differ otherwise."""
    counts = [0, 0, 0]
    for n in asked:
        wanted = [*reference.tuned.ids[n], *([None] if reference.tuned.ended[n] else [])]
        answer = [*found.ids[n], *([None] if found.ended[n] else [])]
        place = next((p for p, (a, b) in enumerate(zip(wanted, answer, strict=False)) if a != b), None)
        if place is None and len(wanted) == len(answer):
            counts[0] += 1
        else:
            place = min(len(wanted), len(answer)) if place is None else place
            margins = reference.margins[n]
            counts[1 if place < len(margins) and margins[place] <= near else 2] += 1
    return counts[0], counts[1], counts[2]


def _prompts_equal(reference: Reference, found: Answers) -> int | None:
    if found.prompts is None:
        return None
    pairs = zip(reference.questions.conversation_ids, found.prompts, strict=True)
    return sum(list(wanted) == list(got) for wanted, got in pairs)


def _ends(reference: Reference, found: Answers) -> list[str]:
    """Say which ids end an answer in one of the two only."""
    if found.stop_ids is None:
        return []
    wanted, got = set(reference.tuned.stop_ids or ()), set(found.stop_ids)
    if wanted <= got:
        return []
    return [f"it does not end an answer at the ids {sorted(wanted - got)}"]
