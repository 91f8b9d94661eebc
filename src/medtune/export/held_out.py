"""The part of a report that shows the loss of the validation rows."""

from collections.abc import Mapping
from typing import Any

from medtune.data.held_out import loss_text
from medtune.export.page import ABSENT, Cell, section, table

__all__ = ["loss_section"]


def loss_section(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> str:
    """Return base against tuned over all rows and by source, from the scores of both; empty where neither was measured."""
    before, after = (scores.get("held_out_loss", {}) for scores in (base, tuned))
    if not (before or after):
        return ""
    names = list(dict.fromkeys([*before.get("sources", {}), *after.get("sources", {})]))
    lines = [("all", before, after)]
    lines += [(name or "unnamed", *(of.get("sources", {}).get(name, {}) for of in (before, after))) for name in names]
    rows = [
        [
            Cell.text(name),
            Cell(f"{(one or other)['tokens']:,}"),
            *(Cell(loss_text(of["loss"]) if of else ABSENT) for of in (one, other)),
            Cell(_difference(one.get("loss"), other.get("loss"))),
        ]
        for name, one, other in lines
    ]
    either = after or before
    left_out = (
        f" {either['left_out']:,} rows that are longer than a packed row were left out." if either["left_out"] else ""
    )
    note = (
        f"Mean cross entropy of the gold answers, in nats per token that carries loss, over {either['rows']:,} validation rows, "
        f"by the loss that training uses; lower is better.{left_out}"
    )
    shown = table(("source", "tokens", "base", "tuned", "difference"), rows, stack=True)
    return section("Loss of the validation rows", "held-out-loss", shown, f'<p class="note">{note}</p>')


def _difference(base: float | None, tuned: float | None) -> str:
    return ABSENT if base is None or tuned is None else f"{tuned - base:+.4f}"
