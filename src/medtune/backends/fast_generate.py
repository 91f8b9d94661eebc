"""Decodes through medtune's own decoder: plans by memory, reads the model, decodes group after group."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medtune.plugins.contracts import GenerationRequest, Loaded, RequestFeed
from medtune.specs import EvalSpec

__all__ = ["fast_generate", "fast_generate_from"]

_LOG = logging.getLogger(__name__)
_GIB = 2**30
_USABLE = 0.9
"""Share of a GPU's free memory that may be taken: allocators round up, libraries take some of their own."""
_USABLE_OF_HOST = 0.5
_SLOTS = 64


@dataclass(frozen=True, slots=True)
class _Limits:
    """What bounds decoding, and how it is done.

    Attributes:
        slots: to be taken, None for as many as pay.
        memory_gib: that may be taken, None for what is free.
        drafts: whether answers are drafted.
        allowed: how many ids the forms of answers allow in one place; 0 where answers need not keep to them.
    """

    slots: int | None
    memory_gib: float | None
    drafts: bool = True
    allowed: int = 0


class _Answers(dict[int, list[int]]):
    """Index -> ids of an answer, and what was drafted for it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[int, tuple[int, int]] = {}


def fast_generate(
    loaded: Loaded,
    prompts: Sequence[GenerationRequest],
    spec: EvalSpec,
    counts: dict[int, tuple[int, int]] | None = None,
    *,
    constrained: bool = False,
) -> list[list[int]]:
    """Return the ids of each answer, its stop id included.

    Args:
        loaded: model and tokenizer.
        prompts: token ids and the most new tokens of each.
        spec: ``batch_size`` is the number of sequences decoded together, ``memory_gib`` bounds the memory taken.
        counts: filled with how many tokens were drafted for each answer, and how many of them accepted, by its index.
        constrained: whether answers keep to the forms of their drafts, of which every request must have one.

    Raises:
        UnsupportedError: the model is none that the decoder can run.
        torch.OutOfMemoryError: not even one sequence fits.
    """
    import torch

    device = torch.device(loaded.device)
    found = _surveyed(loaded)
    wanted = spec.batch_size if spec.batch_size != "auto" else None if device.type == "cuda" else _SLOTS
    answers, drafts, allowed = _Answers(), spec.drafts_on(device.type), _most_allowed(prompts) if constrained else 0
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        while len(answers) < len(prompts):
            try:
                left = {i: p for i, p in enumerate(prompts) if i not in answers}
                _decode(loaded, found, left, answers, _Limits(wanted, spec.memory_gib, drafts, allowed))
            except torch.OutOfMemoryError:
                if wanted == 1:
                    raise
                wanted = max(1, (wanted or min(len(prompts), _SLOTS * 8)) // 2)
            if device.type == "cuda":
                torch.cuda.empty_cache()  # so that training finds the memory in one piece
    (counts if counts is not None else {}).update(answers.counts)
    return [answers[i] for i in range(len(prompts))]


def _most_allowed(prompts: Sequence[GenerationRequest]) -> int:
    """Return how many ids a form may allow in one place: the next ones of each choice, and the one after a whole choice."""
    return 1 + max((len(prompt.draft.choices) if prompt.draft else 0 for prompt in prompts), default=0)


def fast_generate_from(loaded: Loaded, feed: RequestFeed, spec: EvalSpec, longest: int) -> None:
    """Answer what a feed gives until it has no more.

    Args:
        loaded: model and tokenizer.
        feed: requests, and where their answers go.
        spec: as in ``fast_generate``; "auto" is 64 sequences.
        longest: most tokens of a request, prompt and answer.

    Raises:
        UnsupportedError: the model is none that the decoder can run; no request was taken then.
        torch.OutOfMemoryError: memory is short; requests that were taken and not finished are lost.
    """
    import torch

    from medtune.accel.decode.plan import plan_decoding
    from medtune.accel.decode.reading import read_decoder
    from medtune.accel.decode.slots import Decoding
    from medtune.accel.decode.verified import room_for_drafts

    device = torch.device(loaded.device)
    found = _surveyed(loaded)
    dtype = found.parts.head.dtype
    slots = _SLOTS if spec.batch_size == "auto" else spec.batch_size
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        budget = _budget(device, _Limits(slots, spec.memory_gib))
        drafts = spec.drafts_on(device.type)
        longest += room_for_drafts(device) if drafts else 0
        plan = plan_decoding(_shape(found, dtype), [longest] * slots, budget, slots)
        decoder = read_decoder(found, dtype, dequantize=plan.dequantize)
        Decoding(decoder, plan.groups[0].size, plan.room, loaded.stop_ids, drafts=drafts).run_from(feed)


def _surveyed(loaded: Loaded) -> Any:
    import torch

    from medtune.accel.decode.reading import survey

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[loaded.compute_dtype]
    return survey(loaded.model, dtype)


def _decode(
    loaded: Loaded,
    found: Any,
    requests: dict[int, GenerationRequest],
    answers: _Answers,
    limits: _Limits,
) -> None:
    import torch

    from medtune.accel.decode.plan import plan_decoding
    from medtune.accel.decode.reading import read_decoder
    from medtune.accel.decode.slots import Decoding
    from medtune.accel.decode.verified import room_for_drafts

    dtype = found.parts.head.dtype
    keys = list(requests)
    device = torch.device(loaded.device)
    beyond = room_for_drafts(device) if limits.drafts or limits.allowed else 0
    needs = [len(r.input_ids) + r.max_new_tokens + beyond for r in requests.values()]
    budget = _budget(device, limits)
    plan = plan_decoding(_shape(found, dtype), needs, budget, limits.slots)
    if plan.lacking and limits.memory_gib is not None:
        needed, allowed = (budget + plan.lacking) / _GIB, budget / _GIB
        _LOG.warning(
            "one answer at a time takes %.3g GiB, and %.3g GiB may be taken; it is done all the same", needed, allowed
        )
    decoder = read_decoder(found, dtype, dequantize=plan.dequantize)
    for group in plan.groups:
        decoding = Decoding(
            decoder, group.size, plan.room, loaded.stop_ids, drafts=limits.drafts, allowed=limits.allowed
        )
        decoding.run({keys[i]: requests[keys[i]] for i in group.members}, answers)
        answers.counts.update(decoding.counts)
        del decoding


def _shape(found: Any, dtype: Any) -> Any:
    from medtune.accel.decode.cache import bytes_per_token
    from medtune.accel.decode.plan import Shape

    parts = found.parts
    work = dtype.itemsize * (8 * parts.width + 3 * parts.heads.total + 4 * parts.mlp_width)
    logits = 2 * dtype.itemsize * len(parts.head)
    return Shape(
        cache_per_token=bytes_per_token(found.layers, found.heads, dtype),
        work_per_token=work,
        dequantized=found.dequantized_bytes,
        scratch=found.largest_bytes,
        per_slot=work + logits,
        fixed=found.adapter_bytes,
    )


def _budget(device: Any, limits: _Limits) -> int:
    """Return the bytes that may be taken."""
    import torch

    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = int((torch.cuda.mem_get_info(device)[0] + unused) * _USABLE)
    else:
        free = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _USABLE_OF_HOST)
    return free if limits.memory_gib is None else min(free, int(limits.memory_gib * _GIB))
