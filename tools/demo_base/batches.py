"""Batches for pre-training: drills of random words to copy, and packed documents."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from demo_base.curriculum import pretraining_documents
from demo_base.tokenizer import SPECIAL_TOKENS

__all__ = ["Batch", "drill_batches", "text_batch"]

_ROW = 256
"""Tokens per packed row; the longest document has about 170."""
_CONTEXT_WEIGHT = 0.1
"""Loss weight of what nothing foretells: mostly the names of invented entities."""
_ANSWER_WEIGHT = 4.0
"""Loss weight of each token of a one-token answer; it falls with the square root of the answer's length.

A verdict of one word must not drown among answers of a hundred.
"""
_PLAIN_STEPS = 150
"""Updates on plain copies, before words come between."""
_AT_A_TIME = 64
"""Documents tokenised together."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids, their positions and the weight of the loss on each, all of shape [rows, length]."""

    ids: Any
    positions: Any
    weights: Any

    def to(self, device: Any) -> "Batch":
        """Return the batch on a device."""
        return Batch(*(part.to(device, non_blocking=True) for part in (self.ids, self.positions, self.weights)))


def drill_batches(tokens: int, vocab_size: int, seed: int) -> Iterator[Batch]:
    """Yield random ids followed by their copy, first plain, then also with constant ids between the words.

    Nothing but looking back helps here, so the attention heads that copy form within a hundred updates; on text, where
    guessing by frequency pays, they take more than ten times as long.
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    step = 0
    while True:
        count = 16 if step < _PLAIN_STEPS else 24
        gaps = 0 if step < _PLAIN_STEPS else step % 4
        length = 1 + count + count * (1 + gaps)
        rows = tokens // length
        words = torch.randint(len(SPECIAL_TOKENS), vocab_size, (rows, count), generator=draw)
        between = torch.randint(len(SPECIAL_TOKENS), vocab_size, (rows, 1, gaps), generator=draw)
        copies = torch.cat([words.unsqueeze(2), between.expand(rows, count, gaps)], 2).flatten(1)
        ids = torch.cat([torch.ones(rows, 1, dtype=torch.long), words, copies], 1)
        weights = torch.zeros(ids.shape)
        weights[:, count + 1 :] = 1.0
        yield Batch(ids, torch.arange(length).expand(rows, length), weights)
        step += 1


def text_batch(tokenizer: Any, tokens: int, seed: int, index: int) -> Batch:
    """Return the packed documents of one update; positions begin anew with each, which keeps them apart in attention."""
    import torch

    rows = islice(_packed_rows(tokenizer, f"{seed}/{index}"), tokens // _ROW)
    ids, positions, weights = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Batch(ids, positions, weights)


def _packed_rows(tokenizer: Any, key: str) -> Iterator[tuple[list[int], list[int], list[float]]]:
    ids: list[int] = []
    positions: list[int] = []
    weights: list[float] = []
    for document, weighed in _encoded(tokenizer, key):
        if len(ids) + len(document) > _ROW:
            missing = _ROW - len(ids)
            padding = [tokenizer.pad_token_id] * missing
            yield ids + padding, positions + list(range(missing)), weights + [0.0] * missing
            ids, positions, weights = [], [], []
        ids += document
        positions += range(len(document))
        weights += weighed


def _encoded(tokenizer: Any, key: str) -> Iterator[tuple[list[int], list[float]]]:
    """Yield the ids of each document, from ``<s>`` on, and the weight of the loss on each."""
    documents = pretraining_documents(key)
    while True:
        some = list(islice(documents, _AT_A_TIME))
        parts = iter(tokenizer([part for document in some for part in document])["input_ids"])
        for document in some:
            ids, weights = [tokenizer.bos_token_id], [0.0]
            for place, part in enumerate(islice(parts, len(document))):
                ids += part
                weights += [_ANSWER_WEIGHT / math.sqrt(len(part)) if place % 2 else _CONTEXT_WEIGHT] * len(part)
            yield ids[:_ROW], weights[:_ROW]
