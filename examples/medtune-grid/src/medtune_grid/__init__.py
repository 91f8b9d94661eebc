"""A base in fp32 whose linear weights are rounded to a grid: what rounding alone costs, without any kernel."""

from collections.abc import Sequence
from typing import Any

from medtune import ModelSpec, QuantSpec, hookimpl
from medtune.plugins.contracts import Loaded, Quantizer
from medtune.plugins.host import create_host

STEPS = 64  # of the grid, from 0 to the largest weight of a matrix


def rounded(name: str, values: Any) -> Any:
    """Return the values of a weight matrix on the grid; all else stays as it is."""
    if values.ndim == 1 or "proj" not in name:
        return values
    step = values.abs().max().clamp_min(1e-12) / STEPS
    return (values / step).round() * step


class Grid:
    name = "grid"
    schemes = frozenset({"none"})

    def load(self, model: ModelSpec, spec: QuantSpec) -> Loaded:
        own = create_host(autoload=False).find("quantizer", "bitsandbytes")
        loaded: Loaded = own.load(model, spec.model_copy(update={"scheme": "none"}))
        for name, parameter in loaded.model.named_parameters():
            parameter.data = rounded(name, parameter.data)
        return loaded

    def stored_as(self, model: ModelSpec, spec: QuantSpec) -> Any:
        return rounded


@hookimpl
def provide_quantizers() -> Sequence[Quantizer]:
    return [Grid()]
