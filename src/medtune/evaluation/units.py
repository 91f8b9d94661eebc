"""What varies together among scored rows: the rows of one document, else each row for itself."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

from medtune.evaluation.recognition import answer_of, question_of
from medtune.plugins.contracts import Prediction

__all__ = ["lasting_units", "units_of"]


def units_of(predictions: Sequence[Prediction]) -> list[Hashable] | None:
    """Return what is resampled together: the document where a row names one, else the row; None when none does."""
    if not any(prediction.example.document for prediction in predictions):
        return None
    return [
        (prediction.example.source, prediction.example.document) if prediction.example.document else index
        for index, prediction in enumerate(predictions)
    ]


def lasting_units(predictions: Sequence[Prediction]) -> list[Hashable]:
    """Return the same, each row named by what it holds instead of its place, so that no draw depends on the order of rows.

    Two systems' answers to the same rows have the same units.
    """
    found: dict[int, Hashable] = {}
    times: Counter[str] = Counter()
    by_answer = sorted(enumerate(predictions), key=lambda each: (each[1].text, each[1].confidence or 0.0))
    for place, prediction in by_answer:  # rows that ask the same are told apart by their answers
        example = prediction.example
        if example.document:
            found[place] = (example.source, example.document)
            continue
        held = repr((example.source, question_of(example), answer_of(example)))
        name = hashlib.sha256(held.encode("utf-8", "surrogatepass")).hexdigest()
        times[name] += 1
        found[place] = (name, times[name])
    return [found[place] for place in range(len(predictions))]
