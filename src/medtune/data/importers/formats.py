"""The formats that can be imported, and which of them a file is, by its content."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from medtune.data.importers.bigbio import read_bigbio_kb, read_bigbio_qa
from medtune.data.importers.bioc import read_bioc_json, read_bioc_xml
from medtune.data.importers.brat import annotation_files, read_brat
from medtune.data.importers.conll import looks_like_columns, read_columns
from medtune.data.importers.doccano import read_doccano
from medtune.data.importers.documents import Record, Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.label_studio import (
    is_classified,
    marked_columns,
    read_label_studio,
    read_label_studio_choices,
    read_label_studio_min,
)
from medtune.data.importers.pubtator import looks_like_pubtator, read_pubtator
from medtune.data.importers.questions import read_medmcqa, read_medqa, read_pubmedqa, read_squad
from medtune.data.importers.reading import Input, head_of
from medtune.data.sources.opening import open_bytes
from medtune.data.sources.paths import require_path
from medtune.errors import DataError, MedtuneError, SpecError

__all__ = ["FORMATS", "Format", "format_of", "named_format"]


class Format(NamedTuple):
    """A format: its name, how it is called in a sentence, its reader, and what it holds."""

    name: str
    title: str
    read: Callable[[Input, Told], Iterator[Record]]
    holds: str


FORMATS = {
    found.name: found
    for found in (
        Format("conll", "columns of tokens and tags (CoNLL)", read_columns, "tags"),
        Format("brat", "BRAT", read_brat, "mentions"),
        Format("bioc-xml", "BioC XML", read_bioc_xml, "mentions"),
        Format("bioc-json", "BioC JSON", read_bioc_json, "mentions"),
        Format("pubtator", "PubTator", read_pubtator, "mentions"),
        Format("bigbio", "BigBio kb", read_bigbio_kb, "mentions"),
        Format("bigbio-qa", "BigBio qa", read_bigbio_qa, "questions"),
        Format("doccano", "doccano", read_doccano, "mentions"),
        Format("label-studio", "Label Studio", read_label_studio, "mentions"),
        Format("label-studio-choices", "Label Studio with classes of texts", read_label_studio_choices, "questions"),
        Format(
            "label-studio-min",
            "rows with a list of spans (as Label Studio JSON-MIN)",
            read_label_studio_min,
            "mentions",
        ),
        Format("pubmedqa", "PubMedQA", read_pubmedqa, "questions"),
        Format("medqa", "MedQA", read_medqa, "questions"),
        Format("squad", "SQuAD", read_squad, "questions"),
        Format("medmcqa", "MedMCQA", read_medmcqa, "questions"),
    )
}
"""Name -> format."""
_LOOKED_AT = 20
_SPANS = ("label", "labels", "annotations", "entities")
"""Where doccano's spans stand."""
_BINARY = {
    b"PAR1": "a Parquet file, which needs no import: read it with data.source",
    b"ARROW1": "an Arrow file, which needs no import: read it with data.source",
    b"PK": "a ZIP archive (XLSX files are ones, too); unpack it first",
}
"""First bytes -> what a file is, and what to do with it."""


def named_format(name: str) -> Format:
    """Return the format of a name; SpecError where there is none."""
    if name in FORMATS:
        return FORMATS[name]
    close = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.5)
    meant = f"did you mean '{close[0]}'? " if close else ""
    raise SpecError(f"no format named '{name}'; {meant}known: {', '.join(FORMATS)}")


def format_of(source: Input) -> Format:
    """Say which format a file or folder is in; its name and ending do not count, but for BRAT's pairs of files.

    Raises:
        DataError: none of them; the sentence says what medtune does with such a file where it knows it.
        StorageError: it cannot be read.
    """
    path = source.path
    require_path(path)
    if annotation_files(path):
        return FORMATS["brat"]
    if path.is_dir():
        raise DataError(f"folder '{path}' holds no .ann file, so it is not BRAT's; import its files one by one")
    _refuse_tables(path)
    head = head_of(source).lstrip("\ufeff \t\r\n")
    if not head:
        raise DataError(f"'{path}' is empty")
    if head[0] == "<":
        return _xml(path, head)
    if head[0] in "{[" and (found := _json(source)) is not None:
        return FORMATS[found]
    lines = head.splitlines()
    if looks_like_pubtator(lines):
        return FORMATS["pubtator"]
    if looks_like_columns(lines):
        return FORMATS["conll"]
    raise DataError(_unknown(path))


def _xml(path: Path, head: str) -> Format:
    if "<collection" in head:
        return FORMATS["bioc-xml"]
    raise DataError(f"'{path}' is XML, but no BioC collection; medtune imports {_listed()}")


