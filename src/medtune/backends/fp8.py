"""Stores the linear layers of the frozen base in fp8 (e4m3) with one scale per output."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medtune.backends.base_model import load_base
from medtune.errors import SpecError, UnknownNameError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Loaded, Quantizer
from medtune.plugins.contracts.exporting import StoredAs
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.origin import told_of
from medtune.specs import ModelSpec, QuantSpec

__all__ = ["Fp8Quantizer", "provide_quantizers"]

SCHEMES = ("fp8",)


class Fp8Quantizer:
    """Frozen base in fp8; embedding, norms and head stay in the compute type.

    The fast path multiplies in fp8 on a GPU of compute capability 8.9 or more. Everything else, scoring too, dequantizes
    a layer to the compute type whenever it is used, on any device.
    """

    name = "fp8"
    schemes = SCHEMES

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("torch", schemes=list(SCHEMES))

    @quiet_libraries()
    def load(self, model: ModelSpec, spec: QuantSpec) -> Loaded:
        """Load base and tokenizer onto this process's device.

        The files are read to the host; layer by layer its weights are rounded on the device and leave the host, so that
        the device never holds more than the rounded model and one layer.

        Args:
            model: repository and commit, or a local folder.
            spec: storage scheme and compute type.

        Returns:
            The model in evaluation mode with every parameter frozen.

        Raises:
            UnknownNameError: ``spec.scheme`` is not "fp8".
            SpecError: this GPU has no fp8 products, or no layer of the model can be stored so.
            HubUnreachableError: the files are neither local nor reachable.
        """
        from medtune.machine.hardware import local_device

        _require_fp8(spec, self.name)
        loaded, device = load_base(model, spec, "cpu"), local_device()
        round_layers(loaded.model, device)
        loaded.model.to(device)
        loaded.model.hf_device_map = {"": device}
        return replace(loaded, device=device)

    @quiet_libraries()
    def load_sharded(self, model: ModelSpec, spec: QuantSpec) -> Loaded:
        """Load a base whose layers are sharded over all processes, which must call it together; values are those of ``load``.

        Raises:
            UnknownNameError: ``spec.scheme`` is not "fp8".
            SpecError: this GPU has no fp8 products.
        """
        from medtune.backends.sharded.loading import load_sharded_base

        _require_fp8(spec, self.name)
        return load_sharded_base(model, spec, in_fp8=True)

    def stored_as(self, model: ModelSpec, spec: QuantSpec) -> StoredAs:
        """Return what ``load`` makes of a weight."""
        from medtune.backends.stored_values import stored_in_fp8

        return stored_in_fp8(model, spec)

    def load_random(self, config: Mapping[str, Any], model: ModelSpec, spec: QuantSpec) -> Loaded:
        """Make a base of a config.json's shape with random weights, stored as ``load`` stores it."""
        from medtune.backends.random_base import random_base

        return random_base(config, model, spec)


@hookimpl
def provide_quantizers() -> Sequence[Quantizer]:
    """Provide ``fp8``."""
    return [Fp8Quantizer()]


def round_layers(base: Any, device: str) -> None:
    """Put rounded layers on ``device`` in the place of a model's linear layers, all but its head.

    Raises:
        SpecError: no layer can be stored so.
    """
    from medtune.accel.train.fp8_linear import Fp8Linear

    head = base.get_output_embeddings()
    replaced = 0
    for parent in list(base.modules()):
        for name, layer in list(parent.named_children()):
            if layer is not head and Fp8Linear.suits(layer):
                setattr(parent, name, Fp8Linear(layer, device))
                replaced += 1
    if not replaced:
        raise SpecError(
            "quant.scheme 'fp8' needs linear layers whose widths are multiples of 16, and this model has none; "
            "use quant.scheme=nf4"
        )


def _require_fp8(spec: QuantSpec, name: str) -> None:
    from medtune.machine.hardware import describe_machine

    if spec.scheme not in SCHEMES:
        raise UnknownNameError(f"scheme of quantizer '{name}'", spec.scheme, SCHEMES)
    accelerator = describe_machine().accelerator
    if accelerator is not None and not accelerator.has_fp8:
        raise SpecError(accelerator.without_fp8)
