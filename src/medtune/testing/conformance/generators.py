"""Checks on generators, on a tiny base with an adapter."""

# pyright: reportUnnecessaryIsInstance=false
# What foreign code gives may be anything, whatever its types say.

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medtune.plugins.contracts import Completion, GenerationRequest, Loaded
from medtune.specs import EvalSpec
from medtune.testing.conformance.checks import Case, check
from medtune.testing.conformance.models import adapted, frozen_digest, greedy, kept, or_not_tried, trainable

__all__: list[str] = []

_PROMPTS = ((5, 9, 77, 30), (200, 17), (3, 44, 90, 8, 61, 12, 33), (120, 99, 14))
_MOST = 6


@check(
    "generator-answers",
    "generator",
    "generate returns one Completion per prompt: ids of the vocabulary, and a text.",
    is_heavy=True,
)
def answers_each(case: Case) -> str | None:
    """Ask several prompts, and none."""
    found = _answers(case)
    if len(found) != len(_PROMPTS):
        return f"{len(found)} answers to {len(_PROMPTS)} prompts"
    words = len(_loaded(case).tokenizer)
    for each in found:
        if not isinstance(each, Completion):
            return f"an answer is a {type(each).__name__}"
        if not all(isinstance(token, int) and 0 <= token < words for token in each.token_ids):
            return "token_ids holds something else than ids of the vocabulary"
        if not isinstance(each.text, str) or not isinstance(each.truncated, bool):
            return "text is no text, or truncated is no bool"
    return None


@check("generator-none", "generator", "generate of no prompts returns no answers.", is_heavy=True)
def answers_nothing(case: Case) -> str | None:
    """Ask nothing."""
    found = _generate(case, [])
    return None if len(found) == 0 else f"{len(found)} answers to no prompts"


@check(
    "generator-order", "generator", "Answers come in the order of the prompts, whatever their lengths.", is_heavy=True
)
def keeps_order(case: Case) -> str | None:
    """Ask backwards."""
    backwards = _generate(case, _requests()[::-1])
    same = [list(each.token_ids) for each in backwards][::-1] == [list(each.token_ids) for each in _answers(case)]
    return None if same else "asked backwards, the prompts got other answers"


@check("generator-alone", "generator", "A prompt gets the same answer alone as beside others.", is_heavy=True)
def answers_alone(case: Case) -> str | None:
    """Ask one by one."""
    alone = [list(_generate(case, [request])[0].token_ids) for request in _requests()]
    same = alone == [list(each.token_ids) for each in _answers(case)]
    return None if same else "asked alone, a prompt got another answer"


@check("generator-greedy", "generator", "Answers are the greedy ones of the model token by token.", is_heavy=True)
def is_greedy(case: Case) -> str | None:
    """Compare with a plain loop."""
    for each, prompt in zip(_answers(case), _PROMPTS, strict=False):
        if list(each.token_ids) != greedy(_loaded(case), prompt, _MOST, _loaded(case).stop_ids):
            return "an answer is not the model's greedy one"
    return None


@check(
    "generator-limits",
    "generator",
    "No answer is longer than asked; truncated is True where the limit cut it off, else False.",
    is_heavy=True,
)
def keeps_limits(case: Case) -> str | None:
    """Ask with a limit for each prompt, and with an id that ends one of them."""
    stop, _place = _early_stop(case)
    loaded = replace(_loaded(case), stop_ids=(stop,))
    requests = [GenerationRequest(prompt, number + 1) for number, prompt in enumerate(_PROMPTS)]
    for each, request in zip(_generate(case, requests, loaded), requests, strict=True):
        wanted = greedy(loaded, request.input_ids, request.max_new_tokens, loaded.stop_ids)
        if len(each.token_ids) > request.max_new_tokens:
            return f"{len(each.token_ids)} tokens where {request.max_new_tokens} were asked for"
        cut = len(wanted) == request.max_new_tokens
        if list(each.token_ids) == wanted and each.truncated != cut:
            return f"truncated is {each.truncated} for an answer that {'was cut off' if cut else 'ended'}"
    return None


@check(
    "generator-stops",
    "generator",
    "An answer ends before the first of loaded.stop_ids, which is not part of it.",
    is_heavy=True,
)
def stops(case: Case) -> str | None:
    """Let a token of an answer end it."""
    stop, _place = _early_stop(case)
    loaded = replace(_loaded(case), stop_ids=(stop,))
    for each, prompt in zip(_generate(case, _requests(), loaded), _PROMPTS, strict=True):
        if stop in each.token_ids:
            return "an answer holds the id that ends answers"
        if list(each.token_ids) != greedy(loaded, prompt, _MOST, (stop,)):
            return "an answer did not end where it should have"
    return None


@check("generator-text", "generator", "text is what token_ids spell.", is_heavy=True)
def spells(case: Case) -> str | None:
    """Decode the ids."""
    tokenizer = _loaded(case).tokenizer
    for each in _answers(case):
        spelled = {tokenizer.decode(list(each.token_ids), skip_special_tokens=skip).strip() for skip in (True, False)}
        if each.text.strip() not in spelled:
            return "a text is not what its ids spell"
    return None


@check(
    "generator-keeps-model",
    "generator",
    "generate leaves the model as it was: values, mode, what is trainable.",
    is_heavy=True,
)
def keeps_model(case: Case) -> str | None:
    """Compare before and after, in training mode as during a run."""
    loaded = adapted(case.bench)
    loaded.model.train()
    before = frozen_digest(loaded.model), [name for name, _p in trainable(loaded.model)]
    _generate(case, _requests()[:1], loaded)
    if not loaded.model.training:
        return "the model was in training mode before and is not after"
    after = frozen_digest(loaded.model), [name for name, _p in trainable(loaded.model)]
    return None if before == after else "values or trainable parameters changed"


@check("generator-base-too", "generator", "Inside base_only() the base answers, not the adapter.", is_heavy=True)
def answers_as_base(case: Case) -> str | None:
    """Ask before base_only(), then inside it: answers that were kept are the adapter's."""
    loaded = _loaded(case)
    _generate(case, _requests())
    with loaded.base_only():
        found = _generate(case, _requests())
        wanted = [greedy(loaded, prompt, _MOST, loaded.stop_ids) for prompt in _PROMPTS]
    return None if [list(each.token_ids) for each in found] == wanted else "not the base's greedy answers"


def _requests() -> list[GenerationRequest]:
    return [GenerationRequest(prompt, _MOST) for prompt in _PROMPTS]


def _loaded(case: Case) -> Loaded:
    found: Loaded = kept(case.bench, ("adapted for generator", ""), lambda: adapted(case.bench))
    return found


def _answers(case: Case) -> Sequence[Any]:
    found: Sequence[Any] = kept(case.bench, ("answers of", case.name), lambda: _generate(case, _requests()))
    return found


def _generate(case: Case, requests: Sequence[GenerationRequest], loaded: Loaded | None = None) -> Sequence[Any]:
    with or_not_tried():
        found: Sequence[Any] = case.thing.generate(loaded or _loaded(case), requests, EvalSpec())
    return found


def _early_stop(case: Case) -> tuple[int, int]:
    """Return a token of a greedy answer that comes after its first one, and its place."""
    loaded = _loaded(case)
    for prompt in _PROMPTS:
        answer = greedy(loaded, prompt, _MOST, loaded.stop_ids)
        for place in range(1, len(answer)):
            if answer[place] not in answer[:place]:
                return answer[place], place
    return loaded.stop_ids[0], 0
