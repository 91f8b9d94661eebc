"""Prepares a run's data: reads, formats, encodes, checks and packs the training rows, and draws the validation rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from medtune import __version__
from medtune.data.cache import PreparedCache, cache_key, default_cache_dir, store_in_memory
from medtune.data.encode import Encoder
from medtune.data.examples import (
    Rows,
    training_examples,
    training_fingerprint,
    validation_fingerprint,
    validation_pool,
)
from medtune.data.lengths import LengthLedger
from medtune.data.overlap import OverlapFinder
from medtune.data.pack import best_fit
from medtune.data.quarantine import Quarantine
from medtune.data.samples import SampleWriter
from medtune.data.shorten import shortened
from medtune.data.splits import draw_evenly, sample_by_source
from medtune.errors import DataError
from medtune.plugins.contracts import EncodedExample, Example, PackedRows
from medtune.plugins.host import BUILTIN_PLUGINS, PluginHost
from medtune.specs import RunSpec

__all__ = ["PreparationReport", "Prepared", "encoder_of", "prepare", "preview", "validation_examples"]

_CHUNK = 2000  # rows encoded together: enough for every core, little enough to stay in cache
_Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class PreparationReport:
    """What became of the rows.

    Attributes:
        rows: samples to train on.
        tokens: their tokens.
        supervised_tokens: those that carry loss.
        packed_rows: rows of ``max_length`` they were packed into.
        fill: share of the packed rows that is tokens.
        quarantined: malformed rows.
        reasons: reason -> malformed rows.
        sources: lengths and losses per source.
        overlap: source -> kind -> training rows that also stand in the validation rows.
        overlapping: ids of validation rows that have a counterpart in training.
        dropped_overlap: training rows left out for it.
        from_cache: whether the arrays were found prepared.
    """

    rows: int
    tokens: int
    supervised_tokens: int
    packed_rows: int
    fill: float
    quarantined: int
    reasons: dict[str, int]
    sources: dict[str, Any]
    overlap: dict[str, dict[str, int]]
    overlapping: list[str]
    dropped_overlap: int
    from_cache: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Packed training rows, drawn validation examples, and the report."""

    rows: PackedRows
    validation: Sequence[Example]
    report: PreparationReport


def encoder_of(spec: RunSpec, tokenizer: Any) -> Encoder:
    """Return the one encoder of a run."""
    return Encoder(tokenizer, system_turns=spec.model.system_turns, supervise=spec.data.supervise)


def prepare(
    spec: RunSpec,
    host: PluginHost,
    tokenizer: Any,
    *,
    rows: Rows | None = None,
    quarantine_path: Path | None = None,
    progress: _Progress | None = None,
) -> Prepared:
    """Prepare the data of a run, or find it prepared.

    Args:
        spec: the run.
        host: finds the formatter.
        tokenizer: from ``load_tokenizer``.
        rows: training rows instead of ``spec.data.source``; these are never cached.
        quarantine_path: where malformed rows are noted.
        progress: called with the number of rows encoded so far.

    Raises:
        DataError: no usable rows, too many malformed ones, or too many lost to ``max_length``.
        HubUnreachableError: the data set is neither local nor reachable.
        StorageError: a file cannot be read, or the cache not written.
    """
    rows = list(rows) if rows is not None and iter(rows) is rows else rows  # read twice below
    encoder = encoder_of(spec, tokenizer)
    cache = PreparedCache(default_cache_dir())
    key = _key(spec, host, encoder) if rows is None and spec.data.cache else None
    found = cache.find(key) if key else None
    if found:
        facts = found[1]
        kept: dict[str, Any] = {**facts["report"], "from_cache": True}
        report = PreparationReport(**kept)
        return Prepared(found[0], [Example(**e) for e in facts["validation"]], report)
    with Quarantine(quarantine_path, spec.data.max_quarantined) as quarantine:
        validation = validation_examples(spec, host, rows=rows)
        preparation = _Preparation(spec, encoder, validation, quarantine)
        preparation.take(_training_examples(spec, host, quarantine, rows), progress)
        quarantine.check()
    arrays, facts = preparation.finish()
    if key is None:
        return Prepared(store_in_memory(arrays, facts), validation, PreparationReport(**facts["report"]))
    store, _facts = cache.keep(key, arrays, facts)
    return Prepared(store, validation, PreparationReport(**facts["report"]))


def validation_examples(spec: RunSpec, host: PluginHost, *, rows: Rows | None = None) -> list[Example]:
    """Draw the examples to score on: ``eval.rows_per_source`` of each source, by the seed."""
    examples = validation_pool(spec.data, host, Quarantine(None, 1.0), spec.seed, rows=rows)
    return sample_by_source(examples, spec.eval.rows_per_source, spec.seed)


def preview(
    spec: RunSpec, host: PluginHost, tokenizer: Any, n: int, *, rows: Rows | None = None
) -> list[EncodedExample]:
    """Return ``n`` training rows, drawn evenly by source, as the trainer will see them (before the length policy)."""
    quarantine = Quarantine(None, 1.0)
    sample = sample_by_source(training_examples(spec.data, host, quarantine, spec.seed, rows=rows), n, spec.seed)
    by_source: dict[str, list[Example]] = {}
    for example in sample:
        by_source.setdefault(example.source, []).append(example)
    turns = [group[i] for i in range(n) for group in by_source.values() if i < len(group)]
    return encoder_of(spec, tokenizer).encode_batch(turns[:n])


