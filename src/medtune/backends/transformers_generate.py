"""Decodes through transformers' own ``generate``: any architecture, left-padded batches of like length."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from medtune.backends.halving import run_in_batches
from medtune.plugins.contracts import GenerationRequest, Loaded, RequestFeed
from medtune.specs import EvalSpec

__all__ = ["generate_by_transformers", "generate_from_by_transformers"]

_BATCH = 64
_GIB = 2**30


def generate_by_transformers(loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> list[list[int]]:
    """Return the ids of each answer, at most as many as its prompt allows; ids after a stop id mean nothing.

    Where memory is short after all, half as many are decoded together from there on.

    Args:
        loaded: model and tokenizer.
        prompts: token ids and the most new tokens of each.
        spec: ``batch_size`` is the number of prompts decoded together, "auto" is 64, or fewer where ``memory_gib`` is
            short; a given number is tried as it is.

    Raises:
        torch.OutOfMemoryError: not even one sequence fits.
    """
    size = _affordable(loaded, prompts, spec) if spec.batch_size == "auto" else spec.batch_size
    was_training = loaded.model.training
    loaded.model.eval()
    try:
        return run_in_batches(len(prompts), size, lambda left, most: _decode_some(loaded, prompts, left, most))
    finally:
        loaded.model.train(was_training)


def generate_from_by_transformers(loaded: Loaded, feed: RequestFeed, spec: EvalSpec, longest: int) -> None:
    """Answer what a feed gives until it has no more: what waits together, the next ones when all of these are answered.

    Args:
        loaded: model and tokenizer.
        feed: requests, and where their answers go.
        spec: as in ``generate_by_transformers``.
        longest: most tokens of a request, prompt and answer.

    Raises:
        torch.OutOfMemoryError: memory is short; requests that were taken and not finished are lost.
    """
    size = spec.batch_size
    if size == "auto":
        size = _affordable(loaded, [GenerationRequest(range(longest), 0)], spec)
    loaded.model.eval()
    while new := feed.take(size, wait=True):
        keys, batch = list(new), list(new.values())
        open_keys = set(keys)

        def are_done(rows: list[list[int]], keys: list[int] = keys, still: set[int] = open_keys) -> list[bool]:
            limits = [new[key].max_new_tokens for key in keys]
            for key, row, limit in zip(keys, rows, limits, strict=True):
                if key not in still:
                    continue
                ended = len(row) >= limit or row[-1] in loaded.stop_ids
                if ended:
                    feed.finish(key, row[:limit])
                if ended or (feed.watches(key) and not feed.progress(key, row)):
                    still.discard(key)
            return [key not in still for key in keys]

        _decode(loaded, batch, are_done)


def _decode_some(
    loaded: Loaded, prompts: Sequence[GenerationRequest], wanted: Sequence[int], size: int
) -> Iterator[tuple[int, list[int]]]:
    """Yield the wanted indices of prompts and their answers, ``size`` decoded together."""
    for indices in _batches(prompts, wanted, size):
        rows = _decode(loaded, [prompts[i] for i in indices])
        yield from ((i, row[: prompts[i].max_new_tokens]) for i, row in zip(indices, rows, strict=True))


def _affordable(loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> int:
    """Return how many of the longest sequences fit into ``memory_gib`` with keys, values and activations, at least 1."""
    if spec.memory_gib is None:
        return _BATCH
    config: Any = loaded.model.config.get_text_config()
    heads = int(getattr(config, "num_attention_heads", None) or 1)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    kept = 2 * int(config.num_hidden_layers) * int(getattr(config, "num_key_value_heads", None) or heads) * width
    inner = int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    work = 8 * int(config.hidden_size) + 4 * inner
    longest = max(len(p.input_ids) + p.max_new_tokens for p in prompts)
    values = longest * (2 * kept + work) + 4 * int(config.vocab_size)  # a cache that grows is there twice for a moment
    itemsize = 4 if loaded.compute_dtype == "fp32" else 2
    return max(1, min(_BATCH, int(spec.memory_gib * _GIB) // (values * itemsize)))


def _batches(prompts: Sequence[GenerationRequest], wanted: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield the wanted indices in groups of like answer and prompt length, so that little is decoded or padded in vain."""
    order = sorted(wanted, key=lambda i: (prompts[i].max_new_tokens, len(prompts[i].input_ids)))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _decode(
    loaded: Loaded,
    batch: Sequence[GenerationRequest],
    are_done: Callable[[list[list[int]]], list[bool]] | None = None,
) -> list[list[int]]:
    """Return the ids of answers; ``are_done`` says after each token of which of them no more are wanted."""
    import torch
    from transformers import GenerationConfig

    width = max(len(p.input_ids) for p in batch)
    pad = loaded.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(p.input_ids)) + list(p.input_ids) for p in batch])
    seen = torch.tensor([[0] * (width - len(p.input_ids)) + [1] * len(p.input_ids) for p in batch])
    config = GenerationConfig(
        max_new_tokens=max(p.max_new_tokens for p in batch),
        do_sample=False,
        num_beams=1,
        # Said outright, because what is left open comes from the model: Qwen2 would punish repetition, and an answer
        # that labels every token of a sentence repeats itself.
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=list(loaded.stop_ids),
        pad_token_id=pad,
        use_cache=True,
    )

    def asked(so_far: Any, _scores: Any, **_others: Any) -> Any:
        return torch.tensor(are_done(so_far[:, width:].tolist()) if are_done else [], device=so_far.device)

    with torch.inference_mode():
        output: Any = loaded.model.generate(
            input_ids=ids.to(loaded.device),
            attention_mask=seen.to(loaded.device),
            generation_config=config,
            stopping_criteria=[asked] if are_done else None,
        )
    rows: list[list[int]] = output[:, width:].tolist()
    return rows
