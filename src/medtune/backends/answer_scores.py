"""Log-probabilities of given answers under a transformers model: each prompt is read once for all of its answers."""

from collections.abc import Iterator, Sequence
from typing import Any

from medtune.backends.halving import run_in_batches
from medtune.plugins.contracts import AnswerRequest, Loaded, TokenScores
from medtune.specs import EvalSpec

__all__ = ["answer_log_probabilities", "token_scores"]

_ROWS = 64
"""Answers that run through the model together where the spec says "auto"."""
_TOKENS = 4096
"""Tokens of answers, pads included, that run together at most: each holds its logits for a moment."""
_LIKE = 16  # tokens by which answers of one batch may differ in length, so that few of them are pads


def answer_log_probabilities(
    loaded: Loaded, requests: Sequence[AnswerRequest], spec: EvalSpec
) -> list[list[list[float]]]:
    """Return, for each request and each of its answers, the log-probability in nats of each token after those before.

    Args:
        loaded: model and tokenizer; an adapter counts as it is now.
        requests: prompts with their answers; every answer has at least one token.
        spec: ``batch_size`` is the number of answers that run together, half of it where memory is short.

    Raises:
        torch.OutOfMemoryError: not even the answers to one prompt fit.
    """
    import torch

    was_training = loaded.model.training
    loaded.model.eval()
    try:
        with torch.inference_mode():
            return run_in_batches(
                len(requests),
                _ROWS if spec.batch_size == "auto" else spec.batch_size,
                lambda left, rows: _score_some(loaded, requests, left, rows),
            )
    finally:
        loaded.model.train(was_training)


def token_scores(loaded: Loaded, request: AnswerRequest, top: int) -> list[list[TokenScores]]:
    """Return, for each answer, the log-probability of each token and the ``top`` most probable tokens in its place.

    Args:
        loaded: model and tokenizer; an adapter counts as it is now.
        request: a prompt with its answers; every answer has at least one token.
        top: how many.
    """
    import torch

    was_training = loaded.model.training
    loaded.model.eval()
    try:
        with torch.inference_mode():
            return [_scored(loaded, request.input_ids, answer, top) for answer in request.answers]
    finally:
        loaded.model.train(was_training)


def _scored(loaded: Loaded, prompt: Sequence[int], answer: Sequence[int], top: int) -> list[TokenScores]:
    import torch

    ids = torch.tensor([[*prompt, *answer]], device=loaded.device)
    read: Any = loaded.model(input_ids=ids, use_cache=False, logits_to_keep=len(answer) + 1)
    scores = read.logits[0, :-1].float().log_softmax(-1)
    given = scores.gather(1, ids[0, len(prompt) :, None])[:, 0].tolist()
    best = scores.topk(min(top, scores.shape[1]), -1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [TokenScores(one, tuple(zip(i, v, strict=True))) for one, (i, v) in zip(given, pairs, strict=True)]


def _score_some(
    loaded: Loaded, requests: Sequence[AnswerRequest], wanted: Sequence[int], rows: int
) -> Iterator[tuple[int, list[list[float]]]]:
    """Yield the wanted indices of requests and their scores, in batches of at most ``rows`` answers."""
    for indices in _batches(requests, wanted, rows):
        yield from zip(indices, _score(loaded, [requests[i] for i in indices]), strict=True)


def _batches(requests: Sequence[AnswerRequest], wanted: Sequence[int], rows: int) -> Iterator[list[int]]:
    """Yield the wanted indices of requests, together those with equally many answers, and prompts and answers of like length."""

    def size(index: int) -> tuple[int, int, int]:
        request = requests[index]
        return len(request.answers), max(map(len, request.answers)) // _LIKE, len(request.input_ids)

    batch: list[int] = []
    for index in sorted(wanted, key=size):
        (answers, length, _), first = size(index), size(batch[0]) if batch else (0, 0, 0)
        together = (len(batch) + 1) * answers
        if batch and ((answers, length) != first[:2] or together > rows or together * (length + 1) * _LIKE > _TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _score(loaded: Loaded, batch: Sequence[AnswerRequest]) -> Iterator[list[list[float]]]:
    import torch

    count = len(batch[0].answers)
    prompts, seen = _padded([request.input_ids for request in batch], loaded.device, left=True)
    places = (seen.cumsum(1) - 1).clamp(min=0)
    read: Any = loaded.model(
        input_ids=prompts, attention_mask=seen, position_ids=places, use_cache=True, logits_to_keep=1
    )
    answers, real = _padded([ids for request in batch for ids in request.answers], loaded.device, left=False)
    logits = read.logits.repeat_interleave(count, 0)
    if answers.shape[1] > 1:
        cache = read.past_key_values
        cache.batch_repeat_interleave(count)
        first = seen.sum(1).repeat_interleave(count)[:, None]
        more: Any = loaded.model(
            input_ids=answers[:, :-1],
            attention_mask=torch.cat([seen.repeat_interleave(count, 0), real[:, :-1]], 1),
            position_ids=first + torch.arange(answers.shape[1] - 1, device=first.device),
            past_key_values=cache,
            use_cache=True,
        )
        logits = torch.cat([logits, more.logits], 1)
    given = logits.float().log_softmax(-1).gather(2, answers[:, :, None])[:, :, 0].tolist()
    rows = iter(given)
    for request in batch:
        yield [next(rows)[: len(ids)] for ids in request.answers]


def _padded(rows: Sequence[Sequence[int]], device: str, *, left: bool) -> tuple[Any, Any]:
    """Return ids and a 0/1 mask [rows, longest], int64; pads are id 0, which the mask hides."""
    import torch

    longest = max(map(len, rows))
    ids, real = [], []
    for row in rows:
        pad = [0] * (longest - len(row))
        ids.append([*pad, *row] if left else [*row, *pad])
        real.append([*pad, *[1] * len(row)] if left else [*[1] * len(row), *pad])
    return torch.tensor(ids, device=device), torch.tensor(real, device=device)
