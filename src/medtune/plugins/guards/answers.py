"""What a generator may not answer: fewer or other prompts than it was asked, ids that are none, and probabilities above 1."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from medtune.plugins.contracts import AnswerRequest, Completion, GenerationRequest, Loaded, RequestFeed, TokenScores
from medtune.plugins.guards.boundary import Call
from medtune.plugins.guards.values import is_finite, is_share
from medtune.specs import EvalSpec

__all__ = ["checked_generate", "checked_generate_from", "checked_log_probabilities", "checked_token_scores"]

_ROUNDING = 1e-3
"""By how much rounding in a narrow type may lift a log-probability above 0."""
_ONE_EACH = "it returns one Completion for each prompt, in order"
_WITHOUT_STOP = "token_ids are the model's own ids, at most max_new_tokens of them, without the stop id"
_OF_TOKENS = "it returns for each request and each answer the log-probability of each token: finite, at most 0"


def checked_generate(call: Call) -> Callable[[Loaded, Sequence[GenerationRequest], EvalSpec], list[Completion]]:
    """Return a generator's ``generate``, which answers every prompt once, in order."""

    def generate(loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> list[Completion]:
        found = _listed(call, call.function(loaded, prompts, spec), _ONE_EACH)
        if len(found) != len(prompts):
            raise call.fault(f"returned {len(found)} answers to {len(prompts)} prompts", _ONE_EACH)
        vocabulary, stop_ids = _vocabulary(loaded), frozenset(loaded.stop_ids if loaded else ())
        for request, completion in zip(prompts, found, strict=True):
            _require_completion(call, completion)
            _require_ids(call, completion.token_ids, vocabulary)
            ids = completion.token_ids
            if len(ids) > request.max_new_tokens:
                raise call.fault(f"returned {len(ids)} tokens where {request.max_new_tokens} were asked", _WITHOUT_STOP)
            call.require(stop_ids.isdisjoint(ids), "returned a stop id among the ids of an answer", _WITHOUT_STOP)
        return found

    return generate


def _require_completion(call: Call, completion: Any) -> None:
    call.require(isinstance(completion, Completion), f"returned a {type(completion).__name__}", _ONE_EACH)
    call.require(isinstance(completion.text, str), "returned an answer whose text is none", "text is a str")
    is_told = completion.truncated is True or completion.truncated is False
    call.require(is_told, "returned an answer whose truncated is neither True nor False", "it is one of them")
    sure = completion.confidence
    call.require(sure is None or is_share(sure), "returned a confidence beyond 0 and 1", "it is a probability, or None")


def _require_ids(call: Call, ids: Sequence[Any], vocabulary: int | None) -> None:
    call.require(not isinstance(ids, str) and hasattr(ids, "__len__"), "returned ids that are no list", _WITHOUT_STOP)
    for token in ids:
        if not (type(token) is int and token >= 0) and not _is_index(token):
            raise call.fault(f"returned an id that is a {type(token).__name__} or below 0", _WITHOUT_STOP)
        if vocabulary is not None and token >= vocabulary:
            raise call.fault(f"returned an id beyond the {vocabulary} of the model", _WITHOUT_STOP)


def _is_index(token: Any) -> bool:
    """Whether a number of another type, such as numpy's, is an id."""
    return not isinstance(token, bool | float | str) and hasattr(token, "__index__") and token.__index__() >= 0


def _vocabulary(loaded: Any) -> int | None:
    """Return how many ids the model has; None where it does not say."""
    try:
        return int(loaded.model.get_input_embeddings().weight.shape[0])
    except (AttributeError, TypeError, NotImplementedError):
        return None


def checked_generate_from(call: Call) -> Callable[[Loaded, RequestFeed, EvalSpec, int], None]:
    """Return a generator's ``generate_from``, which finishes every request that it took, once."""

    def generate_from(loaded: Loaded, feed: RequestFeed, spec: EvalSpec, longest: int) -> None:
        watched = _WatchedFeed(call, feed, _vocabulary(loaded))
        call.function(loaded, watched, spec, longest)
        call.boundary.require_passed()
        call.require(
            not watched.open, f"left {len(watched.open)} requests without an answer", "it finishes all it took"
        )

    return generate_from


class _WatchedFeed:
    """A feed that knows which requests are open."""

    def __init__(self, call: Call, feed: RequestFeed, vocabulary: int | None) -> None:
        self._call, self._vocabulary = call, vocabulary
        self._take, self._progress = call.boundary.ours(feed.take), call.boundary.ours(feed.progress)
        self._finish, self.watches = call.boundary.ours(feed.finish), call.boundary.ours(feed.watches)
        self.open: set[int] = set()

    def take(self, most: int, *, wait: bool) -> Mapping[int, GenerationRequest]:
        new = self._take(most, wait=wait)
        self.open |= new.keys()
        return new

    def progress(self, key: int, ids: Sequence[int], /) -> bool:
        self._require_open(key)
        if goes_on := self._progress(key, ids):
            return goes_on
        self.open.discard(key)
        return False

    def finish(self, key: int, ids: Sequence[int], /) -> None:
        self._require_open(key)
        _require_ids(self._call, ids, self._vocabulary)
        self.open.discard(key)
        self._finish(key, ids)

    def _require_open(self, key: int) -> None:
        self._call.require(
            key in self.open, "answered a request that it had not taken, or twice", "it answers each once"
        )


Scores = list[list[list[float]]]


def checked_log_probabilities(call: Call) -> Callable[[Loaded, Sequence[AnswerRequest], EvalSpec], Scores]:
    """Return a generator's ``log_probabilities``, one finite number at most 0 for each token asked."""

    def log_probabilities(loaded: Loaded, requests: Sequence[AnswerRequest], spec: EvalSpec) -> Scores:
        found = _listed(call, call.function(loaded, requests, spec), _OF_TOKENS)
        _require_count(call, found, len(requests), "requests")
        kept: Scores = []
        for request, answers in zip(requests, found, strict=True):
            given = _listed(call, answers, _OF_TOKENS)
            _require_count(call, given, len(request.answers), "answers of a request")
            lines = [_listed(call, line, _OF_TOKENS) for line in given]
            for ids, line in zip(request.answers, lines, strict=True):
                _require_count(call, line, len(ids), "tokens of an answer")
                _require_logs(call, line)
            kept.append(lines)
        return kept

    return log_probabilities


def checked_token_scores(call: Call) -> Callable[[Loaded, AnswerRequest, int], list[list[TokenScores]]]:
    """Return a generator's ``token_scores``, one for each token of each answer."""

    def token_scores(loaded: Loaded, request: AnswerRequest, top: int) -> list[list[TokenScores]]:
        found = _listed(call, call.function(loaded, request, top), _OF_TOKENS)
        _require_count(call, found, len(request.answers), "answers")
        lines = [_listed(call, line, _OF_TOKENS) for line in found]
        for ids, line in zip(request.answers, lines, strict=True):
            _require_count(call, line, len(ids), "tokens of an answer")
            for scores in line:
                call.require(isinstance(scores, TokenScores), f"returned a {type(scores).__name__}", _OF_TOKENS)
                call.require(len(scores.top) <= top, f"returned {len(scores.top)} tokens of {top} asked", _OF_TOKENS)
                _require_logs(call, [scores.log_probability, *(log for _token, log in scores.top)])
                _require_ids(call, [token for token, _log in scores.top], _vocabulary(loaded))
        return lines

    return token_scores


def _require_logs(call: Call, values: Iterable[Any]) -> None:
    for value in values:
        if not is_finite(value) or value > _ROUNDING:
            raise call.fault("returned a log-probability that is not finite or above 0", _OF_TOKENS)


def _require_count(call: Call, found: Sequence[Any], wanted: int, of: str) -> None:
    call.require(len(found) == wanted, f"returned {len(found)} scores of {wanted} {of}", _OF_TOKENS)


def _listed(call: Call, found: Any, wanted: str) -> list[Any]:
    is_one_thing = found is None or isinstance(found, str | bytes | Mapping)
    if is_one_thing or not hasattr(found, "__iter__"):
        raise call.fault(f"returned a {type(found).__name__}", wanted)
    return list(found)
