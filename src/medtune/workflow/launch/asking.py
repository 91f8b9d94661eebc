"""A launch as it is asked for: options to a planned job."""

from collections.abc import Callable, Mapping
from pathlib import Path

from medtune.errors import SpecError, UnknownKeyError
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec
from medtune.workflow.launch.job import Job, Volume
from medtune.workflow.launch.launching import ENGINES, Launched, launch
from medtune.workflow.options import LaunchOptions

__all__ = ["launch_run"]

_ON_A_VOLUME = ("kubernetes", "skypilot")
_READ_BY: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "minutes": ("time", ("slurm",)),
    "image": ("image", _ON_A_VOLUME),
    "volume": ("volume", _ON_A_VOLUME),
}
"""Of an option that not every engine reads: its name on the command line, and the engines that do."""


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
        SpecError: they were, and so they are on no other machine; or the engine does not read an option.
    """
    if has_rows:
        raise SpecError("rows that were given in Python are on no other machine; write them to a file for data.source")
    if unknown := options.keys() - LaunchOptions.__annotations__.keys():
        raise UnknownKeyError(min(unknown), "launch()", LaunchOptions.__annotations__)
    _require_read(engine, options)
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


def _require_read(engine: str, options: LaunchOptions) -> None:
    """Refuse what would change nothing in the files of a known engine."""
    given = [name for name in _READ_BY if options.get(name) is not None]
    for option, readers in (_READ_BY[name] for name in given if engine in ENGINES):
        if engine not in readers:
            instead = "; train.max_minutes=240 ends a run after a time" if option == "time" else ""
            by = " and ".join(f"--{reader}" for reader in readers)
            raise SpecError(
                f"--{option} is read by {by} alone, and would change nothing for --{engine}; leave it out{instead}"
            )
