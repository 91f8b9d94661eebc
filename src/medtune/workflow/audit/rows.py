"""The rows that an audit compares: as many that were trained on as were held out, of each source."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medtune.data.canaries import is_canary
from medtune.data.encode import Encoder
from medtune.data.held_out import fitting_samples
from medtune.data.prepare import encoder_of, trained_examples, validation_examples
from medtune.data.row_keys import keys_of
from medtune.data.splits import document_of, sample_by_source
from medtune.plugins.contracts import Example
from medtune.workflow.audit.request import AuditRequest
from medtune.workflow.given_rows import rows_again
from medtune.workflow.trained_rows import prepared_again

__all__ = ["AskedRow", "ComparedRows", "compared_rows"]


@dataclass(frozen=True, slots=True)
class AskedRow:
    """A row as the model reads it.

    Attributes:
        source: of the row.
        unit: what it varies together with: its document, else itself.
        prompt: ids before its answer.
        answer: ids of its answer, the one that ends it included.
    """

    source: str
    unit: Hashable
    prompt: Sequence[int]
    answer: Sequence[int]


@dataclass(frozen=True, slots=True)
class ComparedRows:
    """Rows of both sides, equally many of each source.

    Attributes:
        members: rows that were trained on.
        outsiders: rows that were not.
        left_out: reason -> rows or sources that could not be compared.
        encoder: of the run.
    """

    members: Sequence[AskedRow]
    outsiders: Sequence[AskedRow]
    encoder: Encoder
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])


def compared_rows(request: AuditRequest) -> ComparedRows:
    """Return the rows to compare, proved to be those of the run.

    Raises:
        DataError: they are no longer the same, or were never known.
    """
    spec, host, most = request.spec, request.host, request.rows_per_source
    request.on_stage("reading the rows of the run")
    given = rows_again(request.folder.path, request.record, request.rows)
    prepared, tokenizer = prepared_again(request.folder, request.record, spec, host, given)
    encoder = encoder_of(spec, tokenizer)
    trained = [e for e in trained_examples(spec, host, prepared.rows, rows=given) if not is_canary(e)]
    wide = spec.model_copy_with(eval=spec.eval.model_copy_with(rows_per_source=most))
    drawn = validation_examples(wide, host, rows=given)
    questions, overlapping = {keys_of(e).question for e in trained}, set(prepared.report.overlapping)
    apart = [e for e in drawn if e.row_id not in overlapping and keys_of(e).question not in questions]
    members = _by_source(_asked(sample_by_source(_once(trained), most, spec.seed), request, encoder))
    outsiders = _by_source(_asked(apart, request, encoder))
    both = sorted(members.keys() & outsiders.keys())
    sizes = {source: min(len(members[source]), len(outsiders[source])) for source in both}
    left_out = Counter(
        {
            "held-out rows whose question is trained on too": len(drawn) - len(apart),
            "sources without rows on both sides": len(members.keys() ^ outsiders.keys()),
        }
    )
    return ComparedRows(
        [row for source in both for row in members[source][: sizes[source]]],
        [row for source in both for row in outsiders[source][: sizes[source]]],
        encoder,
        dict(+left_out),
    )


def _once(examples: Iterable[Example]) -> Iterable[Example]:
    """Yield each row once, however often its weight has it trained on."""
    seen = set[int]()
    for example in examples:
        text = keys_of(example).text
        if text not in seen:
            seen.add(text)
            yield example


def _asked(examples: Sequence[Example], request: AuditRequest, encoder: Encoder) -> list[AskedRow]:
    """Return rows with the last answer of each, which is what a user of the adapter is given."""
    found: list[AskedRow] = []
    for sample in fitting_samples(request.spec, encoder, examples):
        ids: list[int] = sample.ids.tolist()
        first, end = sample.spans[-1]
        unit = document_of(sample.example) or sample.example.row_id
        found.append(AskedRow(sample.example.source, unit, ids[:first], ids[first:end]))
    return found


def _by_source(rows: Iterable[AskedRow]) -> dict[str, list[AskedRow]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.source].append(row)
    return dict(found)
