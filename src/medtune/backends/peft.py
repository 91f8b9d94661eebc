"""Attaches a LoRA adapter through peft, in fp32, and refuses what could not be saved right."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medtune.backends.attached import AttachedAdapter, copies
from medtune.errors import SpecError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Adapter, Loaded
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.origin import told_of
from medtune.specs import LoraSpec

__all__ = ["PeftAdapter", "provide_adapters"]

_CHANGES_BASE = ("pissa", "olora")
"""Initialisations that subtract the first adapter from the base; they need its plain weights."""
_FOUR_BITS = ("nf4", "fp4")

_INIT_NAMES: dict[str, bool | str] = {"default": True, "loftq": True}


class PeftAdapter:
    """LoRA, rsLoRA and DoRA with peft's initialisations.

    The adapter is fp32 whatever the base: at learning rate 2e-4 about half of the bf16 elements would not move at all.
    """

    name = "peft"

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("peft", kind="LoRA")

    def check(self, spec: LoraSpec, scheme: str, device: str | None = None) -> None:
        """Refuse what peft cannot start, or cannot save so that it loads as it was trained; loads no library.

        Args:
            spec: the adapter.
            scheme: storage of the base; of "auto" nothing is known yet.
            device: torch device or its kind; None where it is not known yet.

        Raises:
            SpecError: naming both fields that do not go together.
        """
        reason = _unfit_for_init(spec) or (_unfit_for_scheme(spec, scheme, device) if scheme != "auto" else None)
        if reason is not None:
            raise SpecError(reason)

    @quiet_libraries()
    def attach(self, loaded: Loaded, spec: LoraSpec) -> Loaded:
        """Wrap the base with a fresh adapter, drawn from torch's current seed.

        Raises:
            SpecError: a target module matches no linear layer, or the initialisation does not suit the base.
        """
        import torch
        from peft import get_peft_model

        self.check(spec, loaded.scheme, loaded.device)
        weights = copies(_changed_weights(loaded.model, spec))
        try:
            model = get_peft_model(loaded.model, _config(loaded.model, spec))
        except ValueError as error:
            raise SpecError(
                f"peft cannot attach this adapter to this base: {error}; set lora.target_modules"
            ) from error
        if spec.init == "loftq":
            _correct_rounding(model, loaded.model)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
        biases = [p for name, p in model.named_parameters() if p.requires_grad and ".lora_" not in name]
        attached = AttachedAdapter(model, spec, weights, copies(biases), loaded.base)
        if biases:
            _require_forward(model, spec, loaded)
        return replace(
            loaded,
            model=model,
            save_adapter=attached.save,
            load_adapter=attached.load,
            base_only=attached.base_only,
            detach=attached.detach,
            adapters=attached,
        )


@hookimpl
def provide_adapters() -> Sequence[Adapter]:
    """Provide ``peft``."""
    return [PeftAdapter()]


def _config(model: Any, spec: LoraSpec) -> Any:
    """Return peft's configuration of the adapter."""
    from peft import LoraConfig, TaskType

    # peft multiplies by alpha, so a float is fine, and init names come from a closed list of the spec.
    scale: Any = spec.alpha
    init: Any = _INIT_NAMES.get(spec.init, spec.init)
    return LoraConfig(
        r=spec.r,
        lora_alpha=scale,
        lora_dropout=spec.dropout,
        bias=spec.bias,
        target_modules=_targets(model, spec),
        use_rslora=spec.use_rslora,
        use_dora=spec.use_dora,
        init_lora_weights=init,
        task_type=TaskType.CAUSAL_LM,
    )


def _unfit_for_init(spec: LoraSpec) -> str | None:
    """Return why an initialisation does not go with the rest of the adapter."""
    if spec.init in _CHANGES_BASE and spec.use_dora:
        return (
            f"lora.init '{spec.init}' is saved as the difference to its first values, which DoRA's magnitudes do not "
            "survive; use lora.use_dora=false or another lora.init"
        )
    if spec.init in _CHANGES_BASE and spec.bias != "none":
        return (
            f"lora.init '{spec.init}' is saved as the difference to its first values, which leaves trained biases out; "
            "use lora.bias=none or another lora.init"
        )
    if spec.init == "loftq" and spec.use_dora:
        return (
            "lora.init 'loftq' corrects the rounding of the base, and DoRA scales each output to the rounded base; "
            "use lora.use_dora=false or another lora.init"
        )
    if spec.init == "orthogonal" and spec.r % 2:
        return f"lora.init 'orthogonal' takes even ranks only, and lora.r is {spec.r}; use {spec.r + 1}"
    return None


