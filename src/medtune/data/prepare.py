"""Finds the prepared data of a run, or has it made: the packed training rows, the validation rows, and the report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from medtune.data.account import Account
from medtune.data.cache import PreparedCache, cache_key, default_cache_dir
from medtune.data.canaries import canary_examples, without_canaries
from medtune.data.encode import Encoder
from medtune.data.examples import (
    Part,
    Rows,
    files_told,
    training_examples,
    training_fingerprint,
    validation_fingerprint,
    validation_pool,
)
from medtune.data.lengths import MOST_NAMED
from medtune.data.overlap import Pair
from medtune.data.pack import SampleStore
from medtune.data.packed_set import PackedSetBuilder
from medtune.data.preparation_report import PreparationReport
from medtune.data.quarantine import QUARANTINE_FILE, Quarantine, copy_quarantine
from medtune.data.row_checks import RowChecker
from medtune.data.splits import draw_evenly, sample_by_source
from medtune.errors import DataError
from medtune.plugins.code import behaviour_hash
from medtune.plugins.contracts import EncodedExample, Example
from medtune.plugins.host import BUILTIN_PLUGINS, PluginHost
from medtune.specs import RunSpec
from medtune.version import __version__

__all__ = ["Prepared", "encoder_of", "find_prepared", "prepare", "preview", "trained_examples", "validation_examples"]

_LAYOUT = 10
"""Raised whenever the arrays or the report on disk change their form."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Packed training rows, drawn validation examples, the report, the pairs of rows that overlap, and whether it was kept."""

    rows: SampleStore
    validation: Sequence[Example]
    report: PreparationReport
    overlap: Sequence[Pair] = ()
    is_found: bool = False


def encoder_of(spec: RunSpec, tokenizer: Any) -> Encoder:
    """Return the one encoder of a run."""
    model, supervise = spec.model, spec.data.supervise
    return Encoder(tokenizer, system_turns=model.system_turns, supervise=supervise, model=model)


def prepare(
    spec: RunSpec,
    host: PluginHost,
    tokenizer: Any,
    *,
    rows: Rows | None = None,
    quarantine_path: Path | None = None,
    checker: RowChecker | None = None,
) -> Prepared:
    """Prepare the data of a run, or find it prepared.

    Args:
        spec: the run.
        host: finds the formatter.
        tokenizer: from ``load_tokenizer``.
        rows: training rows instead of ``spec.data.source``; these are never cached.
        quarantine_path: where malformed rows are noted.
        checker: says which encoded rows would not score what they should.

    Raises:
        DataError: no usable rows, too many malformed ones or ones with a fault, or too many lost to ``max_length``.
        HubUnreachableError: the data set is neither local nor reachable.
        StorageError: a file cannot be read, or the cache not written.
    """
    rows = list(rows) if rows is not None and iter(rows) is rows else rows  # read twice below
    encoder = encoder_of(spec, tokenizer)
    cache = PreparedCache(default_cache_dir())
    key = _key(spec, host, encoder, checker) if rows is None and spec.data.cache else None
    if key is None:
        builder, facts = _make(spec, host, encoder, _Places(rows, quarantine_path, None), checker)
        return _of_facts(builder.writer.in_memory(facts["samples"]), facts)
    found = _find(cache, key, quarantine_path)
    if found is not None:
        found.report.require_tolerable(spec)
        return replace(found, is_found=True)
    with cache.staging() as folder:
        _builder, facts = _make(spec, host, encoder, _Places(None, quarantine_path, folder), checker)
        return _of_facts(cache.keep(key, folder, facts), facts)


def find_prepared(
    spec: RunSpec, host: PluginHost, tokenizer: Any, checker: RowChecker | None = None
) -> Prepared | None:
    """Return what an earlier ``prepare`` of the same data with the same checker kept, None when there is nothing."""
    key = _key(spec, host, encoder_of(spec, tokenizer), checker) if spec.data.cache else None
    return None if key is None else _find(PreparedCache(default_cache_dir()), key, None)


