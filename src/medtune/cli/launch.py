"""``medtune launch``: files that start a run on a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli.cluster import Gpus, Net, Nodes
from medtune.cli.durations import minutes_of
from medtune.cli.options import AsJson, BundleName, Sets, SpecFile, Traceback, tuner_of
from medtune.errors import SpecError
from medtune.workflow.terminal import say

__all__ = ["add_to"]

_ENGINES = ("torchrun", "slurm", "kubernetes", "skypilot", "ray")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(launch)


def launch(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    torchrun: Annotated[bool, typer.Option("--torchrun", help="A script for this machine's GPUs.")] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="A batch script for Slurm.")] = False,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="A Job, or a TrainJob on several machines.")] = False,
    skypilot: Annotated[bool, typer.Option("--skypilot", help="A task for spot machines.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="A job for a Ray cluster that has medtune-ray.")] = False,
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="GPU", help="Kind of the GPUs: h200, ...; none is this machine's.")
    ] = None,
    net: Net = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="TIME", help="Limit of a job, as 4h; else planned.")
    ] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Container image with medtune.")] = None,
    volume: Annotated[
        str | None, typer.Option("--volume", metavar="NAME:/PATH", help="Disk that outlives the machines.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the files, not of the run.")] = Path(
        "launch"
    ),
    shown: Annotated[bool, typer.Option("--print", help="Print the files instead of writing them.")] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Write the files that start the run on a cluster, from its plan; refused where the plan says that it does not fit."""
    from medtune.cli.console import print_json

    asked = [
        name
        for name, is_wanted in zip(_ENGINES, (torchrun, slurm, kubernetes, skypilot, ray), strict=True)
        if is_wanted
    ]
    if len(asked) != 1:
        raise SpecError(f"give one of {', '.join(f'--{name}' for name in _ENGINES)}; {len(asked)} were given")
    launched = tuner_of(spec, bundle, sets, None).launch(
        asked[0],
        out,
        gpu=gpu,
        gpus=gpus,
        nodes=nodes,
        net=net,
        minutes=None if time is None else minutes_of(time, "--time"),
        image=image,
        volume=volume,
        writes=not shown,
    )
    if as_json:
        print_json({**launched.to_json(), "written": not shown})
    elif shown:
        for name, text in launched.texts.items():
            say(f"### {name}")
            say(text, end="")
    else:
        for line in launched.plan.lines():
            say(line, err=True)
        for name in launched.texts:
            say(f"wrote {launched.folder / name}", err=True)
        say(launched.command)
