"""``medtune check``, ``plan`` and ``preview``: look before anything is trained."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli.cluster import Gpus, Net, Nodes, price_of
from medtune.cli.options import AsJson, BundleName, Out, Plugins, Sets, SpecFile, Traceback, tuner_of
from medtune.errors import SpecError
from medtune.workflow.terminal import say

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (check, plan, preview):
        app.command()(command)


def check(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    out: Out = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Check the spec alone: keys, values, names and local paths; loads no machine learning library."""
    from medtune.cli.console import print_json

    tuner = tuner_of(spec, bundle, sets, out, plugins)
    notes = tuner.check()
    if as_json:
        print_json({"ok": True, "spec": tuner.spec.model_dump(mode="json"), "notes": list(notes)})
    else:
        say("the spec is usable, as far as can be known without loading the base; medtune plan looks at the rest")
    for note in notes:
        say(note, err=True)


def plan(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    out: Out = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="GPU", help="Plan for this GPU: h200, rtx4090, ..., or 24GiB.")
    ] = None,
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    net: Net = None,
    price: Annotated[
        float | None, typer.Option("--price-per-hour", min=0, help="Also say what training costs at this price.")
    ] = None,
    gpu_price: Annotated[
        float | None, typer.Option("--price-per-gpu-hour", min=0, help="The same, at this price of each GPU.")
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove", help="Also load the base, which must be here, and prove the loss on the first micro-batch."
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 2 where the run does not fit.")] = False,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Say how the run would be done: backends, memory by part, steps, time, licence notices; downloads nothing."""
    from medtune.cli.console import print_json, print_plan

    planned = tuner_of(spec, bundle, sets, out, plugins).plan(gpu, prove=prove, gpus=gpus, nodes=nodes, net=net)
    per_hour = price_of(price, gpu_price, gpus * nodes)
    values = (planned if per_hour is None else planned.with_price(per_hour)).to_json()
    (print_json if as_json else print_plan)(values)
    if strict and not planned.fits:
        raise typer.Exit(SpecError.exit_code)


def preview(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Rows to show, drawn evenly by source.")] = 3,
    html: Annotated[Path | None, typer.Option(help="Also write a page with lengths per source.")] = None,
    leak_test: Annotated[
        bool,
        typer.Option(
            "--leak-test", help="Show whether samples in one row see each other, and what training does then."
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="RENDERED.jsonl", help="Name what differs from rows that another program rendered."
        ),
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Show rows as the tokens that the trainer will see, the supervised ones marked."""
    from medtune.cli.console import print_json
    from medtune.cli.preview import print_preview

    tuner = tuner_of(spec, bundle, sets, None, plugins)
    if against is not None:
        from medtune.cli.preview import print_comparison

        return print_comparison(tuner, against, as_json=as_json)
    shown = tuner.inspect(n, leak_test=leak_test)
    if html is not None:
        shown.write_html(html)
    return print_json(shown.to_json()) if as_json else print_preview(shown)