def _unfit_for_scheme(spec: LoraSpec, scheme: str, device: str | None) -> str | None:
    """Return why an adapter does not go with the storage of the base."""
    on_cpu = device is not None and device.startswith("cpu")
    if spec.init in _CHANGES_BASE and scheme != "none":
        return (
            f"lora.init '{spec.init}' changes the base's weights, which scheme '{scheme}' does not allow; "
            "use quant.scheme='none' or another lora.init"
        )
    if spec.init == "orthogonal" and scheme != "none":
        return (
            f"lora.init 'orthogonal' is drawn by peft in the type of the base's weights, which scheme '{scheme}' stores as "
            "integers; use quant.scheme='none' or another lora.init"
        )
    if spec.init == "loftq" and scheme not in _FOUR_BITS:
        return f"lora.init 'loftq' corrects 4-bit rounding, and scheme '{scheme}' has none; use nf4 or fp4"
    if spec.init == "loftq" and on_cpu:
        return "lora.init 'loftq' needs a CUDA GPU: peft computes it only there; use another lora.init"
    if spec.use_dora and scheme == "fp8":
        return (
            "lora.use_dora needs the norms of the base's weights, which peft cannot read of scheme 'fp8'; use nf4, fp4 or "
            "none, or lora.use_dora=false"
        )
    if spec.use_dora and scheme == "int8" and on_cpu:
        return (
            "lora.use_dora on scheme 'int8' needs a CUDA GPU: on a CPU peft cannot read the weights once they were used; "
            "use nf4, fp4 or none, or lora.use_dora=false"
        )
    return None


def _targets(model: Any, spec: LoraSpec) -> str | list[str]:
    """Return which layers get an adapter, under peft's names; every name must end the name of at least one of them.

    In a mixture of experts "all-linear" is written out: peft would take stacked experts for layers, and routers along.
    """
    from medtune.data.base.targets import expert_targets, expert_weights, reached_layers, routers, unknown_target

    if spec.target_modules == "all-linear":
        is_mixture = expert_weights(model) or routers(model)
        return sorted(reached_layers(model, spec)) if is_mixture else "all-linear"
    problem = unknown_target(model, spec)
    if problem:
        raise SpecError(problem)
    if experts := expert_targets(model, spec):
        raise SpecError(
            f"lora.target_modules: '{experts[0]}' names experts, whose adapter cannot be proved once it is saved"
        )
    return list(spec.target_modules)


def _changed_weights(model: Any, spec: LoraSpec) -> list[Any]:
    """Return the weights that the initialisation will take something from.

    Raises:
        SpecError: one of them has fewer dimensions than the adapter's rank, or lies transposed where peft does not mind.
    """
    from medtune.data.base.targets import reached_layers, transposed_target

    if spec.init not in _CHANGES_BASE:
        return []
    if name := transposed_target(model, spec):
        raise SpecError(f"lora.init '{spec.init}' does not mind that '{name}' is transposed; use another lora.init")
    meant = reached_layers(model, spec)
    for name, layer in meant.items():
        if min(layer.weight.shape) < spec.r:
            raise SpecError(
                f"lora.init '{spec.init}' takes lora.r={spec.r} directions out of each weight, and '{name}' has "
                f"{min(layer.weight.shape)}; use a smaller lora.r or another lora.init"
            )
    return [layer.weight for layer in meant.values()]


def _correct_rounding(model: Any, base: Any) -> None:
    """Set the adapter to what 4-bit rounding took from the base (LoftQ).

    peft's values are the difference itself, which the adapter's factor would multiply: so they are divided by it.
    """
    from peft import replace_lora_weights_loftq

    replace_lora_weights_loftq(model, model_path=base.name_or_path)
    for module in model.modules():
        for name, layer in getattr(module, "lora_B", {}).items():
            layer.weight.data /= module.scaling[name]


def _require_forward(model: Any, spec: LoraSpec, loaded: Loaded) -> None:
    """Refuse biases that the layers they belong to cannot add, by trying it on two tokens."""
    import torch

    try:
        with torch.no_grad():
            model(input_ids=torch.zeros(1, 2, dtype=torch.long, device=loaded.device))
    except RuntimeError as error:
        raise SpecError(
            f"lora.bias '{spec.bias}' is trained in fp32, which layers of this base in {loaded.compute_dtype} (scheme "
            f"'{loaded.scheme}') cannot add; use quant.compute_dtype=fp32, quant.scheme=nf4 or lora.bias=none"
        ) from error
