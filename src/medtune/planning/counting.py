"""Counts a run's rows before it begins, where they and the tokenizer are on this machine; asks no network."""

import random
import re
from collections.abc import Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.canaries import CANARY_SOURCE
from medtune.data.examples import Rows
from medtune.data.pack import prompts_of
from medtune.data.prefixes import prefix_groups
from medtune.data.prepare import Prepared, find_prepared, prepare
from medtune.data.row_checks import RowChecker
from medtune.data.rows import is_local
from medtune.data.sources.paths import local_files
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import DataError
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import DataSize
from medtune.specs import ModelSpec, RunSpec, SourceSpec

__all__ = ["count_rows", "size_of"]

_QUICK_BYTES = 256 * 2**20
"""Files up to this size are prepared for a plan, in about a minute; the result is kept, so that training finds it."""
_QUICK_ROWS = 20_000
"""Rows passed as objects, which are not kept, up to this number."""
_DRAWN = 20
"""Micro-batches that are drawn to see how much of them samples have in common; one where it holds all rows."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def count_rows(
    spec: RunSpec, host: PluginHost, rows: Rows | None = None, checker: RowChecker | None = None
) -> DataSize | None:
    """Return what the training rows come to: prepared before, or prepared now where that is quick.

    Args:
        spec: the run.
        host: finds the formatter.
        rows: training rows instead of ``spec.data.source``.
        checker: of encoded rows, the one that training uses, so that it finds what is prepared here.

    Returns:
        Sizes and counts; None where rows or tokenizer would have to be fetched, or would take long to count.

    Raises:
        DataError: the rows cannot be used as asked.
    """
    model = _local_tokenizer(spec.model)
    if model is None or not _are_here(spec, rows):
        return None
    # What is lost is told in the plan, and refused when it is trained on.
    data = spec.data.model_copy_with(accept_loss=True, accept_overlap=True)
    lenient = spec.model_copy_with(model=model, data=data)
    tokenizer = load_tokenizer(model)
    found = _found(lenient, host, tokenizer, checker) if rows is None else None
    if found is None and _is_quick(spec, rows):
        found = prepare(lenient, host, tokenizer, rows=rows, checker=checker)
    if found is None:
        return None
    size = size_of(found, spec)
    update = spec.train.per_device_batch_size * spec.train.gradient_accumulation_steps
    common = {str(n): _common_share(found, spec.seed, n) for n in range(1, update + 1) if update % n == 0}
    is_kept = rows is None and spec.data.cache  # so training finds what was prepared here
    return replace(size, facts={**size.facts, "common_prefixes": common}, is_kept=is_kept)


def size_of(prepared: Prepared, spec: RunSpec) -> DataSize:
    """Return the size of a prepared set, with the counts that a plan tells."""
    refused = ""
    try:
        prepared.report.require_tolerable(spec)
    except DataError as error:
        refused = str(error)
    facts: dict[str, Any] = {**prepared.report.summary(), "max_length": spec.train.max_length, "refused": refused}
    facts |= {"sample_tokens": prepared.rows.sample_tokens, "notes": prepared.report.notes()}
    sources = len(facts["sources"].keys() - {CANARY_SOURCE})  # of which none is scored
    tokens, is_kept = prepared.report.tokens, prepared.is_found
    return DataSize(len(prepared.rows), tokens, measured=True, facts=facts, sources=sources, is_kept=is_kept)


def _common_share(prepared: Prepared, seed: int, per_batch: int) -> float:
    """Return the share of a micro-batch's tokens that sharing prefixes would save, over some drawn with the seed."""
    count = len(prepared.rows)
    draw, tokens, saved = random.Random(seed), 0, 0
    for _ in range(_DRAWN if per_batch < count else 1):
        rows = [prepared.rows[index] for index in draw.sample(range(count), min(per_batch, count))]
        tokens += sum(len(row.input_ids) for row in rows)
        saved += sum(length * (len(members) - 1) for length, members in prefix_groups(prompts_of(rows)))
    return saved / tokens if tokens else 0.0


def _local_tokenizer(model: ModelSpec) -> ModelSpec | None:
    """Return the model as a local folder with a tokenizer; None when there is none."""
    from huggingface_hub import try_to_load_from_cache

    if model.path:
        folder = Path(model.path)
        return model if any((folder / name).is_file() for name in _TOKENIZER_FILES) else None
    for name in _TOKENIZER_FILES:
        cached = try_to_load_from_cache(model.name, name, revision=model.revision or "main")
        if isinstance(cached, str):
            return model.model_copy_with(path=str(Path(cached).parent))
    return None


def _are_here(spec: RunSpec, rows: Rows | None) -> bool:
    """Whether the rows can be found without asking the hub: local, or at a known commit and perhaps prepared."""
    members: list[SourceSpec] = [*spec.data.mix] if rows is not None else [spec.data, *spec.data.mix]
    return all(is_local(member.source) or _COMMIT.fullmatch(member.revision or "") for member in members)


def _found(spec: RunSpec, host: PluginHost, tokenizer: Any, checker: RowChecker | None) -> Prepared | None:
    try:
        return find_prepared(spec, host, tokenizer, checker)
    except DataError:  # a file is not there yet; training will say so
        return None


def _is_quick(spec: RunSpec, rows: Rows | None) -> bool:
    if rows is not None:
        return not spec.data.mix and iter(rows) is not rows and isinstance(rows, Sized) and len(rows) <= _QUICK_ROWS
    if not spec.data.cache or not all(is_local(member.source) for member in (spec.data, *spec.data.mix)):
        return False
    size = 0
    try:
        for member in (spec.data, *spec.data.mix):
            size += sum(file.path.stat().st_size for file in local_files(member.source, member.split))
    except (OSError, DataError):  # not there yet, as above
        return False
    return size <= _QUICK_BYTES
