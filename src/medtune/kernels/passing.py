"""What all blocks share during one pass over a micro-batch, and how it multiplies by adapters."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from medtune.kernels.adapters import AdapterGroup
from medtune.kernels.dropout import Dropout, DropoutSeeds
from medtune.kernels.layout import PackedBatch
from medtune.kernels.steps import Steps

__all__ = ["Norm", "Pass"]


@dataclass(frozen=True, slots=True)
class Norm:
    """Weight [width] and eps of a root-mean-square norm."""

    weight: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a micro-batch.

    Attributes:
        steps: the form of the fused steps.
        batch: the tokens.
        cos: [tokens, head width / 2] fp32.
        sin: as ``cos``.
        groups: adapters in the compute type, with their gradients.
        seeds: of dropout.
        alpha: factor of the adapters.
        mlp_rows: rows of the MLP that are worked on at once when little memory may be used, None for all.
    """

    steps: Steps
    batch: PackedBatch
    cos: Tensor
    sin: Tensor
    groups: list[AdapterGroup]
    seeds: DropoutSeeds
    alpha: float
    mlp_rows: int | None

    def group(self, number: int | None) -> AdapterGroup | None:
        """Return a group by its number, None for None."""
        return None if number is None else self.groups[number]

    def dropout(self, group: AdapterGroup | None, first_row: int = 0) -> Dropout | None:
        """Return the dropout of a group's inputs."""
        return None if group is None else self.seeds.of(group.number, group.members, first_row)

    def parts(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of the rows that the MLP works on at once."""
        size = self.mlp_rows or max(rows, 1)
        for start in range(0, rows, size):
            yield start, min(start + size, rows)

    def down(self, x: Tensor, group: AdapterGroup | None, first_row: int = 0) -> Tensor | None:
        """Return the adapters' low-rank values of ``x``, [rows, members * r]."""
        if group is None:
            return None
        return self.steps.project(x, group.down, group.members, self.alpha, self.dropout(group, first_row))

    def adapt(self, y: Tensor, x: Tensor, group: AdapterGroup | None, first_row: int = 0) -> Tensor | None:
        """Add the adapters' part of ``x`` to ``y`` in place and return their low-rank values."""
        low = self.down(x, group, first_row)
        if group is not None and low is not None:
            for part, begin, end in zip(low.chunk(group.members, 1), group.bounds[:-1], group.bounds[1:], strict=True):
                y[:, begin:end].addmm_(part, group.up[begin:end].t())
        return low

    def back(self, gradient: Tensor, group: AdapterGroup | None) -> Tensor | None:
        """Return the gradient of the adapters' low-rank values, from that of their outputs."""
        return None if group is None else self.steps.project_blocks(gradient, group.up, group.bounds, self.alpha)

    def add_back(self, y: Tensor, back: Tensor | None, group: AdapterGroup | None, first_row: int = 0) -> None:
        """Add what flows through the adapters to the gradient of their input, in place."""
        if group is not None and back is not None:
            self.steps.add_projected(y, back, group.down, group.members, self.dropout(group, first_row))

    def note(self, group: AdapterGroup | None, down_gradient: Tensor, gradient: Tensor, low: Tensor | None) -> None:
        """Add the gradients of both factors: of the first as given, of the second from ``gradient`` and ``low``."""
        if group is not None and low is not None:
            group.down_gradient.add_(down_gradient)
            group.up_gradient.add_(self.steps.weight_gradient_blocks(gradient, low, group.bounds))
