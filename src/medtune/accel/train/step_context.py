"""What all blocks share during one pass over a micro-batch, and how it multiplies by adapters."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from medtune.accel.model.heads import Norm
from medtune.accel.steps.dropout import Dropout, DropoutKeys
from medtune.accel.steps.gate import AfterGate, BeforeGate
from medtune.accel.train.adapters import AdapterGroup
from medtune.accel.train.layout import PackedBatch
from medtune.accel.train.steps import Steps

__all__ = ["Pending", "StepContext"]


@dataclass(frozen=True, slots=True)
class Pending:
    """What is still to be added to the residual stream: a product [rows, width], and low-rank values with their factor."""

    out: Tensor
    adapter: tuple[Tensor, Tensor] | None


@dataclass(frozen=True, slots=True)
class StepContext:
    """One pass over a micro-batch.

    Attributes:
        steps: the form of the fused steps.
        batch: the tokens.
        angles: cosines and sines of the positions, [tokens, head width / 2] fp32.
        groups: adapters in the compute type, with their gradients.
        keys: of dropout.
        alpha: factor of the adapters.
        mlp_rows: rows of the MLP that are worked on at once when little memory may be used, None for all.
    """

    steps: Steps
    batch: PackedBatch
    angles: tuple[Tensor, Tensor]
    groups: list[AdapterGroup]
    keys: DropoutKeys
    alpha: float
    mlp_rows: int | None

    def normalise(self, x: Tensor, pending: Pending | None, norm: Norm) -> tuple[Tensor, Tensor, Tensor]:
        """Return the residual stream after the addition, its normalised form and the scale of that."""
        if pending is None:
            return self.steps.norm(x, None, None, norm.weight, norm.eps)
        return self.steps.norm(x, pending.out, pending.adapter, norm.weight, norm.eps)

    def group(self, number: int | None) -> AdapterGroup | None:
        """Return a group by its number, None for None."""
        return None if number is None else self.groups[number]

    def of_rows(self, rows: Tensor | None) -> Self:
        """Return the context of what comes after all but some tokens were left out; None for none left out."""
        return self if rows is None else replace(self, keys=self.keys.picked(rows))

    def dropout(self, group: AdapterGroup | None, first_row: int = 0) -> Dropout | None:
        """Return the dropout of a group's inputs."""
        return None if group is None else self.keys.of(group.number, group.members, first_row)

    def parts(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of the rows that the MLP works on at once."""
        size = self.mlp_rows or max(rows, 1)
        for start in range(0, rows, size):
            yield start, min(start + size, rows)

    def down(self, x: Tensor, group: AdapterGroup | None, first_row: int = 0) -> tuple[Tensor, Tensor] | None:
        """Return the adapters' low-rank values of ``x``, [rows, members * r], and their second factor."""
        if group is None:
            return None
        return self.steps.project(x, group.down, self.alpha, self.dropout(group, first_row)), group.up

    def before_gate(self, x: Tensor, group: AdapterGroup | None, first_row: int) -> BeforeGate | None:
        """Return the adapters of gate and up with their low-rank values of ``x``."""
        pair = self.down(x, group, first_row)
        return None if pair is None else BeforeGate(*pair, self.alpha)

    def after_gate(self, group: AdapterGroup | None, first_row: int, back: Tensor | None = None) -> AfterGate | None:
        """Return the adapter of the layer after the activation, with the gradient of its low-rank values."""
        if group is None:
            return None
        gradient = None if back is None else group.down_gradient
        return AfterGate(group.down, self.alpha, self.dropout(group, first_row), back, gradient)

    def back(self, gradient: Tensor, group: AdapterGroup | None, low: Tensor | None) -> Tensor | None:
        """Return the gradient of the adapters' low-rank values ``low``, from that of their outputs.

        The gradient of their second factors is added on the way.
        """
        if group is None or low is None:
            return None
        return self.steps.block_gradients(gradient, group.up, low, group.bounds, self.alpha, group.up_gradient)

    def through(
        self, back: Tensor | None, group: AdapterGroup | None, first_row: int = 0
    ) -> tuple[Tensor, Tensor, Dropout | None] | None:
        """Return what flows through the adapters to their input, in factors."""
        return None if back is None or group is None else (back, group.down, self.dropout(group, first_row))
