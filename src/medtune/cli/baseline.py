"""``medtune baseline``: what a user would have instead of the adapter, on the same rows and by the same scorer."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medtune.cli.evaluate import BasePath, RunFolderArgument
from medtune.cli.options import AsJson, Plugins, Sets, Traceback, plugin_files_for
from medtune.workflow.terminal import terminal

if TYPE_CHECKING:
    from medtune.specs import EncoderSpec

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(baseline)


def baseline(
    run: RunFolderArgument,
    encoder: Annotated[
        str | None, typer.Option(metavar="PATH|HUB", help="Encoder to fine-tune on the run's training rows.")
    ] = None,
    few_shot: Annotated[
        int,
        typer.Option("--few-shot", metavar="K", min=0, help="Training rows before each question to the untuned base."),
    ] = 0,
    simple: Annotated[
        bool, typer.Option("--simple", help="Dictionary, commonest answer, drawn answers, input copied.")
    ] = False,
    sets: Sets = None,
    max_length: Annotated[
        int | None, typer.Option(min=16, help="Most tokens of a few-shot prompt with its answer.")
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price-per-hour", min=0, help="Also say what training and 1,000 answers cost.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the fine-tuned encoders there.")] = None,
    base: BasePath = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Score an encoder, the base with examples, or simple systems on a run's rows, and test the adapter against each."""
    from medtune.cli.console import print_json
    from medtune.workflow.narration import Narrator
    from medtune.workflow.run import Run

    opened, settings = Run.open(run, base=base, plugins=plugin_files_for(run, plugins)), _settings(sets or ())
    others = {"max_length": max_length, "price_per_hour": price, "keep": keep}
    with Narrator() as told:
        found = opened.baseline(
            encoder, few_shot=few_shot, simple=simple, settings=settings, on_stage=told.stage, **others
        )
    if (run / "report.html").is_file():
        opened.report()
    (print_json if as_json else _print)(found)


def _settings(sets: Sequence[str]) -> "EncoderSpec":
    from medtune.errors import SpecError
    from medtune.specfile import apply_overrides
    from medtune.specs import EncoderSpec

    values = apply_overrides({}, sets)
    known = EncoderSpec.model_fields
    for name, value in values.items():
        if name not in known:
            raise SpecError(f"--set {name} is no setting of an encoder; there are {', '.join(known)}")
        try:
            EncoderSpec.model_validate({name: value})
        except ValueError:
            raise SpecError(
                f"--set {name} cannot be {value!r}; see EncoderSpec in the documentation's API page"
            ) from None
    return EncoderSpec.model_validate(values)


def _print(found: Mapping[str, Any]) -> None:
    from rich.table import Table

    console = terminal()
    table = Table(title=f"Baselines on the run's {found['rows']:,} rows", title_justify="left")
    for column in ("system", "task", "metric", "baseline", "tuned"):
        text = column in ("system", "task", "metric")
        table.add_column(column, justify="left" if text else "right", overflow="fold")
    times = Table(title="Time", title_justify="left")
    for column in ("system", "trained in", "1,000 answers"):
        times.add_column(column, justify="left" if column == "system" else "right", overflow="fold")
    for name, system in found["systems"].items():
        for task, compared in system["comparison"]["tasks"].items():
            table.add_row(name, task, compared["metric"], f"{compared['base']:.3f}", f"{compared['tuned']:.3f}")
        times.add_row(name, *_times(system))
    times.add_row("the adapter", *_times(found["tuned"]))
    console.print(table)
    console.print(times)
    for sentence in _sentences(found):
        console.print(sentence, highlight=False, soft_wrap=True)


def _times(found: Mapping[str, Any]) -> tuple[str, str]:
    training, each = found["seconds"]["training"], found["per_1000_rows"]
    cost, once = each["cost"], found["training_cost"]
    shown = "" if training is None else f"{training:,.1f} s"
    again = "" if each["seconds"] is None else f"{each['seconds']:,.1f} s"
    return (
        shown + (f", costs {once:.2f}" if once is not None else ""),
        again + (f", cost {cost:.2f}" if cost is not None else ""),
    )


def _sentences(found: Mapping[str, Any]) -> Iterator[str]:
    for name, system in found["systems"].items():
        for task, compared in system["comparison"]["tasks"].items():
            yield f"{task}: the adapter is {compared['verdict']}"
        for reason, rows in system["left_out"].items():
            yield f"{name}: {rows:,} rows left out {reason}"
    for one in found["published"]:
        value, own = one["value"], one["own"]["tuned"]
        yield (
            f"published for {one['set']}, {one['split']} (the size that '{one['source']}' has): {one['system']} "
            f"{one['metric']} {value:.3f}; the adapter {own:.3f} ({one['citation']})"
        )
