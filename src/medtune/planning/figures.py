"""Speeds that were measured on GPUs, in the place of estimates: those that users sent in, as ``medtune bench --share`` writes them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Self

from medtune.machine.gpus import gpu_of, sheet_of
from medtune.machine.hardware import Accelerator
from medtune.planning.memory import Setting, Shape
from medtune.planning.speed import Speed, estimate_speed
from medtune.specs import LoraSpec, QuantSpec, RunSpec, TrainSpec
from medtune.specs.bounded import json_file

__all__ = ["FORMAT", "Figure", "known_figures", "measured_speed"]

FORMAT = 1
_FARTHEST = 2.0
"""Largest factor between the widths of two bases at which the figure of one says anything of the other."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one bench measured.

    Attributes:
        card: the GPU.
        shape: of the base.
        setting: how it was trained.
        tokens_per_second: tokens trained, padding included.
    """

    card: Accelerator
    shape: Shape
    setting: Setting
    tokens_per_second: float

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Read a figure as ``medtune bench --share`` writes it.

        Raises:
            KeyError, TypeError: a field is missing, or none that this release knows.
            ValueError: it is of another format.
        """
        shape, settings, card = Shape.of(told["shape"]), told["settings"], told["card"]
        if told["format"] != FORMAT or shape is None:
            raise ValueError("a figure of another format")
        spec = RunSpec(
            quant=QuantSpec(scheme=settings["scheme"]),
            lora=LoraSpec(r=settings["r"]),
            train=TrainSpec(max_length=settings["max_length"]),
        )
        setting = Setting(
            spec=spec,
            dtype=settings["compute_dtype"],
            recompute=settings["recompute"],
            path=settings["path"],
            rows=settings["micro_batch_rows"],
            supervised=settings["supervised"],
            sample_tokens=settings["sample_tokens"],
            keeps_dequantized=settings["dequantized_weights"] == "keep",
        )
        capability = tuple(card["capability"])
        accelerator = Accelerator(
            str(card["name"]), float(card["memory_gib"]), (int(capability[0]), int(capability[1]))
        )
        return cls(accelerator, shape, setting, float(told["measured"]["tokens_per_second"]))

    @property
    def share(self) -> float | None:
        """Measured over estimated speed, None where there is no estimate."""
        estimate = estimate_speed(self.shape, self.setting, gpu_of(self.card))
        return None if estimate is None else self.tokens_per_second / estimate.tokens_per_second


@cache
def known_figures() -> tuple[Figure, ...]:
    """Return the figures that come with medtune."""
    with as_file(files("medtune.planning").joinpath("measured.json")) as file:
        return tuple(Figure.of(told) for told in json_file(file))


def measured_speed(
    shape: Shape, setting: Setting, estimate: Speed, card: Accelerator, figures: Sequence[Figure] | None = None
) -> Speed:
    """Return an estimate, scaled by what the nearest figure of the same GPU, path, storage and types measured of its own.

    Args:
        shape: of the base.
        setting: how it is to be trained.
        estimate: of that.
        card: the GPU.
        figures: those that are known, None for those that come with medtune.

    Returns:
        The estimate as it is where no figure is near.
    """
    sheet = sheet_of(card)
    near = [
        figure
        for figure in (known_figures() if figures is None else figures)
        if sheet is not None and sheet_of(figure.card) == sheet
        if _kind(figure.setting) == _kind(setting) and _apart(figure.shape, shape) <= math.log(_FARTHEST)
    ]
    if not near:
        return estimate
    found = min(near, key=lambda figure: _distance(figure, shape, setting))
    if found.share is None:
        return estimate
    of = found.shape
    told = (
        f"measured on {found.card.name}: {found.tokens_per_second:,.0f} tokens a second with {of.num_hidden_layers} layers of "
        f"width {of.hidden_size} in {found.setting.spec.quant.scheme}, {found.setting.rows} x "
        f"{found.setting.spec.train.max_length} tokens, which is {found.share:.2f} of the estimate for it, taken here too; "
    )
    return Speed(estimate.tokens_per_second * found.share, told + estimate.basis)


def _kind(setting: Setting) -> tuple[str, str, str]:
    return setting.path, setting.dtype, setting.spec.quant.scheme


def _apart(one: Shape, other: Shape) -> float:
    return abs(math.log(one.hidden_size / other.hidden_size))


def _distance(figure: Figure, shape: Shape, setting: Setting) -> tuple[float, bool, bool, float]:
    own = figure.setting
    others = own.recompute != setting.recompute, own.keeps_dequantized != setting.keeps_dequantized
    return _apart(figure.shape, shape), *others, abs(math.log(own.tokens / setting.tokens))
