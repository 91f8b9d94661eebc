"""Proves vLLM's answers before any is believed: its tokens against a plain loop, and that it applies the adapter at all.

vLLM serves an adapter whose names it does not match as the bare base, without a word, so the probability that it gives to a
token is compared with what the model says with its adapter and without.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from medtune.accel.model.agreement import own_forward
from medtune.accel.model.reader import unwrapped
from medtune.accel.model.untouched import untouched
from medtune.backends.decode_proof import disagreement
from medtune.errors import UnprovenAnswersError
from medtune.plugins.contracts import GenerationRequest, Loaded

__all__ = ["Ask", "require_proved"]

Ask = Callable[[Sequence[GenerationRequest]], Sequence[tuple[list[int], list[float]]]]
"""Prompts -> ids of each answer, and the logarithm of the probability of each of them."""

_NAME = "vLLM"
_EFFECT = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}
"""Change of a logarithm of a probability, in nats, below which rounding hides whether there is an adapter."""


def require_proved(loaded: Loaded, prompts: Sequence[GenerationRequest], ask: Ask, *, adapts: bool) -> None:
    """Refuse answers that are not the model's, tried on the shortest and the longest prompt.

    Args:
        loaded: model and tokenizer.
        prompts: what is to be answered.
        ask: answers greedily.
        adapts: whether the adapter takes part.

    Raises:
        UnprovenAnswersError: it gives other tokens than the model does, or those of the base without its adapter.
    """
    served: list[tuple[GenerationRequest, int, float]] = []

    def decode(_loaded: Loaded, tried: Sequence[GenerationRequest]) -> list[list[int]]:
        found = ask(tried)
        served.extend((prompt, ids[0], logs[0]) for prompt, (ids, logs) in zip(tried, found, strict=True) if ids)
        return [ids for ids, _logs in found]

    wrong = disagreement(loaded, prompts, _NAME, decode)
    if not wrong and adapts and served:
        wrong = _unadapted(loaded, served)
    if wrong:
        raise UnprovenAnswersError(_NAME, wrong)


def _unadapted(loaded: Loaded, served: Sequence[tuple[GenerationRequest, int, float]]) -> str:
    """Return that the answers are the base's, empty where they are the adapter's or the two say the same."""
    with untouched(loaded.model, torch.device(loaded.device)):
        loaded.model.eval()
        adapted = [_log_probability(loaded, prompt, token) for prompt, token, _log in served]
        with loaded.base_only():
            alone = [_log_probability(loaded, prompt, token) for prompt, token, _log in served]
    effects = [abs(a - b) for a, b in zip(adapted, alone, strict=True)]
    most = max(range(len(effects)), key=effects.__getitem__)
    found = served[most][2]
    is_hidden = effects[most] <= _EFFECT[loaded.compute_dtype]
    if is_hidden or abs(found - adapted[most]) < abs(found - alone[most]):
        return ""
    return "it serves the base without the adapter"


def _log_probability(loaded: Loaded, prompt: GenerationRequest, token: int) -> float:
    """Return how probable the model finds a token after a prompt."""
    ids: Any = torch.tensor([list(prompt.input_ids)], device=loaded.device)
    with torch.no_grad(), torch.autocast(torch.device(loaded.device).type, enabled=False):
        logits = own_forward(unwrapped(loaded.model), input_ids=ids).logits[0, -1].float()
    return float(logits.log_softmax(-1)[token])
