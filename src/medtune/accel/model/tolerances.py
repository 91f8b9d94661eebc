"""What the proof before training tries, and which figures it takes for rounding: for the trainer and for the plan."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medtune.accel.model.agreement import Figures

__all__ = ["TOLERANCES", "WAYS", "Tolerance", "allowed_for", "precision_of"]

WAYS = ("fast path", "plain path", "plain path, own logits", "unpacked")
"""Ways to compute the loss, in the order in which they are tried; the first only where the fast path applies."""

_ROUNDINGS = 16
"""How much more a right pass moves than one rounding at its begin does: 4 measured on SmolLM2-135M, 30 layers, in fp32."""
_WIDEST = 10


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest figures that are taken for rounding, from measured right runs (docs/models.md)."""

    loss: float
    gradient: float
    scale: float
    leak: float
    foresight: float

    def beside(self, unsteady: "Figures") -> "Tolerance":
        """Return the bounds for a model whose own figures are as unsteady as that, at most ten times these."""
        return Tolerance(
            loss=min(max(self.loss, _ROUNDINGS * unsteady.loss), _WIDEST * self.loss),
            gradient=min(max(self.gradient, _ROUNDINGS * unsteady.gradient), _WIDEST * self.gradient),
            scale=min(max(self.scale, _ROUNDINGS * unsteady.scale), _WIDEST * self.scale),
            leak=self.leak,
            foresight=self.foresight,
        )

    def excess(self, figures: "Figures") -> str:
        """Return what is too large, as the end of a sentence; empty where nothing is."""
        wrong = {
            f"its loss is off by {figures.loss:.2g}": not figures.loss <= self.loss,  # so that NaN is refused
            f"its gradients are off by {figures.gradient:.2g}": not figures.gradient <= self.gradient,
            f"its gradients are scaled by {figures.scale:.2g} too much or too little": not figures.scale <= self.scale,
            f"samples that share a row see each other ({figures.leak:.2g})": not figures.leak <= self.leak,
        }
        return ", ".join(said for said, holds in wrong.items() if holds)


TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(loss=1e-5, gradient=1e-4, scale=1e-5, leak=1e-5, foresight=1e-5),
    "fp16": Tolerance(loss=5e-3, gradient=5e-2, scale=5e-3, leak=5e-3, foresight=5e-3),
    "bf16": Tolerance(loss=3e-2, gradient=0.4, scale=1e-2, leak=1e-2, foresight=1e-2),
    "fp8": Tolerance(loss=0.1, gradient=1.0, scale=5e-2, leak=1e-2, foresight=1e-2),
    "int8": Tolerance(loss=5e-2, gradient=0.5, scale=1.5e-2, leak=0.3, foresight=0.3),
}
"""By compute type, and by storage where that rounds more: in int8 every token of a batch rounds every other."""


def allowed_for(*names: str) -> Tolerance:
    """Return the widest bounds of a run's compute types and storage; a storage that rounds no activations has none."""
    each = [asdict(TOLERANCES[name]) for name in names if name in TOLERANCES]
    return Tolerance(**{figure: max(bounds[figure] for bounds in each) for figure in each[0]})


def precision_of(wanted: str, compute_dtype: str, *, on_cpu: bool) -> str:
    """Return the type that the trainer lets torch cast to on a GPU, on a CPU that of the base."""
    return compute_dtype if wanted == "auto" or on_cpu else wanted
