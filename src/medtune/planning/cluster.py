"""Machines that a run is spread over: how many processes, and how fast they reach each other."""

import re
from dataclasses import dataclass

from medtune.errors import SpecError
from medtune.machine.gpus import Gpu

__all__ = ["USUAL_NET", "Cluster", "ring_seconds"]

USUAL_NET = "25GbE"
"""Between machines where nobody says what is there."""
_NET = re.compile(r"(\d+(?:\.\d+)?)\s*g(?:b|bit|be|bps|bit/s)?", re.IGNORECASE)
_REACHED = 0.8
"""Share of a link's nominal speed that is taken to be reached; not measured."""
_STEP_SECONDS = 20e-6
"""That each of the 2 (n - 1) steps of a ring takes at least; not measured."""
_MOST = 4096


@dataclass(frozen=True, slots=True)
class Cluster:
    """GPUs of one kind, evenly over machines; on machines without GPUs, processes.

    Attributes:
        gpus: in each machine.
        nodes: machines.
        net: between machines, as people write it: 25GbE, 100Gb.

    Raises:
        SpecError: one of them is out of range, or ``net`` cannot be read.

    >>> Cluster(gpus=4, nodes=2).processes
    8
    """

    gpus: int = 1
    nodes: int = 1
    net: str | None = None

    def __post_init__(self) -> None:
        for name, count in (("gpus", self.gpus), ("nodes", self.nodes)):
            if not 1 <= count <= _MOST:
                raise SpecError(f"--{name} {count} is out of range; give 1 to {_MOST}")
        if self.net is not None:
            _gbits(self.net)

    @property
    def processes(self) -> int:
        """Processes in all, one for each GPU."""
        return self.gpus * self.nodes

    @property
    def of_several(self) -> "Cluster | None":
        """The cluster, None where it is one process."""
        return self if self.processes > 1 else None

    def with_processes(self, count: int) -> "Cluster":
        """Return the same machines with ``count`` processes in all: those of a machine first, then further machines."""
        gpus = min(count, self.gpus)
        return Cluster(gpus, max(1, count // gpus), self.net)

    def bytes_per_second(self, gpu: Gpu | None) -> tuple[float, str] | None:
        """Return the speed of the slowest link of a ring over all processes, and its name; None where it is unknown."""
        if self.nodes > 1:
            net = self.net or USUAL_NET
            return _gbits(
                net
            ) / 8 * 1e9 * _REACHED, net if self.net else f"{net} (taken, since no --net says otherwise)"
        if gpu is None or not gpu.link_gbs:
            return None
        return gpu.link_gbs * 1e9 * _REACHED, f"{gpu.link_gbs:g} GB/s within the machine"


def ring_seconds(count: int, size: float, speed: float, *, reduces: bool = True) -> float:
    """Return how long ``count`` processes take to exchange ``size`` bytes in a ring.

    Args:
        count: processes.
        size: bytes that each has in the end.
        speed: bytes per second of the slowest link.
        reduces: whether values are summed (each byte goes round twice), or only gathered.
    """
    rounds = (2 if reduces else 1) * (count - 1)
    return rounds * (size / count / speed + _STEP_SECONDS)


def _gbits(net: str) -> float:
    found = _NET.fullmatch(net.strip())
    if found is None or float(found[1]) <= 0:
        raise SpecError(f"--net '{net}' is no speed of a network; write 10GbE, 25GbE, 100GbE or 400Gb, in bits")
    return float(found[1])
