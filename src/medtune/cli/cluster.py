"""The options that say on how many GPUs a run is planned and launched, and what these cost."""

from typing import Annotated

import typer

from medtune.errors import SpecError

__all__ = ["Gpus", "Net", "Nodes", "price_of"]

Gpus = Annotated[int, typer.Option("--gpus", metavar="N", help="GPUs in each machine.")]
Nodes = Annotated[int, typer.Option("--nodes", metavar="N", help="Machines.")]
Net = Annotated[str | None, typer.Option("--net", metavar="NET", help="Between machines: 25GbE, 100GbE, 400Gb, ...")]


def price_of(per_hour: float | None, per_gpu_hour: float | None, gpus: int) -> float | None:
    """Return the price of an hour of all GPUs, None where none was given.

    Raises:
        SpecError: both prices were given.
    """
    if per_hour is not None and per_gpu_hour is not None:
        raise SpecError("--price-per-hour and --price-per-gpu-hour exclude each other; give one of them")
    return per_hour if per_gpu_hour is None else per_gpu_hour * gpus
