"""Generates answers greedily with transformers, in batches of like length."""

from collections.abc import Iterator, Sequence
from typing import Any

from medtune.plugins.contracts import Completion, GenerationRequest, Generator, Loaded
from medtune.plugins.hookspecs import hookimpl
from medtune.specs import EvalSpec

__all__ = ["TransformersGenerator", "provide_generators"]


class TransformersGenerator:
    """Greedy decoding with a key-value cache: left-padded batches, every stop id, no logits kept."""

    name = "transformers"

    def generate(self, loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> Sequence[Completion]:
        """Answer each prompt.

        Args:
            loaded: model and tokenizer.
            prompts: token ids and the most new tokens of each.
            spec: ``batch_size`` is the number of prompts decoded together.

        Returns:
            One completion per prompt in the order of ``prompts``; ``truncated`` when no stop id came in time.
        """
        answers: dict[int, Completion] = {}
        for indices in _batches(prompts, spec.batch_size):
            batch = [prompts[i] for i in indices]
            answers.update(zip(indices, _decode(loaded, batch), strict=True))
        return [answers[i] for i in range(len(prompts))]


@hookimpl
def provide_generators() -> Sequence[Generator]:
    """Provide ``transformers``."""
    return [TransformersGenerator()]


def _batches(prompts: Sequence[GenerationRequest], size: int) -> Iterator[list[int]]:
    """Yield indices in groups of like answer and prompt length, so that little is decoded or padded in vain."""
    order = sorted(range(len(prompts)), key=lambda i: (prompts[i].max_new_tokens, len(prompts[i].input_ids)))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _decode(loaded: Loaded, batch: Sequence[GenerationRequest]) -> Iterator[Completion]:
    import torch
    from transformers import GenerationConfig

    width = max(len(p.input_ids) for p in batch)
    pad = loaded.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(p.input_ids)) + list(p.input_ids) for p in batch])
    seen = torch.tensor([[0] * (width - len(p.input_ids)) + [1] * len(p.input_ids) for p in batch])
    config = GenerationConfig(
        max_new_tokens=max(p.max_new_tokens for p in batch),
        do_sample=False,
        eos_token_id=list(loaded.stop_ids),
        pad_token_id=pad,
        use_cache=True,
    )
    with torch.inference_mode():
        output = loaded.model.generate(
            input_ids=ids.to(loaded.device), attention_mask=seen.to(loaded.device), generation_config=config
        )
    for prompt, row in zip(batch, output[:, width:].tolist(), strict=True):
        yield _completion(loaded.tokenizer, row[: prompt.max_new_tokens], loaded.stop_ids)


def _completion(tokenizer: Any, ids: list[int], stop_ids: Sequence[int]) -> Completion:
    """Cut at the first stop id and decode."""
    end = next((i for i, token in enumerate(ids) if token in stop_ids), None)
    kept = ids if end is None else ids[:end]
    return Completion(kept, tokenizer.decode(kept, skip_special_tokens=True), truncated=end is None)
