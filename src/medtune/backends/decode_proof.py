"""Proves a way of answering on two short prompts against a plain loop: a whole pass for every token, nothing kept between."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from medtune.accel.model.agreement import own_forward
from medtune.accel.model.reader import unwrapped
from medtune.accel.model.untouched import untouched
from medtune.plugins.contracts import GenerationRequest, Loaded

__all__ = ["TRIED_TOKENS", "Decode", "disagreement"]

Decode = Callable[[Loaded, Sequence[GenerationRequest]], list[list[int]]]
"""Prompts -> ids of each answer; ids after a stop id mean nothing."""

_PROMPT = 24
TRIED_TOKENS = 6
"""Most tokens of an answer that is tried."""
_TIES = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}
"""How far below the largest logit another token may lie, in standard deviations of the logits, and be taken for it by rounding."""
_found: "WeakKeyDictionary[Any, dict[tuple[str, frozenset[str]], str]]" = WeakKeyDictionary()


def disagreement(loaded: Loaded, prompts: Sequence[GenerationRequest], way: str, decode: Decode) -> str:
    """Return how a way of answering differs from a plain loop, empty where it does not; once a model, with each adapter and without.

    Args:
        loaded: model and tokenizer.
        prompts: what is to be answered; the shortest and the longest of them, cut short, are tried.
        way: name of the way, by which its outcome is kept.
        decode: answers greedily.
    """
    known, key = _found.setdefault(loaded.model, {}), (way, _taking_part(loaded.model))
    if key not in known:
        ordered = sorted(prompts, key=lambda prompt: len(prompt.input_ids))
        tried = [
            GenerationRequest(list(prompt.input_ids)[:_PROMPT], TRIED_TOKENS) for prompt in (ordered[0], ordered[-1])
        ]
        answers = decode(loaded, tried)
        with untouched(loaded.model, torch.device(loaded.device)):
            loaded.model.eval()
            reasons = [_compared(loaded, prompt, answer) for prompt, answer in zip(tried, answers, strict=True)]
        known[key] = next((reason for reason in reasons if reason), "")
    return known[key]


def _taking_part(model: Any) -> frozenset[str]:
    """Return the names of the adapters that take part."""
    layers = [module for module in model.modules() if getattr(module, "disable_adapters", True) is False]
    return frozenset(name for layer in layers for name in layer.active_adapters)


def _compared(loaded: Loaded, prompt: GenerationRequest, answer: Sequence[int]) -> str:
    base, ids = unwrapped(loaded.model), list(prompt.input_ids)
    for place in range(TRIED_TOKENS):
        with torch.no_grad(), torch.autocast(torch.device(loaded.device).type, enabled=False):
            logits = own_forward(base, input_ids=torch.tensor([ids], device=loaded.device)).logits[0, -1].float()
        best = int(logits.argmax())
        found = answer[place] if place < len(answer) else None
        if found != best:
            if found is not None and logits[best] - logits[found] <= _TIES[loaded.compute_dtype] * logits.std():
                return ""  # a tie; from here on the two go their own ways
            return f"its token {place + 1} of an answer is not the most probable one"
        if best in loaded.stop_ids:
            return ""
        ids.append(best)
    return ""
