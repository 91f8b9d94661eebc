"""How a preview looks in a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medtune.cli.account import print_account
from medtune.cli.task_tables import print_contracts
from medtune.data.lengths import named_sources
from medtune.data.preview import Preview
from medtune.errors.visible import visible
from medtune.plugins.contracts import EncodedExample
from medtune.workflow.terminal import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from medtune.tuner import MedTuner

__all__ = ["print_comparison", "print_preview"]

_COLUMNS = ("source", "rows", "tokens", "supervised", "95 % need", "99 %", "100 %", "lost rows", "tokens", "overlap")


def print_preview(preview: Preview) -> None:
    """Print lengths per source, then each row with its supervised tokens in colour (or brackets without colour)."""
    console, report = terminal(), preview.report
    _print_sources(console, preview)
    console.print(
        f"{report.packed_rows:,} packed rows, {report.fill:.1%} full; {report.quarantined} malformed rows set aside"
    )
    print_contracts(console, report.tasks)
    print_account(console, report.to_json())
    for reason, count in report.reasons.items():
        console.print(f"set aside {count:,} times: {reason}", highlight=False, markup=False)
    for note in report.notes():
        console.print(note, highlight=False, markup=False)
    _print_leak_test(console, preview.leak_test)
    for row, tokens in zip(preview.rows, preview.tokens, strict=True):
        _print_row(console, row, tokens)


def print_comparison(tuner: "MedTuner", rendered: "Path", *, as_json: bool) -> None:
    """Print what differs between rows that another program rendered and medtune's, each line's first difference."""
    from medtune.cli.console import print_json
    from medtune.data.tokenizer import load_tokenizer
    from medtune.workflow.taken_over.rendered import compare_rendered, told
    from medtune.workflow.terminal import say

    found = compare_rendered(rendered, tuner.spec, tuner.host, load_tokenizer(tuner.spec.model))
    if as_json:
        print_json(
            {"rows": [each.to_json() for each in found], "differing": sum(bool(each.differences) for each in found)}
        )
    for line in told(found) if not as_json else ():
        say(visible(line))


def _print_sources(console: "Console", preview: Preview) -> None:
    from rich.table import Table

    report = preview.report
    table = Table(title="Sources", title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "source" else "right", overflow="fold")
    for name, source in named_sources(report.sources).items():
        figures = [source[key] for key in ("rows", "tokens", "supervised_tokens")]
        figures += [*source["needed"].values(), source["lost_rows"], source["lost_supervised_tokens"]]
        figures.append(sum(report.overlap.get(name, {}).values()))
        table.add_row(name or "unnamed", *(f"{figure:,}" for figure in figures))
    console.print(table)


def _print_row(console: "Console", row: EncodedExample, tokens: Sequence[str]) -> None:
    """Print a row with its supervised tokens in colour, or in brackets where there is none."""
    from rich.text import Text

    console.print(f"\n{row.row_id}  {row.source}  {len(row.input_ids)} tokens", style="bold", highlight=False)
    text, inside = Text(), False
    for token, supervised in zip(tokens, row.supervised, strict=True):
        if console.color_system is None and bool(supervised) != inside:
            text.append("[[" if supervised else "]]")
        inside = bool(supervised)
        text.append(visible(token), style="black on green" if supervised else "")
    text.append("]]" if inside and console.color_system is None else "")
    console.print(text, soft_wrap=True)


def _print_leak_test(console: "Console", outcome: Mapping[str, Any] | None) -> None:
    """Print a line per attention, and what training does where samples see each other."""
    if outcome is None:
        return
    if not outcome["rows"]:
        console.print("leak test: no row holds two samples, so there is nothing that could leak")
    for attention, figures in outcome["attention"].items():
        console.print(
            f"leak test, {attention}, {outcome['model']}: changing {figures['samples']} samples moved others by "
            f"{figures['largest_change']:.2g} ({figures['control']:.2g} without isolation)",
            highlight=False,
        )
    if outcome.get("fallback"):
        console.print(f"leak test: {outcome['fallback']}", highlight=False)
