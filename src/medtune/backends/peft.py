"""Attaches a LoRA adapter through peft, in fp32, and says how it is saved."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Adapter, Loaded
from medtune.plugins.hookspecs import hookimpl
from medtune.specs import LoraSpec

__all__ = ["PeftAdapter", "provide_adapters"]

_CHANGES_BASE = ("pissa", "olora")
"""Initialisations that subtract the first adapter from the base; they need its plain weights."""

_LOADED = "trained"
"""Name of an adapter that was loaded, while the fresh one is still there."""

_INIT_NAMES: dict[str, bool | str] = {"default": True, "loftq": True}


class PeftAdapter:
    """LoRA, rsLoRA and DoRA with peft's initialisations.

    The adapter is fp32 whatever the base: at learning rate 2e-4 about half of the bf16 elements would not move at all.
    """

    name = "peft"

    @quiet_libraries()
    def attach(self, loaded: Loaded, spec: LoraSpec) -> Loaded:
        """Wrap the base with a fresh adapter, drawn from torch's current seed.

        Raises:
            SpecError: a target module matches no linear layer, or the initialisation does not suit the base's scheme.
        """
        import torch
        from peft import LoraConfig, TaskType, get_peft_model

        _check_initialisation(spec, loaded)
        # peft multiplies by alpha, so a float is fine, and init names come from a closed list of the spec.
        scale: Any = spec.alpha
        init: Any = _INIT_NAMES.get(spec.init, spec.init)
        config = LoraConfig(
            r=spec.r,
            lora_alpha=scale,
            lora_dropout=spec.dropout,
            bias=spec.bias,
            **_targets(loaded.model, spec),
            use_rslora=spec.use_rslora,
            use_dora=spec.use_dora,
            init_lora_weights=init,
            task_type=TaskType.CAUSAL_LM,
        )
        model = get_peft_model(loaded.model, config)
        if spec.init == "loftq":
            from peft import replace_lora_weights_loftq

            replace_lora_weights_loftq(model, model_path=loaded.model.name_or_path)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
        return replace(
            loaded,
            model=model,
            save_adapter=_saver(model, spec),
            load_adapter=lambda path: _load(model, path),
            base_only=model.disable_adapter,
        )


@hookimpl
def provide_adapters() -> Sequence[Adapter]:
    """Provide ``peft``."""
    return [PeftAdapter()]


def _check_initialisation(spec: LoraSpec, loaded: Loaded) -> None:
    scheme = loaded.scheme
    if spec.init in _CHANGES_BASE and scheme != "none":
        raise SpecError(
            f"lora.init '{spec.init}' changes the base's weights, which scheme '{scheme}' does not allow; "
            "use quant.scheme='none' or another lora.init"
        )
    if spec.init == "loftq" and scheme not in ("nf4", "fp4"):
        raise SpecError(f"lora.init 'loftq' corrects 4-bit rounding, and scheme '{scheme}' has none; use nf4 or fp4")
    if spec.init == "loftq" and loaded.device == "cpu":
        raise SpecError("lora.init 'loftq' needs a CUDA GPU: peft computes it only there; use another lora.init")


def _targets(model: Any, spec: LoraSpec) -> dict[str, Any]:
    """Return which weights get an adapter, under peft's names; every name must end the name of at least one of them.

    Under "all-linear" routers of experts are left out: what they choose is trained with all experts, not with an adapter.
    """
    from medtune.data.base.targets import expert_targets, routers, unknown_target

    if spec.target_modules == "all-linear":
        return {"target_modules": "all-linear", "exclude_modules": list(routers(model)) or None}
    problem = unknown_target(model, spec)
    if problem:
        raise SpecError(problem)
    experts = expert_targets(model, spec)
    layers = [name for name in spec.target_modules if name not in experts]
    return {"target_modules": layers, **({"target_parameters": list(experts)} if experts else {})}


@quiet_libraries()
def _load(model: Any, path: Path) -> None:
    """Replace the fresh adapter; the saved one brings its own rank and scale."""
    model.load_adapter(str(path), adapter_name=_LOADED, autocast_adapter_dtype=True)
    model.set_adapter(_LOADED)
    model.delete_adapter("default")
    model.requires_grad_(requires_grad=False)
    model.eval()


def _saver(model: Any, spec: LoraSpec) -> Callable[[Path], None]:
    """Return a function that saves the adapter so that it loads on the unchanged base."""
    if spec.init not in _CHANGES_BASE:
        return quiet_libraries()(lambda path: _save(model, path))
    initial = tempfile.mkdtemp(prefix="medtune-initial-adapter-")
    weakref.finalize(model, shutil.rmtree, initial, ignore_errors=True)
    # peft compares with the first adapter to undo the change of the base; it asks that its init be marked neutral.
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(initial, safe_serialization=True)
    model.peft_config["default"].init_lora_weights = spec.init

    @quiet_libraries()
    def save(path: Path) -> None:
        _save(model, path, path_initial_model_for_weight_conversion=initial)

    return save


def _save(model: Any, path: Path, **conversion: str) -> None:
    """Save the adapter; equal ones give equal bytes, though peft holds names of modules as sets, in any order."""
    model.save_pretrained(path, safe_serialization=True, **conversion)
    if (path / _LOADED).is_dir():  # peft's place for any adapter that is not called "default"
        for file in list((path / _LOADED).iterdir()):
            file.replace(path / file.name)
        (path / _LOADED).rmdir()
    config = path / "adapter_config.json"
    values: dict[str, Any] = json.loads(config.read_text("utf-8"))
    ordered = {key: _in_order(value) for key, value in values.items()}
    config.write_text(json.dumps(ordered, indent=2, sort_keys=True), "utf-8")


def _in_order(value: Any) -> Any:
    """Return names in order, and any other value as it is."""
    are_names = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return sorted(value) if are_names else value
