"""Sums by source what the loss of training says of rows that are not trained on; the model stays as it was."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from accelerate.utils import gather_object

from medtune.accel.model.agreement import cast_to
from medtune.accel.model.tolerances import precision_of
from medtune.accel.model.untouched import untouched
from medtune.backends.halving import run_in_batches
from medtune.backends.losses import Loss, loss_alone, own_loss
from medtune.data.pack import to_batch
from medtune.plugins.contracts import Loaded, PackedRow, PackedRows
from medtune.specs import RunSpec

__all__ = ["held_out_losses"]

_IGNORED = -100
_ALL_LOGITS = (own_loss, loss_alone)
"""Ways in which a model hands out the logits of all tokens: one row at a time bounds them."""


def held_out_losses(
    loss: Loss, loaded: Loaded, rows: PackedRows, spec: RunSpec, place: tuple[int, int] = (0, 1)
) -> dict[str, tuple[float, int]]:
    """Return source -> summed cross entropy in nats and supervised tokens, of the model as it stands, without dropout.

    Micro-batches are those of training, in their order; where memory is short they are halved.

    Args:
        loss: as it was proved.
        loaded: the model with its adapter, or inside ``loaded.base_only()`` without.
        rows: packed as for training.
        spec: says the micro-batch and the precision.
        place: number of this process, and how many share the rows; all of them call it.

    Raises:
        torch.OutOfMemoryError: not even one row fits.
    """
    model, train = loaded.model, spec.train
    device = torch.device(loaded.device)
    precision = precision_of(train.precision, loaded.compute_dtype, on_cpu=device.type == "cpu")

    def pass_over(chosen: Sequence[PackedRow]) -> list[Any]:
        arrays = to_batch(chosen, train.max_length, loaded.tokenizer.pad_token_id)
        batch = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        counts = [int(count) for count in (arrays["labels"][:, 1:] != _IGNORED).sum(axis=1)]
        with torch.no_grad(), cast_to(precision, device):
            found = loss(model.get_base_model(), **batch)["token_losses"]
        return list(found[: sum(counts)].double().cpu().split(counts))  # what exceeds them is padding

    def run(numbers: Sequence[int], size: int) -> Iterator[tuple[int, list[tuple[str, float, int]]]]:
        for start in range(0, len(numbers), size):
            chosen = [rows[own[number]] for number in numbers[start : start + size]]
            for at, losses in enumerate(pass_over(chosen)):
                yield numbers[start + at], _by_sample(rows, chosen[at], losses)

    own, size = range(place[0], len(rows), place[1]), 1 if loss in _ALL_LOGITS else train.per_device_batch_size
    with untouched(model, device):
        model.eval()
        samples = list(chain.from_iterable(run_in_batches(len(own), size, run)))
    return _added(gather_object(samples) if place[1] > 1 else samples)


def _added(samples: Iterable[tuple[str, float, int]]) -> dict[str, tuple[float, int]]:
    """Return source -> sums over its samples, the smallest first, so that no order of rows changes a bit."""
    totals: dict[str, tuple[float, int]] = {}
    for source, loss, tokens in sorted(samples):
        before = totals.get(source, (0.0, 0))
        totals[source] = before[0] + loss, before[1] + tokens
    return totals


def _by_sample(rows: PackedRows, row: PackedRow, losses: Any) -> list[tuple[str, float, int]]:
    """Return source, summed loss and supervised tokens of each sample of a row, whose losses are in order."""
    found: list[tuple[str, float, int]] = []
    begin = taken = 0
    for sample, length in zip(row.samples, row.lengths, strict=True):
        count = sum(map(bool, row.supervised[begin + 1 : begin + length]))  # nothing predicts a sample's first token
        found.append((rows.source(sample), float(losses[taken : taken + count].sum()), count))
        begin, taken = begin + length, taken + count
    return found
