"""Makes the packed set of a run: examples come in, chunk by chunk, and are encoded, fitted, compared and packed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medtune.data.encode import Encoder
from medtune.data.lengths import MOST_NAMED, LengthLedger, require_sources
from medtune.data.overlap import OverlapFinder
from medtune.data.pack import best_fit
from medtune.data.preparation_report import PreparationReport
from medtune.data.quarantine import Quarantine
from medtune.data.samples import Sample, SampleWriter
from medtune.data.shorten import shortened
from medtune.errors import DataError
from medtune.plugins.contracts import Example
from medtune.specs import RunSpec

__all__ = ["PackedSetBuilder"]

_CHUNK_ROWS = 2000  # encoded together: enough for every core, little enough to stay in cache
_CHUNK_CHARACTERS = 4_000_000  # so that a chunk of very long rows stays small too


class PackedSetBuilder:
    """Takes examples and keeps what the packed set is made of.

    Args:
        spec: the run.
        encoder: of the run.
        validation: rows that training rows are compared with.
        quarantine: takes the rows that cannot be encoded.
        folder: where ids are written as they come; None keeps them in memory.
    """

    def __init__(
        self,
        spec: RunSpec,
        encoder: Encoder,
        validation: Sequence[Example],
        quarantine: Quarantine,
        folder: Path | None = None,
    ) -> None:
        self._spec, self._encoder, self._validation, self._quarantine = spec, encoder, validation, quarantine
        self._ledger = LengthLedger()
        self.writer = SampleWriter(len(encoder.tokenizer), folder)
        encoded = [ids for ids, _spans in encoder.encode_spans(validation)]
        self._overlap = OverlapFinder(validation, encoded)
        self._scored = LengthLedger()
        for example, ids in zip(validation, encoded, strict=True):
            self._scored.note(example.source, len(ids), 0)
            if len(ids) > spec.train.max_length:
                self._scored.lose(example.source, 0)
        self._dropped = 0

    def take(self, examples: Iterator[Example], progress: Callable[[int], None] | None = None) -> None:
        """Encode, apply the length policy, look for overlap, keep; at most a chunk is in memory."""
        done = 0
        for chunk in _chunks(examples):
            kept = [sample for row in self._encoded(chunk) if (sample := self._fitted(row))]
            if kept:
                self._keep(kept)
            done += len(chunk)
            if progress:
                progress(done)

    def finish(self, validation: Mapping[str, Any]) -> dict[str, Any]:
        """Pack, and return what the set is found again by: ``samples``, ``report`` and ``validation``.

        Args:
            validation: what became of the rows that those to score on were drawn from.
        """
        require_sources(self._ledger)
        scored = {**validation, **self._scored_facts()}
        self._report([], scored).require_tolerable(self._spec)
        lengths = self.writer.lengths
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
        samples = self.writer.finish(packed)
        self.writer.close()
        return {
            "samples": samples,
            "report": self._report(packed, scored).to_json(),
            "validation": [asdict(example) for example in self._validation],
        }

    def _scored_facts(self) -> dict[str, Any]:
        """Return what is known of the rows to score on: how many, those that are too long, and sources without any."""
        sources = {name: s.brief() for name, s in sorted(self._scored.sources.items())}
        unscored = sorted(self._ledger.sources.keys() - sources.keys()) if sources else []
        turns = [json.dumps([m["content"] for m in e.messages]) for e in self._validation]
        return {
            "drawn": len(self._validation),
            "capped": len(sources) > MOST_NAMED and len(turns) == MOST_NAMED * self._spec.eval.rows_per_source,
            "sources": sources,
            "over_max_length": sum(s["lost_rows"] for s in sources.values()),
            "unscored_sources": unscored,
            "duplicates": len(turns) - len(set(turns)),
        }

    def _report(self, packed: Sequence[Sequence[int]], scored: Mapping[str, Any]) -> PreparationReport:
        tokens = sum(self.writer.lengths)
        sources = dict(self._ledger.to_json())
        account = self._quarantine.account.to_json() if self._quarantine.account else []
        earlier = sum(member["earlier_answers"] for member in account)
        return PreparationReport(
            rows=len(self.writer.lengths),
            tokens=tokens,
            supervised_tokens=self.writer.supervised,
            packed_rows=len(packed),
            fill=tokens / (len(packed) * self._spec.train.max_length) if packed else 0.0,
            quarantined=self._quarantine.count,
            reasons=dict(self._quarantine.reasons),
            sources=sources,
            needed=self._ledger.needed(),
            lost_rows=sum(s["lost_rows"] for s in sources.values()),
            lost_supervised_tokens=sum(s["lost_supervised_tokens"] for s in sources.values()),
            overlap={source: dict(kinds) for source, kinds in sorted(self._overlap.counts.items())},
            overlapping=[] if self._spec.data.drop_overlap else sorted(self._overlap.evaluation_rows),
            dropped_overlap=self._dropped,
            account=account,
            answers_without_loss=earlier if self._spec.data.supervise == "last" else 0,
            validation=dict(scored),
        )

    def _keep(self, samples: list[Sample]) -> None:
        kinds = self._overlap.find([s.example for s in samples], [s.ids for s in samples])
        if self._spec.data.drop_overlap:
            self._dropped += sum(kind is not None for kind in kinds)
            samples = [sample for sample, kind in zip(samples, kinds, strict=True) if kind is None]
        self.writer.add(samples)

    def _encoded(self, chunk: list[Example]) -> Iterator[Sample]:
        """Encode a chunk; when a row cannot be, the rows one by one, and those that cannot go to the quarantine."""
        try:
            encoded = zip(chunk, self._encoder.encode_spans(chunk), strict=True)
            yield from [Sample(example, ids, spans) for example, (ids, spans) in encoded]
        except DataError as error:
            if len(chunk) > 1:
                for example in chunk:
                    yield from self._encoded([example])
            else:
                self._quarantine.revoke(chunk[0].row_id, str(error))

    def _fitted(self, sample: Sample) -> Sample | None:
        """Apply the length policy; None for a row that is dropped."""
        example, tokens = sample.example, len(sample.ids)
        supervised = sum(end - first for first, end in sample.spans)
        self._ledger.note(example.source, tokens, supervised)
        limit = self._spec.train.max_length
        if tokens <= limit:
            return sample
        policy = self._spec.data.overlong
        if policy == "error":
            raise DataError(
                f"row '{example.row_id}' has {tokens} tokens and train.max_length is {limit}; raise it or choose "
                "another data.overlong"
            )
        shorter = shortened(example, limit, self._encoder) if policy == "truncate_input" else None
        if shorter is None:
            self._ledger.lose(example.source, supervised)
            return None
        self._ledger.sources[example.source].shortened += 1
        return shorter


def _chunks(examples: Iterator[Example]) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    characters = 0
    for example in examples:
        chunk.append(example)
        characters += sum(len(m["content"]) for m in example.messages)
        if len(chunk) == _CHUNK_ROWS or characters > _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
