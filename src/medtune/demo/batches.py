"""Batches for pre-training: drills of random words to copy, and packed documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from medtune.demo.curriculum import pretraining_documents
from medtune.demo.tokenizer import SPECIAL_TOKENS

__all__ = ["Batch", "drill_batches", "text_batches"]

_ROW = 256
"""Tokens per packed row; the longest document has about 170."""
_CONTEXT_WEIGHT = 0.1
"""Loss weight of what nothing foretells: mostly the names of invented entities."""
_PLAIN_STEPS = 150
"""Updates on plain copies, before words come between."""
_AT_A_TIME = 1024
"""Documents tokenised together."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids, their positions and the weight of the loss on each, all of shape [rows, length]."""

    ids: Any
    positions: Any
    weights: Any


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


def text_batches(tokenizer: Any, tokens: int, seed: int) -> Iterator[Batch]:
    """Yield packed documents; positions begin anew with each, which keeps them apart in attention."""
    import torch

    rows = tokens // _ROW
    packed = _packed_rows(tokenizer, seed)
    while True:
        columns = zip(*islice(packed, rows), strict=True)
        ids, positions, weights = (torch.tensor(column) for column in columns)
        yield Batch(ids, positions, weights)


def _packed_rows(tokenizer: Any, seed: int) -> Iterator[tuple[list[int], list[int], list[float]]]:
    ids: list[int] = []
    positions: list[int] = []
    weights: list[float] = []
    for whole, context in _encoded(tokenizer, seed):
        document = whole[:_ROW]
        if len(ids) + len(document) > _ROW:
            missing = _ROW - len(ids)
            padding = [tokenizer.pad_token_id] * missing
            yield ids + padding, positions + list(range(missing)), weights + [0.0] * missing
            ids, positions, weights = [], [], []
        ids += document
        positions += range(len(document))
        weights += ([0.0] + [_CONTEXT_WEIGHT] * (context - 1) + [1.0] * (len(document) - context))[: len(document)]


def _encoded(tokenizer: Any, seed: int) -> Iterator[tuple[list[int], int]]:
    """Yield the ids of each document, from ``<s>`` on, and the number of its context's ids."""
    documents = pretraining_documents(seed)
    while True:
        some = list(islice(documents, _AT_A_TIME))
        parts = tokenizer([part for document in some for part in document])["input_ids"]
        for context, continuation in zip(parts[::2], parts[1::2], strict=True):
            yield [tokenizer.bos_token_id, *context, *continuation], len(context) + 1
