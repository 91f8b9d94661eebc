"""What a person looks at before training: rows as tokens, lengths and losses per source, overlap, quarantine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.lengths import named_sources
from medtune.data.preparation_report import PreparationReport
from medtune.errors import StorageError
from medtune.errors.visible import html_text
from medtune.machine.owner_only import refuse_in_run, write_text
from medtune.plugins.contracts import EncodedExample

__all__ = ["Preview", "token_texts"]

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6470;--line:#d8dde3;--on:#cdebd3;--bg:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#9aa4af;--line:#3a424b;--on:#1f5130;--bg:#15181c}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--bg);max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:right;padding:.25rem .5rem;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}
.scroll{overflow-x:auto}.row{border:1px solid var(--line);border-radius:6px;padding:.75rem;margin:.75rem 0;overflow-wrap:anywhere;
font:13px/1.9 ui-monospace,monospace;white-space:pre-wrap}.row b{background:var(--on);border-radius:3px;font-weight:inherit}
.row span,.row b{border-right:1px dotted var(--line)}small{color:var(--soft)}svg{width:100%;height:90px}rect{fill:#4a7fb5}
"""

_PART = "\ufffd"
"""What decoders write for bytes that are part of a character."""
_LONGEST_CHARACTER = 8
"""Tokens that may make up a character, and those that a byte of it may stand in."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Sampled rows as the trainer sees them, and the report over all rows.

    Attributes:
        rows: encoded examples.
        tokens: the text of each token of each row, aligned with its ids.
        report: counts over the whole set.
        leak_test: what the leak test measured (its JSON form); None when it was not run.
    """

    rows: Sequence[EncodedExample]
    tokens: Sequence[Sequence[str]]
    report: PreparationReport
    leak_test: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return ``rows`` (ids and supervision), ``lengths`` per source, ``quarantined``, ``notes`` and the whole report.

        ``leak_test`` is there when it was run.
        """
        rows = [
            {
                "row_id": row.row_id,
                "source": row.source,
                "input_ids": list(row.input_ids),
                "supervised": list(row.supervised),
            }
            for row in self.rows
        ]
        report = self.report.to_json()
        values = {"rows": rows, "lengths": report["sources"], "quarantined": report["quarantined"], "report": report}
        values["notes"] = self.report.notes()
        return values if self.leak_test is None else {**values, "leak_test": self.leak_test}

    def write_html(self, path: Path) -> None:
        """Write one self-contained page, not into a run folder; it holds the text of the sampled rows."""
        refuse_in_run(path)
        try:
            write_text(path, "".join(self._page()))
        except OSError as error:
            raise StorageError(f"cannot write '{path}': {error.strerror}") from error

    def _page(self) -> Iterator[str]:
        report = self.report
        yield "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        yield f"<title>medtune preview</title><style>{_STYLE}</style><h1>What the trainer will see</h1>"
        yield (
            f"<p>{report.rows:,} samples, {report.tokens:,} tokens of which {report.supervised_tokens:,} carry loss, packed "
            f"into {report.packed_rows:,} rows ({report.fill:.1%} full). Malformed rows set aside: {report.quarantined:,}."
        )
        yield from (f"<p>{html_text(note)}" for note in report.notes())
        yield "<h2>Sources</h2><div class=scroll><table><tr><th>source<th>rows<th>tokens<th>supervised<th>longest"
        yield "<th>95 % need<th>99 % need<th>lost<th>supervised tokens lost<th>overlap with validation</tr>"
        for name, source in named_sources(report.sources).items():
            overlap = sum(report.overlap.get(name, {}).values())
            yield f"<tr><td>{html_text(name) or 'unnamed'}<td>{source['rows']:,}<td>{source['tokens']:,}"
            yield f"<td>{source['supervised_tokens']:,}<td>{source['longest']:,}<td>{source['needed']['95']:,}"
            yield f"<td>{source['needed']['99']:,}<td>{source['lost_rows']:,}"
            yield f"<td>{source['lost_supervised_tokens']:,}<td>{overlap:,}</tr>"
        yield "</table></div>"
        yield from self._tasks()
        yield from self._columns()
        for name, source in named_sources(report.sources).items():
            if "histogram" not in source:
                continue
            yield f"<h2>Lengths of {html_text(name) or 'the rows'}</h2>{_histogram(source['histogram'])}"
        for reason, count in report.reasons.items():
            yield f"<p><small>set aside {count:,} times: {html_text(reason)}</small>"
        yield "<h2>Rows</h2><p><small>Marked tokens carry loss.</small>"
        for row, tokens in zip(self.rows, self.tokens, strict=True):
            yield f"<p><small>{html_text(row.row_id)} {html_text(row.source)}, {len(row.input_ids)} tokens</small>"
            yield "<div class=row>"
            for token, supervised in zip(tokens, row.supervised, strict=True):
                tag = "b" if supervised else "span"
                yield f"<{tag}>{html_text(token)}</{tag}>"
            yield "</div>"
        yield "</html>"

    def _tasks(self) -> Iterator[str]:
        """Yield a table of what each source is."""
        yield "<h2>Tasks</h2><div class=scroll><table><tr><th>source<th>kind<th>known by<th>labels<th>negative<th>metric</tr>"
        for task in self.report.tasks:
            cells = [task["source"] or "unnamed", task["kind"], task["known"], f"{len(task['labels'])}"]
            cells += [", ".join(task["negative"]), task["metric"] or "of its kind"]
            yield f"<tr>{''.join(f'<td>{html_text(cell)}' for cell in cells)}</tr>"
        yield "</table></div>"

    def _columns(self) -> Iterator[str]:
        """Yield a table of the columns of each source."""
        yield "<h2>Columns</h2><div class=scroll><table><tr><th>source<th>column<th>is<th>rows<th>of the text<th>unread</tr>"
        for member in self.report.account:
            for column in member["columns"]:
                yield f"<tr><td>{html_text(member['source'])}<td>{html_text(column['column'])}<td>{column['state']}"
                yield f"<td>{column['rows']:,}<td>{column['share']:.1%}<td>{column['unread_share']:.1%}</tr>"
        yield "</table></div>"


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return the text of each token as it stands in the row: decoders drop the space that a text begins with.

    Of tokens that make up a character together, the first has it and the others are empty.

    Args:
        tokenizer: a transformers tokenizer backed by the tokenizers library.
        ids: of a row.
    """

    def decoded(*some: int) -> str:
        text: str = tokenizer.backend_tokenizer.decode(list(some), skip_special_tokens=False)
        return text

    def behind(start: int, end: int) -> str:
        """Return what the tokens from ``start`` to ``end`` add to the one before them."""
        before, both = ids[start - 1 : start], decoded(*ids[max(0, start - 1) : end])
        alone = decoded(*before) if before else ""
        return both.removeprefix(alone) if both.startswith(alone) else decoded(*ids[start:end])

    texts: list[str] = []
    while (start := len(texts)) < len(ids):
        ends = range(start + 1, min(start + _LONGEST_CHARACTER, len(ids)) + 1)
        whole = next((end for end in ends if _PART not in behind(start, end)), start + 1)
        texts += [behind(start, whole), *[""] * (whole - start - 1)]
    return texts


def _histogram(histogram: dict[str, Any]) -> str:
    """Draw rows per bucket of tokens as inline SVG."""
    counts, width = histogram["rows"], histogram["bucket_width"]
    tallest = max(counts) or 1
    bars = "".join(
        f"<rect x={i * 10} y={80 - 78 * n / tallest:.1f} width=9 height={78 * n / tallest:.1f}>"
        f"<title>{i * width + 1} to {(i + 1) * width} tokens: {n} rows</title></rect>"
        for i, n in enumerate(counts)
    )
    return (
        f"<svg viewBox='0 0 {len(counts) * 10} 90' preserveAspectRatio=none role=img aria-label='lengths'>{bars}</svg>"
    )
