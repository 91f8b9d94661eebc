"""From rows to examples: every source with its formatter, name and weight, and the quarantine for what is malformed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, cast

from medtune.data.formatters import MalformedRowError, choose_formatter
from medtune.data.quarantine import Quarantine
from medtune.data.rows import Row, data_fingerprint, is_local, read_rows
from medtune.data.sources.paths import is_file_name, splits_of
from medtune.data.splits import HoldOut, repeated
from medtune.errors import DataError
from medtune.plugins.contracts import Example, PromptFormatter
from medtune.plugins.host import PluginHost
from medtune.specs import DataSpec, SourceSpec

__all__ = [
    "Part",
    "Rows",
    "read_examples",
    "training_examples",
    "training_fingerprint",
    "training_rows",
    "validation_fingerprint",
    "validation_place",
    "validation_pool",
]

Rows = Iterable[Mapping[str, Any]]
Part = Literal["all", "learned", "held out"]
"""Which of the training rows: every one once, those that are not held out (by weight), or the others (once)."""

_ROLES = frozenset({"system", "user", "assistant"})


def training_examples(
    spec: DataSpec, host: PluginHost, quarantine: Quarantine, seed: int, *, rows: Rows | None = None, part: Part = "all"
) -> Iterator[Example]:
    """Yield the examples of ``spec.source`` and ``spec.mix``, or of the rows given in their place.

    Rows are held out before they are weighted: no copy of a held-out row is trained on.

    Args:
        spec: sources, their weights, the share held out, and the sources to include or exclude.
        host: finds formatters.
        quarantine: counts and keeps the malformed rows.
        seed: of the hold-out and of fractional weights.
        rows: instead of ``spec.source``.
        part: which rows; "all" does not hold out.

    Raises:
        DataError: no formatter fits, there is no row at all, or too many are malformed.
    """
    hold_out = HoldOut(spec.validation_fraction if _holds_out(spec, rows) else 0.0, seed)
    for number, member in enumerate((spec, *spec.mix)):
        own = rows if number == 0 else None
        examples = _examples(_member_rows(spec, member, own), member, host, quarantine)
        if spec.mix or member.name:
            name = member.name or (_label(member.source) if own is None else "rows")
            examples = _named(examples, name, prefix=f"mix{number}/" if number else "")
        examples = _wanted(spec, examples)
        if part != "all":
            examples = _part(examples, hold_out, held_out=part == "held out")
        if part == "learned" and member.weight != 1:
            examples = repeated(examples, member.weight, seed)
        yield from examples
    quarantine.check()


def training_rows(spec: DataSpec, rows: Rows | None = None) -> Iterator[Row]:
    """Return the rows of ``spec.source``, or those given in their place; ``spec.mix`` is left out."""
    return _member_rows(spec, spec, rows)


def validation_pool(
    spec: DataSpec, host: PluginHost, quarantine: Quarantine, seed: int, *, rows: Rows | None = None
) -> Iterator[Example]:
    """Yield the examples to draw the validation set from: those of ``spec.validation``, else the held-out ones.

    Args:
        spec: as for ``training_examples``.
        host: finds formatters.
        quarantine: counts and keeps the malformed rows.
        seed: of the hold-out.
        rows: training rows instead of ``spec.source``; then ``spec.validation``, which belongs to it, is not read.

    Raises:
        DataError: as for ``training_examples``; or the source has no such split.
    """
    if _holds_out(spec, rows):
        if spec.validation_fraction:
            yield from training_examples(spec, host, quarantine, seed, rows=rows, part="held out")
        return
    place = validation_place(spec)
    read = read_rows(place.source, revision=place.revision, subset=place.subset, split=place.split)
    examples = _examples(read, spec, host, quarantine)
    if spec.mix or spec.name:
        examples = _named(examples, spec.name or _label(spec.source))
    yield from _wanted(spec, examples)


def read_examples(rows: Iterable[Row], spec: DataSpec, host: PluginHost, quarantine: Quarantine) -> Iterator[Example]:
    """Format rows with ``spec.formatter``; malformed ones go to the quarantine with their place and the reason.

    Args:
        rows: as read.
        spec: formatter, and the sources to include or exclude.
        host: finds the formatter; "auto" chooses by the columns of the first good row.
        quarantine: counts and keeps the malformed rows.

    Raises:
        DataError: no formatter fits, there is no row at all, or too many are malformed.
    """
    yield from _wanted(spec, _examples(rows, spec, host, quarantine))
    quarantine.check()


def training_fingerprint(spec: DataSpec) -> str | None:
    """Return what the training rows depend on; None when they may change unnoticed."""
    parts: list[str] = []
    for member in (spec, *spec.mix):
        found = data_fingerprint(member.source, revision=member.revision, subset=member.subset, split=member.split)
        if found is None:
            return None
        parts.append(f"{_label(member.source) if spec.mix else ''}={found}")
    return " ".join(parts)


def validation_fingerprint(spec: DataSpec) -> str | None:
    """Return what the validation rows depend on: "" for held-out rows; None when they may change unnoticed."""
    if spec.validation is None:
        return ""
    place = validation_place(spec)
    return data_fingerprint(place.source, revision=place.revision, subset=place.subset, split=place.split)


def _member_rows(spec: DataSpec, member: SourceSpec, rows: Rows | None) -> Iterator[Row]:
    if rows is not None:
        return read_rows(rows)
    return read_rows(
        member.source, revision=member.revision, subset=member.subset, split=member.split, streaming=spec.streaming
    )


def _holds_out(spec: DataSpec, rows: Rows | None) -> bool:
    return spec.validation is None or rows is not None


def validation_place(spec: DataSpec) -> SourceSpec:
    """Tell files of their own from a split of ``spec.source``: a bare word is a split where the source has any."""
    place = str(spec.validation)
    of_source = not is_local(spec.source) or splits_of(spec.source)
    exists = Path(place).expanduser().exists()
    if is_file_name(place) or (exists and ("/" in place or not of_source)):
        return SourceSpec(source=place, split="validation" if splits_of(place) else "train")
    return SourceSpec(source=spec.source, revision=spec.revision, subset=spec.subset, split=place)


def _examples(rows: Iterable[Row], member: SourceSpec, host: PluginHost, quarantine: Quarantine) -> Iterator[Example]:
    format_row: Callable[[Mapping[str, Any]], Example] | None = None
    seen = False
    for row in rows:
        seen = True
        if row.fault:
            quarantine.refuse(row.row_id, row.place, row.fault)
            continue
        if format_row is None:
            format_row = _formatter(member.formatter, row.values, host).format
        example, fault = _formatted(format_row, row)
        if example is None:
            quarantine.refuse(row.row_id, row.place, fault)
        else:
            quarantine.accept()
            yield example
    if not seen:
        raise DataError(f"there is no row in '{member.source}'; check data.source and data.split")


def _formatter(name: str, values: Mapping[str, Any], host: PluginHost) -> PromptFormatter:
    if name != "auto":
        found: PromptFormatter = host.find("formatter", name)
        return found
    return choose_formatter(values.keys(), host.all("formatter"))


def _formatted(format_row: Callable[[Mapping[str, Any]], Example], row: Row) -> tuple[Example | None, str]:
    """Return the example with an id, or what is wrong with the row."""
    try:
        example = format_row(row.values)
        fault = _fault(example)
    except MalformedRowError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 - a user's formatter may raise anything, and quote the row
        return None, f"the formatter raised {type(error).__name__}"
    if fault:
        return None, fault
    if example.row_id:
        return example, ""
    # Written out: dataclasses.replace takes three times as long, and this runs for every row.
    return Example(example.messages, example.source, example.task, row.row_id, example.document), ""


def _fault(example: Any) -> str:
    """Say what makes an example unusable, without its text; empty when nothing does."""
    if not isinstance(example, Example):
        return f"the formatter returned a {type(example).__name__}, not an Example"
    messages = cast("Sequence[Mapping[str, Any]]", example.messages)  # a user's formatter may put anything there
    if len(messages) < 2 or messages[-1].get("role") != "assistant":  # noqa: PLR2004 - a question and an answer
        return "the conversation does not end with an answer of the assistant"
    for message in messages:
        content = message.get("content")
        if not isinstance(content, str) or message.get("role") not in _ROLES:
            return "a message has no text, or a role other than system, user and assistant"
        if not content.isascii() and not _is_whole(content):
            return "a text holds half a character (a lone surrogate)"
    return "" if messages[-1]["content"].strip() else "the answer is empty"


def _is_whole(content: str) -> bool:
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wanted(spec: DataSpec, examples: Iterator[Example]) -> Iterator[Example]:
    """Leave out the sources that are not included, and those that are excluded."""
    included, excluded = frozenset(spec.include_sources), frozenset(spec.exclude_sources)
    if not included and not excluded:
        return examples
    return (e for e in examples if (not included or e.source in included) and e.source not in excluded)


def _named(examples: Iterable[Example], name: str, prefix: str = "") -> Iterator[Example]:
    """Give rows without a source this one, and ids that no other member of a mix has."""
    for e in examples:
        yield Example(e.messages, e.source or name, e.task, f"{prefix}{e.row_id}", e.document)


def _label(source: str) -> str:
    """Return a source's name without folders and endings; of a glob, the folder's."""
    path = PurePath(source)
    if any(c in path.name for c in "*?["):
        path = path.parent
    return path.name.partition(".")[0] if is_file_name(source) else path.name


def _part(examples: Iterable[Example], hold_out: HoldOut, *, held_out: bool) -> Iterator[Example]:
    return (e for e in examples if hold_out.takes(e.source, e.document) == held_out)
