"""Drafts of answers: the form that a task expects of one, as the token ids with which the model was trained to write it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from medtune.data.encode import Encoder
from medtune.errors import DataError
from medtune.evaluation.scoring import find_task
from medtune.plugins.contracts import AnswerForm, Completion, Draft, Example, GenerationRequest, Prediction, Task

__all__ = ["KeptCompletions", "draft_of", "drafts_of", "form_of"]

_UNLIKE = 3
"""Tokens at the beginning of an answer that may differ from those of its text alone, by what the template puts before it."""

_Span = tuple[int, int]


class KeptCompletions:
    """Asks a model and keeps what it said, for what is told of drafts.

    Args:
        answer: requests -> their completions in order.
    """

    def __init__(self, answer: Callable[[Sequence[GenerationRequest]], Sequence[Completion]]) -> None:
        self._answer = answer
        self._completions: Sequence[Completion] = ()

    def __call__(self, requests: Sequence[GenerationRequest]) -> Sequence[Completion]:
        """Return the completions of requests."""
        self._completions = self._answer(requests)
        return self._completions

    def drafts_told(self, predictions: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
        """Return task -> ``answer_tokens``, ``drafted_tokens`` and ``accepted_share``; empty where nothing was drafted.

        Args:
            predictions: read from the completions, in the same order.
        """
        sums: dict[str, list[int]] = {}
        for prediction, found in zip(predictions, self._completions, strict=True):
            counts = sums.setdefault(prediction.example.task or "", [0, 0, 0])
            for i, count in enumerate((len(found.token_ids), found.drafted_tokens, found.accepted_tokens)):
                counts[i] += count
        return {
            task: {"answer_tokens": tokens, "drafted_tokens": drafted, "accepted_share": round(accepted / drafted, 4)}
            for task, (tokens, drafted, accepted) in sorted(sums.items())
            if drafted
        }


def drafts_of(examples: Sequence[Example], encoder: Encoder, tasks: Sequence[Task]) -> list[Draft | None]:
    """Return a draft for each example whose task has a ``draft``; None for any other.

    Args:
        examples: rows; their answers are not looked at.
        encoder: of the run.
        tasks: the registered tasks.
    """
    found: list[Draft | None] = []
    known: dict[tuple[str, str, str], list[int]] = {}
    for example in examples:
        form = form_of(example, find_task(example, tasks))
        found.append(None if form is None else draft_of(example, form, encoder, known))
    return found


def form_of(example: Example, task: Task | None) -> AnswerForm | None:
    """Return what a task expects of an answer, None where it does not say."""
    propose = getattr(task, "draft", None)
    found: AnswerForm | None = propose(example) if propose else None
    return found


def draft_of(
    example: Example, form: AnswerForm, encoder: Encoder, known: dict[tuple[str, str, str], list[int]]
) -> Draft | None:
    """Return a form as token ids, None where this tokenizer or template does not let them be told.

    Args:
        example: the row; its answer is not looked at.
        form: of the answer.
        encoder: of the run.
        known: ids of choices that were found already, filled.
    """
    if not encoder.tokenizer.is_fast:
        return None
    first = form.choices[0] if form.choices else ""
    text, spans = _spelled(form.fixed, first)
    whole = _answer_ids(example, text, encoder) if text == text.strip() and text else None
    if whole is None:
        return None
    own, places = _placed(text, spans, encoder.tokenizer)
    shift = len(whole) - 1 - len(own)  # the last one ends the answer
    if whole[shift + _UNLIKE : -1] != own[_UNLIKE:] or shift < -_UNLIKE:
        return None
    places = [(begin + shift, end + shift) for begin, end in places]
    if places and places[0][0] < 0:
        return None
    ends = [0, *(end for _, end in places)]
    fixed = [whole[start:begin] for start, (begin, _) in zip(ends, places, strict=False)] + [whole[ends[-1] :]]
    found: list[list[int]] = []
    for choice in form.choices if places else ():
        key = form.fixed[0], choice, form.fixed[1][:1]
        if key not in known:
            line, (span,) = _spelled(form.fixed[:2], choice)
            ids, ((begin, end),) = _placed(line, [span], encoder.tokenizer)
            known[key] = ids[begin:end]
        found.append(known[key])
    return Draft(fixed, found)


def _spelled(fixed: Sequence[str], choice: str) -> tuple[str, list[_Span]]:
    """Return the text of an answer with the same choice everywhere, and where the choices stand in it."""
    text, spans = fixed[0], list[_Span]()
    for piece in fixed[1:]:
        spans.append((len(text), len(text) + len(choice)))
        text += choice + piece
    return text, spans


def _answer_ids(example: Example, text: str, encoder: Encoder) -> list[int] | None:
    """Return the ids of a text as the answer to an example, up to the id that ends it."""
    answered = replace(example, messages=(*example.messages[:-1], {"role": "assistant", "content": text}))
    try:
        encoded = encoder.encode(answered)
    except DataError:
        return None
    begin = len(encoded.supervised) - 1
    while begin >= 0 and not encoded.supervised[begin]:
        begin -= 1
    end = begin + 1
    while begin > 0 and encoded.supervised[begin - 1]:
        begin -= 1
    ids = list(encoded.input_ids[begin:end])
    last = next((i for i, token in enumerate(ids) if token in encoder.stop_ids), None)
    return ids[: last + 1] if last is not None else None


def _placed(text: str, spans: Sequence[_Span], tokenizer: Any) -> tuple[list[int], list[_Span]]:
    """Return the ids of a text, and of which of them each span of characters is made."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets: list[_Span] = encoded["offset_mapping"]
    places: list[_Span] = []
    token = 0
    for start, stop in spans:
        while offsets[token][1] <= start:
            token += 1
        first = token
        while token < len(offsets) and offsets[token][0] < stop:
            token += 1
        places.append((first, token))
    return list(encoded["input_ids"]), places
