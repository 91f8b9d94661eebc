"""How it looks in a terminal when an answer can be trusted: what confidence is worth, by task and source."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["trust_sentences", "trust_table"]

_FEW = "too few"


def trust_table(result: Mapping[str, Any]) -> "Table | None":
    """Return the table of an evaluation's answers, free ones and most probable labels; None where none is judged."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title="When to trust an answer", title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False
    )
    table.add_column("task, source", overflow="fold")
    for column in ("rows", "right", "AUROC", "Brier", "ECE", "area", "trust from", "given", "wrong"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, found in _judged(result):
        if not found["rows"]:
            continue
        figures = (found["right"], found["auroc"], found["brier"], found["ece"], found["risk_coverage"]["area"])
        table.add_row(name, str(found["rows"]), *map(_figure, figures), *_threshold(found["abstention"]))
    return table if table.row_count else None


def trust_sentences(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the table cannot say: what the threshold promises, which rows are left out, and the sets of labels."""
    if alpha := result.get("trust", {}).get("alpha"):
        has_labels = any("trust" in found for found in result.get("closed", {}).values())
        labels = "; by label: the most probable of the allowed labels" if has_labels else ""
        yield (
            f"trust from: of answers at least so sure, at most {alpha:.0%} are wrong, with 95 % chance over the rows that it "
            f"was chosen on (one half); given and wrong: shares of the other half; area: under the curve of risk against coverage{labels}"
        )
    for task, found in result.get("trust", {}).get("tasks", {}).items():
        for reason, count in found["left_out"].items():
            yield f"{task}: {count:,} answers {reason} are in none of these figures"
    for task, found in result.get("closed", {}).items():
        if sets := found.get("sets"):
            yield f"{task}: sets of labels that miss the right one in at most {sets['alpha']:.0%} of rows: {_sets(sets)}"
        if passed := found.get("passed_over"):
            yield f"{task}: {passed:,} open questions are not scored by label likelihood"


def _judged(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and figures: a line for the task, and lines for its sources where there are several."""
    trust, closed = result.get("trust", {}), result.get("closed", {})
    for task, found in trust.get("tasks", {}).items():
        yield task, found
        yield from _several({source: own[task] for source, own in trust["sources"].items() if task in own})
        if "trust" in (labels := closed.get(task, {})):
            yield f"{task}, by label", labels["trust"]
            yield from _several({source: own["trust"] for source, own in labels["sources"].items()})


def _several(by_source: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if len(by_source) > 1:
        yield from ((f"  {source}", found) for source, found in by_source.items())


def _sets(found: Mapping[str, Any]) -> str:
    if found["reason"]:
        return str(found["reason"])
    sizes = f"{found['mean_size']:.2f} labels on average, {found['single']:.0%} of the sets with one"
    return f"{sizes}, {found['coverage']:.1%} hold the right one"


def _threshold(found: Mapping[str, Any]) -> tuple[str, str, str]:
    if found["threshold"] is None:
        return (found["reason"].partition(":")[0] if found["reason"].startswith(_FEW) else "none enough"), "", ""
    return f"{found['threshold']:.4g}", f"{found['answered']:.0%}", _figure(found["error"])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
