"""How the loss of the validation rows looks in a terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medtune.data.held_out import loss_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["loss_table", "losses_in_words"]


def losses_in_words(losses: Mapping[str, float | None]) -> str:
    """Return losses by model as one phrase, such as "base 2.345, tuned 1.234"."""
    return ", ".join(f"{name} {loss_text(loss)}" for name, loss in losses.items())


def loss_table(result: Mapping[str, Any]) -> "Table":
    """Return the loss of an evaluation's rows, over all and by source, with the base's beside it where it was measured."""
    from rich.table import Table

    found, base = result["held_out_loss"], result.get("base", {}).get("held_out_loss", {})
    left_out = f", {found['left_out']:,} longer ones left out" if found["left_out"] else ""
    title = f"Loss per supervised token in nats, {found['rows']:,} rows{left_out}"
    table = Table(title=title, title_justify="left")
    for column in ("source", "tokens", *(["base"] if base else []), "tuned"):
        table.add_column(column, justify="left" if column == "source" else "right", overflow="fold")
    lines = [("all", found, base), *((name or "unnamed", of, _of(base, name)) for name, of in found["sources"].items())]
    for name, of, before in lines:
        between = [loss_text(before.get("loss"))] if base else []
        table.add_row(name, f"{of['tokens']:,}", *between, loss_text(of["loss"]))
    return table


def _of(found: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    of: Mapping[str, Any] = found.get("sources", {}).get(source, {})
    return of