def validation_examples(spec: RunSpec, host: PluginHost, *, rows: Rows | None = None) -> list[Example]:
    """Draw the examples to score on: ``eval.rows_per_source`` of each source, by the seed.

    With more than 50 sources as many are drawn as 50 would give, evenly.
    """
    return _drawn(spec, validation_pool(spec.rows, host, Quarantine(None, 1.0), spec.seed, rows=rows))


def _drawn(spec: RunSpec, pool: Iterable[Example]) -> list[Example]:
    drawn = sample_by_source(without_canaries(pool), spec.eval.rows_per_source, spec.seed)
    most = MOST_NAMED * spec.eval.rows_per_source
    return drawn if len(drawn) <= most else draw_evenly(drawn, most, spec.seed)


def trained_examples(spec: RunSpec, host: PluginHost, store: SampleStore, *, rows: Rows | None = None) -> list[Example]:
    """Return the examples that a prepared set holds as samples: those that are trained on, copies included.

    Args:
        spec: the run.
        host: finds the formatters.
        store: from ``prepare`` of the same run.
        rows: training rows instead of ``spec.source``.

    Raises:
        DataError: the source no longer gives all of them.
    """
    kept = set(store.row_ids)
    read = _training_examples(spec, host, Quarantine(None, 1.0), rows, "learned")
    found = [example for example in read if example.row_id in kept]
    if len(found) != len(kept):
        raise DataError(f"the source gives {len(found):,} of {len(kept):,} training rows again; put its files back")
    return found


def preview(
    spec: RunSpec, host: PluginHost, tokenizer: Any, n: int, *, rows: Rows | None = None
) -> list[EncodedExample]:
    """Return ``n`` training rows, drawn evenly by source, as the trainer will see them (before the length policy).

    Raises:
        DataError: as for ``prepare``; or no row is left.
    """
    quarantine = Quarantine(None, spec.data.max_quarantined)
    sample = sample_by_source(training_examples(spec.rows, host, quarantine, spec.seed, rows=rows), n, spec.seed)
    if not sample:
        raise DataError("no row is left to look at; look at data.include_sources and data.exclude_sources")
    by_source: dict[str, list[Example]] = {}
    for example in sample:
        by_source.setdefault(example.source, []).append(example)
    turns = [group[i] for i in range(n) for group in by_source.values() if i < len(group)]
    return encoder_of(spec, tokenizer).encode_batch(turns[:n])


class _Places(NamedTuple):
    """Where rows come from and where what is made of them goes."""

    rows: Rows | None
    quarantine: Path | None
    folder: Path | None


def _make(
    spec: RunSpec, host: PluginHost, encoder: Encoder, places: _Places, checker: RowChecker | None
) -> tuple[PackedSetBuilder, dict[str, Any]]:
    kept = places.folder / QUARANTINE_FILE if places.folder else None
    lasting, account = places.quarantine is not None, Account()
    limit = spec.data.max_quarantined
    with Quarantine(places.quarantine or kept, limit, account=account, lasting=lasting) as quarantine:
        validation, spared, found = _validation(spec, host, places.rows)
        builder = PackedSetBuilder(spec, encoder, validation, quarantine, places.folder, checker)
        try:
            builder.take(_training_examples(spec, host, quarantine, places.rows, spared))
            if checker:
                checker.require_few(limit)
            if not found["held_out"]:  # held-out rows count among those that they are held out from
                builder.require_scored(limit)
            quarantine.check()
            facts = builder.finish(found)
        finally:
            builder.writer.abandon()  # closed already where all went well
    if kept and places.quarantine:
        copy_quarantine(places.quarantine, kept)
    return builder, facts


def _validation(spec: RunSpec, host: PluginHost, rows: Rows | None) -> tuple[list[Example], set[str], dict[str, Any]]:
    """Return the examples to score on, the ids that are spared for them, and what became of the rows they are drawn from.

    Rows of their own are held to the same limits as training rows; held-out ones are counted among these.
    """
    spared: set[str] = set()
    if spec.data.validation is None or rows is not None:
        quarantine = Quarantine(None, 1.0)
        counted = _Counted(validation_pool(spec.rows, host, quarantine, spec.seed, rows=rows, spared=spared))
        return _drawn(spec, counted), spared, {"rows": counted.rows, "held_out": True}
    account = Account("validation ")
    quarantine = Quarantine(None, spec.data.max_quarantined, account=account)
    counted = _Counted(validation_pool(spec.rows, host, quarantine, spec.seed))
    drawn = _drawn(spec, counted)
    if not drawn:
        raise DataError(
            f"none of the rows of '{spec.data.validation}' is left to score on; look at data.validation, data.include_sources and "
            "data.exclude_sources"
        )
    facts = {"rows": counted.rows, "held_out": False, "quarantined": quarantine.count}
    return (
        drawn,
        spared,
        {**facts, "reasons": dict(quarantine.reasons), "account": account.to_json(), **_looked(account)},
    )


