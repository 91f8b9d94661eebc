"""``medtune compare``: runs side by side."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medtune.cli.loss_tables import shown
from medtune.cli.options import AsJson, Traceback

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["add_to"]

_FIGURES = (
    ("state", "state", ""),
    ("steps", "updates", ",.0f"),
    ("train_loss", "mean training loss", ".4f"),
    ("seconds", "seconds of training", ",.0f"),
    ("tokens_per_second", "tokens/s", ",.0f"),
    ("peak_memory_gib", "peak memory, GiB", ".2f"),
)
_SAME = {"data": "training rows", "model": "base", "prompt_contract": "tokenizer and prompts"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders; each is tested against the first.")
    ],
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Put runs side by side: what differs in their specs, their figures and scores, and paired tests against the first."""
    from medtune.cli.console import print_json
    from medtune.plugins.host import create_host
    from medtune.workflow.compare_runs import compare_runs

    result = compare_runs(runs, create_host())
    if as_json:
        print_json(result)
    else:
        _print(result)


def _print(result: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    for run in result["runs"]:
        console.print(f"{run['name']}  {run['run']}", highlight=False, soft_wrap=True)
    names = [run["name"] for run in result["runs"]]
    for title, head, lines in (
        ("What differs in the specs", "field", _spec_lines(result)),
        ("Figures", "", _figure_lines(result["runs"])),
        ("Scores of the tuned models, with 95 % intervals", "task", _score_lines(result["runs"])),
    ):
        if lines:
            console.print(_table(title, [head, *names], lines))
    for sentence in _findings(result):
        console.print(sentence, highlight=False, soft_wrap=True)


def _table(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def _spec_lines(result: Mapping[str, Any]) -> list[list[str]]:
    return [
        [field, *("unset" if value is None else str(value) for value in of)] for field, of in result["spec"].items()
    ]


def _figure_lines(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    lines = [[label, *(_figure(run[key], form) for run in runs)] for key, label, form in _FIGURES]
    losses = [run["held_out_loss"] for run in runs]
    if any(losses):
        lines.append(["loss of validation rows", *("" if loss is None else shown(loss["loss"]) for loss in losses)])
    return lines


def _figure(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _score_lines(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    tasks = dict.fromkeys(task for run in runs for task in run["scores"])
    lines: list[list[str]] = []
    for task in tasks:
        scores = [run["scores"].get(task) for run in runs]
        metrics = dict.fromkeys(score["metric"] for score in scores if score)
        lines.append([f"{task} {', '.join(metrics)}", *(_score(score) for score in scores)])
    return lines


def _score(score: Mapping[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "" if score is None else "undefined"
    interval = score["interval"]
    return f"{score['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _findings(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is the same and what is not, and the verdicts of the tests."""
    for key, what in _SAME.items():
        yield f"{what}: {'the same' if result['same'][key] else 'not the same'} (by fingerprint)"
    losses = [run["held_out_loss"] for run in result["runs"]]
    if sum(loss is not None for loss in losses) > 1 and not _are_comparable(result):
        yield "losses of unlike rows, tokenizers or prompts cannot be held against each other"
    for found in result["comparisons"]:
        pair = f"{found['run']} against {found['against']}"
        if found["reason"]:
            yield f"{pair}: not tested; {found['reason']}"
        for task, of in found.get("tasks", {}).items():
            yield f"{pair}, {task}: {of['verdict']}"


def _are_comparable(result: Mapping[str, Any]) -> bool:
    """Whether the losses of all runs are of the same tokens."""
    measured = [run for run in result["runs"] if run["held_out_loss"]]
    tokens = {(run["rows"] or {}).get("sha256", "") + str(run["held_out_loss"]["tokens"]) for run in measured}
    return len(tokens) == 1 and result["same"]["prompt_contract"]
