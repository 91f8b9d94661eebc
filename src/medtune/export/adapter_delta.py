"""What an adapter changes in the weights of its base: LoRA, rank-stabilised LoRA, DoRA and trained biases."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import UnsafeAdapterError
from medtune.specs.bounded import json_file

__all__ = ["AdapterDelta", "LayerDelta", "read_delta"]

_PREFIX = "base_model.model."
_PART = re.compile(r"(?P<layer>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_magnitude_vector)")


@dataclass(frozen=True, slots=True)
class LayerDelta:
    """The factors of a layer in fp32.

    Attributes:
        a: [r, inputs].
        b: [outputs, r].
        scale: alpha / r, or alpha / sqrt(r) where it is rank-stabilised.
        magnitude: DoRA's [outputs], None without DoRA.
        transposed: the base stores this layer's weight as [inputs, outputs].
    """

    a: Any
    b: Any
    scale: float
    magnitude: Any = None
    transposed: bool = False

    def apply(self, weight: Any) -> Any:
        """Return the tuned weight in fp32, in the layout of ``weight``."""
        import torch

        plain = weight.float().T if self.transposed else weight.float()
        tuned = torch.addmm(plain, self.b, self.a, alpha=self.scale)
        if self.magnitude is not None:
            tuned = tuned * (self.magnitude / torch.linalg.norm(tuned, dim=1))[:, None]
        return tuned.T.contiguous() if self.transposed else tuned


@dataclass(frozen=True, slots=True)
class AdapterDelta:
    """An adapter by the names of the base's tensors.

    Attributes:
        layers: name of a weight -> its factors.
        biases: name of a bias -> its trained values.
        r: rank of all layers.
        alpha: as peft writes it down.
        rslora: whether the scale is rank-stabilised.
        dora: whether layers have magnitudes.
    """

    layers: Mapping[str, LayerDelta]
    biases: Mapping[str, Any]
    r: int
    alpha: float
    rslora: bool
    dora: bool

    @property
    def names(self) -> set[str]:
        """Tensors of the base that it changes."""
        return {*self.layers, *self.biases}


def read_delta(adapter_dir: Path) -> AdapterDelta:
    """Read a verified adapter.

    Raises:
        UnsafeAdapterError: it holds a tensor that is neither part of a LoRA layer nor a bias, or layers of other ranks.
    """
    from safetensors.torch import load_file

    config = json_file(adapter_dir / "adapter_config.json")
    for key in ("rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication", "trainable_token_indices"):
        if config.get(key):
            raise UnsafeAdapterError(str(adapter_dir), "settings", f"its {key} is set, which no export knows to write")
    r, alpha = int(config["r"]), float(config["lora_alpha"])
    scale = alpha / r**0.5 if config.get("use_rslora") else alpha / r
    parts: dict[str, dict[str, Any]] = {}
    biases: dict[str, Any] = {}
    for name, tensor in load_file(adapter_dir / "adapter_model.safetensors").items():
        inner = name.removeprefix(_PREFIX)
        match = _PART.fullmatch(inner)
        if match:
            parts.setdefault(match["layer"], {})[match["part"]] = tensor.float()
        elif inner.endswith(".bias"):
            biases[inner] = tensor.float()
        else:
            raise UnsafeAdapterError(str(adapter_dir), "tensors", f"'{name}' is no part of a LoRA layer")
    layers = {
        f"{layer}.weight": LayerDelta(
            found["lora_A.weight"],
            found["lora_B.weight"],
            scale,
            found.get("lora_magnitude_vector"),
            bool(config.get("fan_in_fan_out")),
        )
        for layer, found in parts.items()
    }
    return AdapterDelta(layers, biases, r, alpha, bool(config.get("use_rslora")), bool(config.get("use_dora")))
