"""The rows to score on as training would see them: encoded, fitted and packed, so that their loss can be measured."""

from collections.abc import Sequence
from typing import NamedTuple

from medtune.data.encode import Encoder
from medtune.data.pack import SampleStore, best_fit
from medtune.data.samples import Sample, SampleWriter
from medtune.data.shorten import shortened
from medtune.errors import DataError
from medtune.plugins.contracts import Example
from medtune.specs import RunSpec

__all__ = ["HeldOut", "fitting_samples", "held_out_rows", "loss_text"]


def loss_text(loss: float | None) -> str:
    """Return a loss in nats as text for a table; one that is not finite has no number."""
    return "not finite" if loss is None else f"{loss:.4f}"


class HeldOut(NamedTuple):
    """Packed rows, the examples in them, and how many were left out because they are longer than a row."""

    rows: SampleStore
    used: int
    left_out: int


def held_out_rows(spec: RunSpec, encoder: Encoder, examples: Sequence[Example]) -> HeldOut:
    """Encode and pack examples as training rows are; where ``data.overlong`` shortens these, so are they.

    Raises:
        DataError: none of them fits into a row.
    """
    kept = fitting_samples(spec, encoder, examples)
    if not kept:
        raise DataError(
            f"eval.loss: each of {len(examples)} validation rows is longer than train.max_length ({spec.train.max_length})"
        )
    writer = SampleWriter(len(encoder.tokenizer), None)
    writer.add(kept)
    lengths, train = writer.lengths, spec.train
    packed = best_fit(lengths, train.max_length, spec.seed) if train.packing else [[i] for i in range(len(lengths))]
    return HeldOut(writer.in_memory(writer.finish(packed)), len(kept), len(examples) - len(kept))


def fitting_samples(spec: RunSpec, encoder: Encoder, examples: Sequence[Example]) -> list[Sample]:
    """Return examples encoded as training takes them, without those that are longer than a row."""
    encoded = zip(examples, encoder.encode_spans(list(examples)), strict=True)
    fitted = [_fitted(Sample(example, ids, spans), spec, encoder) for example, (ids, spans) in encoded]
    return [sample for sample in fitted if sample is not None]


def _fitted(sample: Sample, spec: RunSpec, encoder: Encoder) -> Sample | None:
    limit = spec.train.max_length
    if len(sample.ids) <= limit or spec.data.overlong != "truncate_input":
        return sample if len(sample.ids) <= limit else None
    return shortened(sample.example, limit, encoder)
