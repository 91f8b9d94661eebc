"""A launch as it is asked for: options to a planned job."""

from collections.abc import Callable
from pathlib import Path

from medtune.errors import SpecError, UnknownKeyError
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec
from medtune.workflow.launch.job import Job, Volume
from medtune.workflow.launch.launching import Launched, launch
from medtune.workflow.options import LaunchOptions

__all__ = ["launch_run"]


def launch_run(
    engine: str, out: Path, spec: RunSpec, plan: Callable[..., Plan], options: LaunchOptions, *, has_rows: bool = False
) -> Launched:
    """Plan a run for the machines that are asked for, and write what starts it there.

    Args:
        engine: see ``launching.ENGINES``.
        out: folder of the files.
        spec: the run.
        plan: plans it, as ``MedTuner.plan`` does.
        options: see ``LaunchOptions``.
        has_rows: whether the rows were given in Python.

    Raises:
        SpecError: they were, and so they are on no other machine.
    """
    if has_rows:
        raise SpecError("rows that were given in Python are on no other machine; write them to a file for data.source")
    if unknown := options.keys() - LaunchOptions.__annotations__.keys():
        raise UnknownKeyError(min(unknown), "launch()", LaunchOptions.__annotations__)
    volume, gpus, nodes = options.get("volume"), options.get("gpus", 1), options.get("nodes", 1)
    job = Job(
        spec,
        plan(options.get("gpu"), gpus=gpus, nodes=nodes, net=options.get("net")),
        out.absolute(),
        Path.cwd(),
        gpus=gpus,
        nodes=nodes,
        gpu=options.get("gpu"),
        minutes=options.get("minutes"),
        image=options.get("image"),
        volume=None if volume is None else Volume.of(volume),
    )
    return launch(engine, job, writes=options.get("writes", True))