class _Preparation:
    """Takes examples chunk by chunk and keeps what the packed set is made of."""

    def __init__(self, spec: RunSpec, encoder: Encoder, validation: Sequence[Example], quarantine: Quarantine) -> None:
        self._spec, self._encoder, self._validation, self._quarantine = spec, encoder, validation, quarantine
        self._ledger = LengthLedger(spec.train.max_length)
        self._writer = SampleWriter(len(encoder.tokenizer))
        self._overlap = OverlapFinder(validation, [ids for ids, _mask in encoder.encode_arrays(validation)])
        self._dropped = 0

    def take(self, examples: Iterator[Example], progress: _Progress | None) -> None:
        """Encode, apply the length policy, look for overlap, keep."""
        done = 0
        while chunk := list(islice(examples, _CHUNK)):
            kept = [item for row in self._encoded(chunk) if (item := self._fitted(*row))]
            kinds = self._overlap.find([e for e, _ids, _mask in kept], [ids for _e, ids, _mask in kept]) if kept else []
            for (example, ids, mask), kind in zip(kept, kinds, strict=True):
                if kind and self._spec.data.drop_overlap:
                    self._dropped += 1
                else:
                    self._writer.add(example, ids, mask)
            done += len(chunk)
            if progress:
                progress(done)

    def finish(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Pack and return arrays and facts."""
        self._ledger.require_tolerable(accept_loss=self._spec.data.accept_loss)
        lengths = self._writer.lengths
        if not lengths:
            raise DataError(
                "no row is left to train on; look at data.include_sources, data.exclude_sources and max_length"
            )
        train = self._spec.train
        packed = (
            best_fit(lengths, train.max_length, self._spec.seed)
            if train.packing
            else [[i] for i in range(len(lengths))]
        )
        tokens = sum(lengths)
        report = PreparationReport(
            rows=len(lengths),
            tokens=tokens,
            supervised_tokens=self._writer.supervised,
            packed_rows=len(packed),
            fill=tokens / (len(packed) * train.max_length),
            quarantined=self._quarantine.count,
            reasons=dict(self._quarantine.reasons),
            sources=dict(self._ledger.to_json()),
            overlap={source: dict(kinds) for source, kinds in sorted(self._overlap.counts.items())},
            overlapping=sorted(self._overlap.evaluation_rows),
            dropped_overlap=self._dropped,
        )
        arrays, names, fingerprint = self._writer.arrays(packed)
        validation = [
            {
                "messages": list(e.messages),
                "source": e.source,
                "task": e.task,
                "row_id": e.row_id,
                "document": e.document,
            }
            for e in self._validation
        ]
        return arrays, {
            "names": names,
            "fingerprint": fingerprint,
            "report": report.to_json(),
            "validation": validation,
        }

    def _encoded(self, chunk: list[Example]) -> Iterator[tuple[Example, Any, Any]]:
        """Encode a chunk; when a row cannot be, the rows one by one, and those that cannot go to the quarantine."""
        try:
            yield from [(e, *arrays) for e, arrays in zip(chunk, self._encoder.encode_arrays(chunk), strict=True)]
        except DataError as error:
            if len(chunk) > 1:
                for example in chunk:
                    yield from self._encoded([example])
            else:
                self._quarantine.revoke(chunk[0].row_id, str(error))

    def _fitted(self, example: Example, ids: Any, mask: Any) -> tuple[Example, Any, Any] | None:
        """Apply the length policy; None for a row that is dropped."""
        supervised = int(mask.sum())
        self._ledger.note(example.source, len(ids), supervised)
        limit = self._spec.train.max_length
        if len(ids) <= limit:
            return example, ids, mask
        policy = self._spec.data.overlong
        if policy == "error":
            raise DataError(
                f"row '{example.row_id}' has {len(ids)} tokens and train.max_length is {limit}; raise it or choose "
                "another data.overlong"
            )
        shorter = shortened(example, limit, self._encoder) if policy == "truncate_input" else None
        if shorter is None:
            self._ledger.lose(example.source, supervised)
            return None
        self._ledger.sources[example.source].shortened += 1
        return shorter


def _training_examples(spec: RunSpec, host: PluginHost, quarantine: Quarantine, rows: Rows | None) -> Iterator[Example]:
    """Yield the training examples: without the held-out ones, weighted, and limited evenly by source."""
    examples = training_examples(spec.data, host, quarantine, spec.seed, rows=rows, part="learned")
    return examples if spec.data.limit is None else iter(draw_evenly(examples, spec.data.limit, spec.seed))


def _key(spec: RunSpec, host: PluginHost, encoder: Encoder) -> str | None:
    """Return the cache key; None when a formatter of unknown version formats the rows, or their commit is unknown."""
    formatters = {f.name: getattr(f, "version", None) for f in host.all("formatter")}
    foreign = [name for name, (_, owner) in host.provided("formatter").items() if owner not in BUILTIN_PLUGINS]
    data = spec.data
    chosen = {member.formatter for member in (data, *data.mix)}
    in_use = foreign if "auto" in chosen else [n for n in foreign if n in chosen]
    training, validation = training_fingerprint(data), validation_fingerprint(data)
    if any(formatters[name] is None for name in in_use) or training is None or validation is None:
        return None
    facts = {
        "medtune": __version__,
        "data": training,
        "validation": validation,
        "formatters": formatters,
        "encoder": encoder.fingerprint,
        "spec": data.model_dump(mode="json", exclude={"source", "validation", "cache"}),
        "max_length": spec.train.max_length,
        "packing": spec.train.packing,
        "seed": spec.seed,
        "rows_per_source": spec.eval.rows_per_source,
    }
    return cache_key(facts)
