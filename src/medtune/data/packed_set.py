"""Makes the packed set of a run: examples come in, chunk by chunk, and are encoded, fitted, compared and packed."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medtune.data.canaries import CANARY_SOURCE, account_of, is_canary
from medtune.data.duplicates import DuplicateCounter
from medtune.data.encode import Encoder
from medtune.data.encoding import ChunkEncoder, Encoded, encoded_rows
from medtune.data.inputs import input_starts
from medtune.data.lengths import MOST_NAMED, LengthLedger, require_sources
from medtune.data.overlap import COPIES, OverlapFinder
from medtune.data.pack import best_fit
from medtune.data.preparation_report import PreparationReport
from medtune.data.quarantine import Quarantine
from medtune.data.read_ahead import ReadAhead
from medtune.data.row_checks import RowChecker
from medtune.data.row_keys import keys_of
from medtune.data.samples import Sample, SampleWriter
from medtune.data.shorten import shortened
from medtune.errors import DataError, UnusableRowError
from medtune.plugins.contracts import Example
from medtune.specs import RunSpec

__all__ = ["PackedSetBuilder"]

_Refuse = Callable[[UnusableRowError], None]
_CHUNK_ROWS = 2000  # encoded together: enough for every core, little enough to stay in cache
_CHUNK_CHARACTERS = 4_000_000  # so that a chunk of very long rows stays small too
_COPY = re.compile(r"#\d+")


class PackedSetBuilder:
    """Takes examples and keeps what the packed set is made of.

    Args:
        spec: the run.
        encoder: of the run.
        validation: rows that training rows are compared with.
        quarantine: takes the rows that cannot be encoded.
        folder: where ids are written as they come; None keeps them in memory.
        checker: says which encoded rows would not score what they should; None checks none.
    """

    def __init__(
        self,
        spec: RunSpec,
        encoder: Encoder,
        validation: Sequence[Example],
        quarantine: Quarantine,
        folder: Path | None = None,
        checker: RowChecker | None = None,
    ) -> None:
        self._spec, self._encoder, self._quarantine, self._checker = spec, encoder, quarantine, checker
        self._ledger = LengthLedger()
        self.writer = SampleWriter(len(encoder.tokenizer), folder)
        self._held: list[UnusableRowError] = []
        encoded = _samples(list(validation), encoded_rows(encoder, list(validation)), self._held.append)
        usable = self._checked(encoded, self._held.append, every=True)
        if validation and not usable and checker is None:
            raise DataError(
                f"{len(validation)} of {len(validation)} validation rows cannot be used, most often: "
                f"{Counter(error.reason for error in self._held).most_common(1)[0][0]}"
            )
        self._validation = [sample.example for sample in usable]
        ids = [sample.ids for sample in usable]
        starts = input_starts(self._validation, ids, encoder)
        self._overlap = OverlapFinder(self._validation, ids, starts, drops=spec.data.drop_overlap)
        self._repeated = DuplicateCounter()
        self._scored = LengthLedger()
        for sample in usable:
            self._scored.note(sample.example.source, len(sample.ids), 0)
            if len(sample.ids) > spec.train.max_length:
                self._scored.lose(sample.example.source, 0)
        self._dropped = self._spelled = self._own = 0

    def take(self, examples: Iterator[Example]) -> None:
        """Encode, apply the length policy, look for overlap, keep; at most a chunk for each process is in memory."""
        ahead = ReadAhead(_chunks(examples), self._quarantine)
        for chunk, rows in ChunkEncoder(self._spec, self._encoder).encode(ahead):
            ahead.count()
            self._quarantine.draw(len(chunk))
            checked = self._checked(_samples(chunk, rows, self._set_aside), self._set_aside)
            kept = [(whole, fitted) for whole in checked if (fitted := self._fitted(whole))]
            if kept:
                self._keep(kept)
        ahead.finish()
        for error in self._held:  # validation rows; told now, so that they are seen beside the others
            self._quarantine.revoke(error.row_id, error.reason, drawn=False)

    def require_scored(self, limit: float) -> None:
        """Raise DataError when a larger share than ``limit`` of the rows to score on cannot be used."""
        drawn = len(self._validation) + len(self._held)
        if len(self._held) > limit * drawn:
            reason, times = Counter(error.reason for error in self._held).most_common(1)[0]
            raise DataError(
                f"{len(self._held)} of {drawn} validation rows cannot be used, most often ({times} times): {reason}; repair "
                "them, or raise data.max_quarantined"
            )

    def finish(self, validation: Mapping[str, Any]) -> dict[str, Any]:
        """Pack, and return what the set is found again by: ``samples``, ``report`` and ``validation``.

        Args:
            validation: what became of the rows that those to score on were drawn from.
        """
        require_sources(self._ledger)
        scored = {**validation, **self._scored_facts()}
        self._report([], scored).require_tolerable(self._spec)
        lengths = self.writer.lengths
        if not self._own:
            raise DataError(
                "no row is left to train on; look at data.include_sources, data.exclude_sources, data.identifiers and max_length"
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
            "overlap": [list(pair) for pair in self._overlap.settle().pairs],
            "report": self._report(packed, scored).to_json(),
            "validation": [asdict(example) for example in self._validation],
        }

    def _scored_facts(self) -> dict[str, Any]:
        """Return what is known of the rows to score on: how many, those that are too long, and sources without any."""
        sources = {name: s.brief() for name, s in sorted(self._scored.sources.items())}
        unscored = sorted(self._ledger.sources.keys() - sources.keys() - {CANARY_SOURCE}) if sources else []
        data = self._spec.data
        return {
            "drawn": len(self._validation),
            "wanted": self._spec.eval.enabled and (data.validation is not None or data.validation_fraction > 0),
            "capped": len(sources) > MOST_NAMED
            and len(self._validation) == MOST_NAMED * self._spec.eval.rows_per_source,
            "sources": sources,
            "over_max_length": sum(s["lost_rows"] for s in sources.values()),
            "unscored_sources": unscored,
        }

    def _report(self, packed: Sequence[Sequence[int]], scored: Mapping[str, Any]) -> PreparationReport:
        tokens = sum(self.writer.lengths)
        sources = dict(self._ledger.to_json())
        overlap = self._overlap.settle()
        found = self._checker.found() if self._checker else {}
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
            overlap=overlap.counts,
            overlapping=overlap.evaluation_rows,
            copied=len({pair.evaluation for pair in overlap.pairs if pair.trained and pair.kind in COPIES}),
            dropped_overlap=self._dropped,
            duplicates={"training": self._repeated.to_json(), "validation": _repeated(self._validation)},
            control_spelled=self._spelled,
            lint=found.pop("lint", []),
            tasks=found.pop("tasks", []),
            perfect_answers=found,
            account=account,
            canaries=account_of(self._spec),
            answers_without_loss=earlier if self._spec.data.supervise == "last" else 0,
            validation=dict(scored),
            identifiers=self._quarantine.account.identifiers.to_json() if self._quarantine.account else {},
        )

    def _keep(self, samples: list[tuple[Sample, Sample]]) -> None:
        """Compare rows as they were read, and keep them as they fit."""
        rows = [whole.example for whole, _fitted in samples]
        keys = [keys_of(row) for row in rows]
        kinds = self._overlap.find(rows, [whole.ids for whole, _fitted in samples], keys)
        drops = self._spec.data.drop_overlap
        stays = [not (drops and kind) for kind in kinds]
        self._dropped += stays.count(False)
        self._own += sum(stay and not is_canary(row) for row, stay in zip(rows, stays, strict=True))
        self._repeated.add(
            (row.source, of_row)
            for row, of_row, kept in zip(rows, keys, stays, strict=True)
            if kept and not _is_copy(row)
        )
        self.writer.add([fitted for (_whole, fitted), kept in zip(samples, stays, strict=True) if kept])

    def _set_aside(self, error: UnusableRowError) -> None:
        self._quarantine.revoke(error.row_id, error.reason)

    def _checked(self, samples: list[Sample], refuse: _Refuse, *, every: bool = False) -> list[Sample]:
        """Return the rows in which nothing is found wrong; the others are refused."""
        if self._checker is None:
            return samples
        planted = [sample for sample in samples if is_canary(sample.example)]  # which are never scored
        own = [sample for sample in samples if not is_canary(sample.example)]
        faults = self._checker.faults(own, self._encoder, every=every)
        for sample, fault in zip(own, faults, strict=True):
            if fault:
                refuse(UnusableRowError(sample.example.row_id, fault))
        return [sample for sample, fault in zip(own, faults, strict=True) if not fault] + planted

    def _fitted(self, sample: Sample) -> Sample | None:
        """Apply the length policy; None for a row that is dropped."""
        example, tokens = sample.example, len(sample.ids)
        supervised = sum(end - first for first, end in sample.spans)
        self._ledger.note(example.source, tokens, supervised)
        self._spelled += self._encoder.spells_control(example.messages[-1]["content"])
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


def _samples(chunk: list[Example], rows: list[Encoded], refuse: _Refuse) -> list[Sample]:
    """Return the rows that could be encoded; the others are refused."""
    samples: list[Sample] = []
    for example, row in zip(chunk, rows, strict=True):
        if isinstance(row, UnusableRowError):
            refuse(row)
        else:
            samples.append(Sample(example, *row))
    return samples


def _repeated(examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    counter = DuplicateCounter()
    counter.add((example.source, keys_of(example)) for example in examples)
    return counter.to_json()


def _is_copy(example: Example) -> bool:
    """Whether a row is there once more for its weight (see ``splits.repeated``), which nobody wants counted."""
    return _COPY.fullmatch(example.row_id, max(example.row_id.rfind("#"), 0)) is not None


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