def _looked(account: Account) -> dict[str, Any]:
    found = account.identifiers.to_json()
    return {"identifiers": found} if found else {}


class _Counted:
    """Examples, counted as they are taken."""

    def __init__(self, examples: Iterator[Example]) -> None:
        self._examples, self.rows = examples, 0

    def __iter__(self) -> Iterator[Example]:
        for example in self._examples:
            self.rows += 1
            yield example


def _find(cache: PreparedCache, key: str, quarantine_path: Path | None) -> Prepared | None:
    """Look a set up in the cache; the places of its malformed rows are written again."""
    found = cache.find(key)
    if found is None:
        return None
    if quarantine_path:
        copy_quarantine(cache.root / key / QUARANTINE_FILE, quarantine_path)
    return _of_facts(*found, from_cache=True)


def _of_facts(store: SampleStore, facts: Mapping[str, Any], *, from_cache: bool = False) -> Prepared:
    values: dict[str, Any] = {**facts["report"], "from_cache": from_cache}
    pairs = [Pair(*values) for values in facts["overlap"]]
    return Prepared(store, [Example(**e) for e in facts["validation"]], PreparationReport(**values), pairs)


def _training_examples(
    spec: RunSpec, host: PluginHost, quarantine: Quarantine, rows: Rows | None, part: Part
) -> Iterator[Example]:
    """Yield the training examples: without the held-out ones, weighted, limited evenly by source; then the canaries."""
    examples = without_canaries(training_examples(spec.rows, host, quarantine, spec.seed, rows=rows, part=part))
    limit = spec.data.limit
    drawn = examples if limit is None else draw_evenly(examples, limit, spec.seed)
    return chain(drawn, canary_examples(spec))


def _key(spec: RunSpec, host: PluginHost, encoder: Encoder, checker: RowChecker | None) -> str | None:
    """Return the cache key; None when a formatter of unknown version or code formats the rows, or their commit is unknown."""
    provided, data = host.provided("formatter"), spec.rows
    formatters = {name: getattr(thing, "version", None) for name, (thing, _owner) in provided.items()}
    foreign = [name for name, (_thing, owner) in provided.items() if owner not in BUILTIN_PLUGINS]
    chosen = {member.formatter for member in (data, *data.mix)}
    in_use = foreign if "auto" in chosen else [n for n in foreign if n in chosen]
    training, validation = training_fingerprint(data), validation_fingerprint(data)
    code = {name: behaviour_hash(provided[name][0]) for name in in_use}
    unknown = any(formatters[name] is None or code[name] is None for name in in_use)
    readers = {n: [str(host.origin(o)), behaviour_hash(r)] for n, (r, o) in host.provided("reader").items()}
    unknown = unknown or any(code is None for _origin, code in readers.values())
    if unknown or training is None or validation is None:
        return None
    origins = {name: host.origin(provided[name][1]) for name in in_use}
    facts = {
        "medtune": __version__,
        "layout": _LAYOUT,
        "data": training,
        "validation": validation,
        "files": files_told(data),  # the report names them: equal rows of another folder have another account
        "formatters": formatters,
        "plugins": {name: [str(origin), code[name]] for name, origin in origins.items()},
        "readers": readers,
        "encoder": encoder.fingerprint,
        "spec": data.model_dump(
            mode="json", exclude={"source", "validation", "cache", "processes", "accept_loss", "accept_overlap"}
        ),
        "max_length": spec.train.max_length,
        "packing": spec.train.packing,
        "seed": spec.seed,
        "rows_per_source": spec.eval.rows_per_source,
        "checker": checker.identity if checker else "",
    }
    return cache_key(facts)
