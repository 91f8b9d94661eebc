"""What the tuned model answers, as medtune loads it, and how sure it is of each token: what artifacts are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medtune.plugins.contracts import Completion, GenerationRequest, Generator, Loaded
from medtune.specs import EvalSpec
from medtune.workflow.exporting.reload import Answers, Questions

__all__ = ["Reference", "ask_tuned"]

_CONTINUED = 64
"""Prompts that are asked once more with their answer, so that logits far from a prompt's end are compared too."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The tuned model's side of the comparison.

    Attributes:
        questions: what an artifact is asked: the questions, and some of them once more with their answers.
        tuned: the answers to them.
        base: logits of the base after each prompt, in fp32 [prompts, vocabulary].
        margins: for each prompt and each token of its answer, the end included, by how much the best logit led.
        compute_dtype: "bf16", "fp16" or "fp32".
        device: torch device that both are asked on.
        smoke: the prompt contract's samples with the texts that tuned model and base answer.
    """

    questions: Questions
    tuned: Answers
    base: Any
    margins: Sequence[Sequence[float]]
    compute_dtype: str
    device: str
    smoke: Sequence[Mapping[str, Any]] = ()


def ask_tuned(loaded: Loaded, questions: Questions, generator: Generator, spec: EvalSpec) -> Reference:
    """Ask base and tuned model.

    Args:
        loaded: base and adapter.
        questions: prompts and the most tokens of each answer.
        generator: the run's.
        spec: the run's.
    """
    import numpy as np

    requests = [GenerationRequest(p, n) for p, n in zip(questions.prompts, questions.limits, strict=True)]
    found = generator.generate(loaded, requests, spec)
    ids = [list(each.token_ids) for each in found]
    ended = [not each.truncated for each in found]
    asked = [*zip(questions.prompts, ids, strict=True)]
    continued = [[*prompt, *answer] for prompt, answer in asked[:_CONTINUED] if answer]
    after, margins = list[Any](), list[list[float]]()
    for (prompt, answer), is_ended in zip(asked, ended, strict=True):
        logits = _logits(loaded, [*prompt, *answer])[len(prompt) - 1 :]
        after.append(logits[0])
        margins.append(_margins(logits[: len(answer) + is_ended]))
    after += [_logits(loaded, prompt)[-1] for prompt in continued]
    with loaded.base_only():
        base = [_logits(loaded, prompt)[-1] for prompt in (*questions.prompts, *continued)]
        smoke = _smoke(loaded, questions, generator, spec, found)
    more = len(continued)
    return Reference(
        replace(questions, prompts=[*questions.prompts, *continued], limits=[*questions.limits, *([0] * more)]),
        Answers([*ids, *([[]] * more)], [*ended, *([False] * more)], np.stack(after), stop_ids=loaded.stop_ids),
        np.stack(base),
        [*margins, *([[]] * more)],
        loaded.compute_dtype,
        loaded.device,
        smoke,
    )


def _smoke(
    loaded: Loaded, questions: Questions, generator: Generator, spec: EvalSpec, tuned: Sequence[Completion]
) -> list[dict[str, Any]]:
    """Return conversations of the prompt contract with both answers; called inside ``base_only``."""
    places = [[*map(list, questions.prompts)].index(list(ids)) for ids in questions.conversation_ids]
    requests = [GenerationRequest(questions.prompts[n], questions.limits[n]) for n in places]
    answers = generator.generate(loaded, requests, spec)
    return [
        {"messages": messages, "max_tokens": questions.limits[n], "tuned": tuned[n].text, "base": answer.text}
        for n, messages, answer in zip(places, questions.conversations, answers, strict=True)
    ]


def _logits(loaded: Loaded, ids: Sequence[int]) -> Any:
    """Return the logits after each token, as fp32 on the host [tokens, vocabulary]."""
    import torch

    with torch.inference_mode():
        given = torch.tensor([list(ids)], device=loaded.device)
        return loaded.model(input_ids=given, use_cache=False).logits[0].float().cpu().numpy()


def _margins(logits: Any) -> list[float]:
    import numpy as np

    best = np.partition(logits, -2, axis=-1)[:, -2:]
    return [float(high - low) for low, high in best]
