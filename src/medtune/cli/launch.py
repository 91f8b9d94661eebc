"""``medtune launch``: files that start a run on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medtune.cli.cluster import Gpus, Net, Nodes
from medtune.cli.durations import minutes_of
from medtune.cli.options import AsJson, BundleName, Sets, SpecFile, Traceback, tuner_of
from medtune.errors import SpecError
from medtune.workflow.terminal import say

if TYPE_CHECKING:
    from medtune.workflow.launch.launching import Launched
    from medtune.workflow.options import LaunchOptions

__all__ = ["add_to"]

_ENGINES = ("torchrun", "slurm", "kubernetes", "skypilot", "ray")


Torchrun = Annotated[bool, typer.Option("--torchrun", help="A script for the GPUs of one machine.")]
Slurm = Annotated[bool, typer.Option("--slurm", help="A batch script for Slurm.")]
Kubernetes = Annotated[bool, typer.Option("--kubernetes", help="A Job, or a TrainJob on several machines.")]
SkyPilot = Annotated[bool, typer.Option("--skypilot", help="A task for spot machines.")]
Ray = Annotated[bool, typer.Option("--ray", help="A job for a Ray cluster that has medtune-ray.")]
Kind = Annotated[
    str | None, typer.Option("--gpu", metavar="GPU", help="Kind of the GPUs: h200, ...; none is this machine's.")
]
Time = Annotated[str | None, typer.Option("--time", metavar="TIME", help="Limit of a Slurm job, as 4h; else planned.")]
Image = Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Container image with medtune.")]
VolumeName = Annotated[
    str | None, typer.Option("--volume", metavar="NAME:/PATH", help="Disk that outlives the machines.")
]
Folder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the files, not of the run.")]
Shown = Annotated[bool, typer.Option("--print", help="Print the files instead of writing them.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(launch)


def launch(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    torchrun: Torchrun = False,
    slurm: Slurm = False,
    kubernetes: Kubernetes = False,
    skypilot: SkyPilot = False,
    ray: Ray = False,
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    gpu: Kind = None,
    net: Net = None,
    time: Time = None,
    image: Image = None,
    volume: VolumeName = None,
    out: Folder = Path("launch"),
    shown: Shown = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Write the files that start the run on a cluster, from its plan; refused where the plan says that it does not fit."""
    wanted = zip(_ENGINES, (torchrun, slurm, kubernetes, skypilot, ray), strict=True)
    minutes = None if time is None else minutes_of(time, "--time")
    options: LaunchOptions = {"gpu": gpu, "gpus": gpus, "nodes": nodes, "net": net, "minutes": minutes}
    options |= {"image": image, "volume": volume, "writes": not shown}
    engine = _one_of([name for name, is_wanted in wanted if is_wanted])
    launched = tuner_of(spec, bundle, sets, None).launch(engine, out, **options)
    _tell(launched, shown=shown, as_json=as_json)


def _one_of(engines: list[str]) -> str:
    if len(engines) != 1:
        raise SpecError(f"give one of {', '.join(f'--{name}' for name in _ENGINES)}; {len(engines)} were given")
    return engines[0]


def _tell(launched: "Launched", *, shown: bool, as_json: bool) -> None:
    """Print what was written, or the files themselves; the command that starts the run goes to stdout."""
    from medtune.cli.console import print_json

    if as_json:
        print_json({**launched.to_json(), "written": not shown})
        return
    for line in launched.plan.lines():
        say(line, err=True)
    if shown:
        for name, text in launched.texts.items():
            say(f"### {name}")
            say(text, end="")
    else:
        for name in launched.texts:
            say(f"wrote {launched.folder / name}", err=True)
        say(launched.command)
