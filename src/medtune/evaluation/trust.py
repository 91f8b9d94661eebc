"""Judges the confidence of predictions per task and source: which answers are right, and which of them are sure."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from medtune.evaluation.selective import Judged, judge
from medtune.evaluation.tally import Array, Tally
from medtune.plugins.contracts import Prediction

__all__ = ["judge_confidence", "right_answers"]

_DEGREES = frozenset({"rouge_l", "token_f1"})
"""Figures of texts: by them no answer is right or wrong."""
_WHOLE = 1 - 1e-12


def right_answers(tally: Tally) -> Array:
    """Return [rows] 1 for right answers, 0 for wrong ones, nan for those that are neither, such as free texts.

    An answer is right by its accuracy where the task has one, else when the row by itself has 1 in the main figure (all
    spans or items, and no other), or there is nothing to find in it and nothing is claimed. One that cannot be read is
    wrong.
    """
    figures = tally.figures(tally.counts)
    if not len(tally.counts):
        return np.zeros(0)
    main = figures[tally.primary]
    right = np.where(np.isnan(main), 1.0, (main >= _WHOLE).astype(np.float64))
    if "accuracy" in figures:
        right = np.where(np.isnan(figures["accuracy"]), right, figures["accuracy"])
    if "invalid_answer" in figures:
        right = np.where(figures["invalid_answer"] > 0, 0.0, right)
    degrees = [figures[name] for name in _DEGREES if name in figures]
    is_text = np.any([~np.isnan(each) for each in degrees], axis=0) if degrees else np.zeros(len(right), dtype=bool)
    return np.where(is_text, np.nan, right)


def judge_confidence(
    predictions: Sequence[Prediction], right: Array, units: Sequence[Hashable], alpha: float
) -> dict[str, Any]:
    """Judge the rows that have a confidence and are right or wrong; ``left_out`` counts the others, by reason.

    Args:
        predictions: answers of one system.
        right: [rows] as ``right_answers`` gives it.
        units: what varies together, one per row.
        alpha: share of the trusted answers that may be wrong.
    """
    confidence = np.array([np.nan if p.confidence is None else p.confidence for p in predictions], dtype=np.float64)
    unsure, neither = np.isnan(confidence), np.isnan(right)
    kept = np.flatnonzero(~unsure & ~neither)
    left = {"without a confidence": int(unsure.sum()), "neither right nor wrong": int((neither & ~unsure).sum())}
    found = judge(Judged(confidence[kept], right[kept], [units[i] for i in kept]), alpha)
    return {**found, "left_out": {reason: count for reason, count in left.items() if count}}