def _json(source: Input) -> str | None:
    """Return the name of a JSON format, None where the file is no JSON after all."""
    try:
        items = [
            item
            for item in islice(json_items(source, Told(), whole=False), _LOOKED_AT)
            if isinstance(item.value, Mapping)
        ]
    except MedtuneError:
        return None  # such as columns whose first token is a bracket
    names = [name for item in items if (name := _json_name(item.value)) is not None]
    if names and set(names) == {"doccano"} and not any(map(_has_span, (item.value for item in items))):
        names = names if any(map(_has_span, (item.value for item in json_items(source, Told())))) else []
        if not names:
            raise DataError(
                f"every list of labels in '{source.path}' is empty: nothing is marked; export it with its labels"
            )
    if 4 * len(names) >= len(items) > 0:
        return max(names, key=names.count)
    known = next((said for item in items if (said := _needs_no_import(item.value)) is not None), None)
    raise DataError(_unknown(source.path) if known is None else f"'{source.path}' {known}")


def _json_name(row: Mapping[str, Any]) -> str | None:
    """Return the format that one value is in, None where it is in none."""
    keys = row.keys()
    found: str | None = None
    if isinstance(row.get("passages"), list):
        found = "bigbio" if _is_kb(row) else "bioc-json"
    elif isinstance(row.get("documents"), list):
        found = "bioc-json"
    elif "QUESTION" in keys and "CONTEXTS" in keys:
        found = "pubmedqa"
    elif {"cop", "opa", "opb"} <= keys:
        found = "medmcqa"
    elif (
        {"question", "options"} <= keys and keys & {"answer", "answer_idx"} and isinstance(row["options"], dict | list)
    ):
        found = "medqa" if _is_lettered(row["options"]) else None
    elif {"question", "type", "choices", "answer"} <= keys:
        found = "bigbio-qa"
    elif isinstance(row.get("paragraphs"), list):
        found = "squad"
    return found or _marks_name(row)


def _marks_name(row: Mapping[str, Any]) -> str | None:
    """Return the format of a row whose text an annotation tool marked, None for none."""
    if isinstance(row.get("data"), Mapping) and row.keys() & {"annotations", "completions", "predictions"}:
        return "label-studio-choices" if is_classified(row) else "label-studio"
    if _is_doccano(row):
        return "doccano"
    return "label-studio-min" if marked_columns(row) else None


def _is_kb(row: Mapping[str, Any]) -> bool:
    first: Any = next(iter(row["passages"]), None)
    return "entities" in row and not (isinstance(first, Mapping) and "annotations" in first)


def _is_lettered(options: Any) -> bool:
    if isinstance(options, Mapping):
        return True
    return bool(options) and all(isinstance(o, Mapping) and {"key", "value"} <= o.keys() for o in options)


def _is_doccano(row: Mapping[str, Any]) -> bool:
    if not isinstance(row.get("text", row.get("data")), str):
        return False
    spans = next((row[key] for key in _SPANS if isinstance(row.get(key), list)), None)
    return spans is not None and all(_is_doccano_span(span) for span in spans)


def _has_span(row: Any) -> bool:
    return isinstance(row, Mapping) and any(row.get(key) for key in _SPANS)


def _is_doccano_span(span: Any) -> bool:
    if isinstance(span, Mapping):
        return {"start_offset", "end_offset"} <= span.keys()
    return isinstance(span, list) and len(span) == 3 and isinstance(span[0], int)  # noqa: PLR2004 - start, end, type


def _needs_no_import(row: Mapping[str, Any]) -> str | None:
    """Return what to do with rows of another kind, None where medtune does not know them."""
    keys = row.keys()
    if "resourceType" in keys:
        return "holds FHIR resources, which carry texts but no marks in them: there is nothing to learn from; export marks too"
    if (
        keys & {"instruction", "messages", "conversations", "prompt", "question", "Question", "tokens"}
        or {
            "text",
            "label",
        }
        <= keys
    ):
        return "needs no import: it holds rows; read it with data.source, or have a spec written by `medtune init FILE`"
    return None


def _refuse_tables(path: Path) -> None:
    """Refuse what cannot be text by its first bytes."""
    with open_bytes(path) as stream:
        head = stream.read(8)
    kind = next((kind for mark, kind in _BINARY.items() if head.startswith(mark)), None)
    if kind is not None:
        raise DataError(f"'{path}' is {kind}")


def _unknown(path: Path) -> str:
    if path.suffix.lower() in (".csv", ".tsv"):
        return (
            f"'{path}' is no annotation format; a table needs no import: read it with data.source, or export "
            "annotations as JSON"
        )
    return f"'{path}' is in none of the formats that medtune imports ({_listed()}); name one with --format"


def _listed() -> str:
    return ", ".join(FORMATS)
