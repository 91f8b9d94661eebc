"""The adapters as the fast path multiplies by them: copies in the compute type, made once per pass, and their gradients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["AdapterGroup", "Adapters", "Member"]


@dataclass(frozen=True, slots=True)
class Member:
    """The adapter of one layer: parameters ``down`` [r, inputs] and ``up`` [outputs, r], fp32."""

    down: nn.Parameter
    up: nn.Parameter


@dataclass(frozen=True, slots=True)
class AdapterGroup:
    """Adapters of layers that read the same input; a layer without one counts as zeros.

    Attributes:
        number: of the group within the model, which its dropout masks depend on.
        down: [members * r, inputs], compute type.
        up: [r, outputs], compute type.
        down_gradient: fp32, as ``down``.
        up_gradient: fp32 [outputs, r].
        bounds: outputs where the layers begin, and the end.
    """

    number: int
    down: Tensor
    up: Tensor
    down_gradient: Tensor
    up_gradient: Tensor
    bounds: tuple[int, ...]

    @property
    def members(self) -> int:
        """Layers in the group."""
        return len(self.bounds) - 1


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a group lies in the flat memory."""

    number: int
    members: tuple[Member | None, ...]
    inputs: int
    bounds: tuple[int, ...]


class Adapters:
    """All adapters of a model, side by side in flat memory.

    Args:
        r: rank of every adapter.
        alpha: factor of every adapter.
        dtype: compute type.
    """

    def __init__(self, r: int, alpha: float, dtype: torch.dtype) -> None:
        self.r, self.alpha, self._dtype = r, alpha, dtype
        self._places: list[_Place] = []
        self._flat: Tensor | None = None

    def add(self, members: Sequence[Member | None], inputs: int, outputs: Sequence[int]) -> int | None:
        """Add the adapters of a group of layers.

        Args:
            members: one per layer, None where a layer has none.
            inputs: width of the layers' input.
            outputs: width of each layer's output.

        Returns:
            The number of the group, None when no layer has an adapter.
        """
        if not any(members):
            return None
        bounds = [0]
        for width in outputs:
            bounds.append(bounds[-1] + width)
        self._places.append(_Place(len(self._places), tuple(members), inputs, tuple(bounds)))
        return len(self._places) - 1

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, down before up, in the order in which groups were added."""
        found = [member for place in self._places for member in place.members if member is not None]
        return [parameter for member in found for parameter in (member.down, member.up)]

    def begin(self, gradients: Tensor | None) -> list[AdapterGroup]:
        """Return the groups with today's values in the compute type.

        Args:
            gradients: flat memory of their gradients, which is set to zero; None for a pass without any.
        """
        parameters = self.parameters
        device = parameters[0].device
        if self._flat is None or self._flat.device != device:
            self._flat = torch.zeros(self._size, dtype=self._dtype, device=device)
        # second factors lie the other way round: first in memory for this alone, then turned, many in one launch
        upright = torch.zeros(
            sum(self.r * place.bounds[-1] for place in self._places), dtype=self._dtype, device=device
        )
        groups: list[AdapterGroup] = []
        parts = [] if gradients is None else self._views(gradients.zero_())
        targets: list[Tensor] = []
        ups = torch.split(upright, [self.r * place.bounds[-1] for place in self._places])
        for place, (down, up), raw in zip(self._places, self._views(self._flat), ups, strict=True):
            for index, member in enumerate(place.members):
                if member is not None:
                    targets.append(down[index * self.r : (index + 1) * self.r])
                    targets.append(raw.view(-1, self.r)[place.bounds[index] : place.bounds[index + 1]])
            part = parts[place.number] if parts else (down, up)
            groups.append(AdapterGroup(place.number, down, up.view(self.r, -1), *part, place.bounds))
        torch.ops.aten._foreach_copy_(targets, [parameter.detach() for parameter in parameters])  # one launch for all
        for turned, raw in self._turns(self._flat, upright):
            turned.copy_(raw)
        return groups

    def memory(self) -> Tensor:
        """Take flat memory for the gradients, fp32, undefined."""
        return torch.empty(self._size, dtype=torch.float32, device=self.parameters[0].device)

    def gradients(self, flat: Tensor) -> list[Tensor]:
        """Return the gradients of ``parameters``, in their order, as views of their flat memory."""
        parts: list[Tensor] = []
        for place, (down, up) in zip(self._places, self._views(flat), strict=True):
            for index, member in enumerate(place.members):
                if member is not None:
                    parts.append(down[index * self.r : (index + 1) * self.r])
                    parts.append(up[place.bounds[index] : place.bounds[index + 1]])
        return parts

    def _turns(self, flat: Tensor, upright: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield where second factors lie, [groups, r, outputs], and the same places of ``upright``.

        Groups of one shape that lie at equal distances, as those of a decoder's layers do, come together.
        """
        starts: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        at = raw = 0
        for place in self._places:
            outputs = place.bounds[-1]
            at += self.r * len(place.members) * place.inputs
            starts.setdefault((place.inputs, *place.bounds), []).append((at, raw))
            at, raw = at + self.r * outputs, raw + self.r * outputs
        for (_inputs, *_bounds, outputs), pairs in starts.items():
            steps = {(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(pairs)}
            runs = [pairs] if len(steps) <= 1 else [[pair] for pair in pairs]
            step = steps.pop() if len(steps) == 1 else (0, 0)
            for run in runs:
                shape = (len(run), self.r, outputs)
                yield (
                    flat.as_strided(shape, (step[0], outputs, 1), run[0][0]),
                    upright.as_strided(shape, (step[1], 1, self.r), run[0][1]),
                )

    @property
    def _size(self) -> int:
        return sum(self.r * (len(p.members) * p.inputs + p.bounds[-1]) for p in self._places)

    def _views(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        views: list[tuple[Tensor, Tensor]] = []
        start = 0
        for place in self._places:
            height, outputs = self.r * len(place.members), place.bounds[-1]
            down_end = start + height * place.inputs
            end = down_end + outputs * self.r
            views.append((flat[start:down_end].view(height, place.inputs), flat[down_end:end].view(outputs, self.r)))
            start = end
        return views
