"""An adapter that peft attached: left out exactly, saved for the unchanged base, and loaded whole or not at all."""

import json
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from medtune.errors import SpecError, UnsafeAdapterError
from medtune.machine.libraries import quiet_libraries
from medtune.specs import LoraSpec, ModelSpec
from medtune.specs.bounded import json_file

__all__ = ["AttachedAdapter", "Kept", "copies"]

_ADAPTER = "default"
"""peft's name of the first adapter; under any other it would be saved into a folder of that name."""
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

Kept = Sequence[tuple[Any, Any]]
"""Parameters of the base, and on the host a copy of what they held before the adapter changed them."""


class AttachedAdapter:
    """What can be done with a model that peft wrapped.

    Args:
        model: peft's model with one fresh adapter.
        spec: what the adapter was made by.
        weights: weights that its initialisation took something from; on the host they take as much memory as they did.
        biases: biases that are trained.
        base: where the base came from; None writes down what peft takes it for.
    """

    def __init__(self, model: Any, spec: LoraSpec, weights: Kept, biases: Kept, base: ModelSpec | None = None) -> None:
        self._model, self._base = model, base
        self._weights, self._biases = weights, biases
        self._initial = _save_initial(model, spec.init) if weights else None

    @contextmanager
    def base_only(self) -> Iterator[None]:
        """Inside, the model answers as the base does: no adapter, and every value that was changed put back."""
        with ExitStack() as held:
            self._swap()
            held.callback(self._swap)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Careful, disabling adapter layers with bias")  # they are put back
                held.enter_context(self._model.disable_adapter())
            yield

    @quiet_libraries()
    def save(self, path: Path) -> None:
        """Save the adapter so that it loads on the unchanged base; equal ones give equal bytes."""
        # peft compares with the first adapter to undo what an initialisation took from the base
        conversion = {} if self._initial is None else {"path_initial_model_for_weight_conversion": self._initial}
        self._model.save_pretrained(path, safe_serialization=True, save_embedding_layers=False, **conversion)
        file = path / _CONFIG
        values: dict[str, Any] = json_file(file)
        if self._base is not None:
            values["base_model_name_or_path"] = self._base.repository or self._base.path
            values["revision"] = self._base.commit
        ordered = {key: _in_order(value) for key, value in values.items()}
        file.write_text(json.dumps(ordered, indent=2, sort_keys=True), "utf-8")

    @quiet_libraries()
    def load(self, path: Path) -> None:
        """Replace the adapter by the saved one, on the unchanged base; the saved one brings its own rank and scale.

        Raises:
            UnsafeAdapterError: its tensors are not those that an adapter of this spec has.
        """
        from peft import LoraConfig, set_peft_model_state_dict
        from safetensors.torch import load_file

        if not (path / _CONFIG).is_file() or not (path / _WEIGHTS).is_file():  # else peft would ask the hub for them
            raise UnsafeAdapterError(str(path), "files", f"it lacks {_CONFIG} or {_WEIGHTS}")
        model, tensors = self._model, load_file(path / _WEIGHTS)
        _require_names(path, self._shapes(), tensors)
        config: Any = LoraConfig.from_pretrained(str(path))
        config.init_lora_weights, config.inference_mode = True, True
        self._put_back()
        model.delete_adapter(_ADAPTER)
        model.add_adapter(_ADAPTER, config)
        _require_shapes(path, self._shapes(), tensors)
        set_peft_model_state_dict(model, tensors, adapter_name=_ADAPTER)
        model.set_adapter(_ADAPTER)
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.float()
        model.requires_grad_(requires_grad=False)
        model.eval()

    @quiet_libraries()
    def detach(self) -> Any:
        """Take the adapter off and return the base as it was before, frozen; nothing else may be asked of this adapter after."""
        self._put_back()
        base = self._model.unload()
        if hasattr(base, "disable_input_require_grads"):  # which peft asks of a quantized base
            base.disable_input_require_grads()
        base.requires_grad_(requires_grad=False)
        base.eval()
        return base

    @quiet_libraries()
    def add(self, name: str, folder: Path, spec: LoraSpec) -> None:
        """Load a saved adapter beside those that are there; its name must hold no dot.

        Raises:
            SpecError: it, or the first one, trains values of the base, which all of them share.
            UnsafeAdapterError: its tensors are not those that its settings imply on this base.
        """
        from peft import LoraConfig, set_peft_model_state_dict
        from safetensors.torch import load_file

        if spec.bias != "none" or self._biases:
            raise SpecError("an adapter with trained biases changes the base that others answer by; use it by itself")
        config: Any = LoraConfig.from_pretrained(str(folder))
        config.init_lora_weights, config.inference_mode = True, True
        tensors = load_file(folder / _WEIGHTS)
        self._model.add_adapter(name, config)
        try:
            implied = self._shapes(name)
            _require_names(folder, implied, tensors)
            _require_shapes(folder, implied, tensors)
            set_peft_model_state_dict(self._model, tensors, adapter_name=name)
        except UnsafeAdapterError:
            self._model.delete_adapter(name)
            raise
        for parameter_name, parameter in self._model.named_parameters():
            if f".{name}." in parameter_name:
                parameter.data = parameter.data.float()
        self._model.requires_grad_(requires_grad=False)
        self._model.eval()

    def use(self, name: str | None) -> None:
        """Let one adapter take part, None the first one."""
        self._model.set_adapter(name or _ADAPTER)
        self._model.requires_grad_(requires_grad=False)  # peft would train the one that takes part

    def remove(self, name: str) -> None:
        """Take an added adapter out of memory."""
        self.use(None)
        self._model.delete_adapter(name)

    def _shapes(self, name: str = _ADAPTER) -> dict[str, tuple[int, ...]]:
        from peft import get_peft_model_state_dict

        values = get_peft_model_state_dict(self._model, adapter_name=name, save_embedding_layers=False)
        return {name: tuple(tensor.shape) for name, tensor in values.items()}

    def _swap(self) -> None:
        """Exchange what the changed parameters hold with what is kept, one after the other, in place."""
        for parameter, kept in (*self._weights, *self._biases):
            current = parameter.detach().to("cpu", copy=True)
            parameter.data.copy_(kept)
            kept.copy_(current)

    def _put_back(self) -> None:
        """Give the base its own values for good; what is trained of it is still kept."""
        for parameter, kept in (*self._weights, *self._biases):
            parameter.data.copy_(kept)
        self._weights, self._initial = (), None


def copies(parameters: Sequence[Any]) -> Kept:
    """Return parameters with a copy of each on the host."""
    return [(parameter, parameter.detach().to("cpu", copy=True)) for parameter in parameters]


def _save_initial(model: Any, init: str) -> str:
    """Save the first adapter where it stays as long as the model does."""
    folder = tempfile.mkdtemp(prefix="medtune-initial-adapter-")
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    config = model.peft_config[_ADAPTER]
    config.init_lora_weights = True  # peft asks that it be marked neutral
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    config.init_lora_weights = init
    return folder


def _in_order(value: Any) -> Any:
    """Return names in order, and any other value as it is; peft holds names of modules as sets, in any order."""
    are_names = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return sorted(value) if are_names else value


def _require_names(path: Path, implied: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    missing, surplus = sorted(implied.keys() - saved.keys()), sorted(saved.keys() - implied.keys())
    if missing or surplus:
        said = [
            f"{what} {len(names)} tensors, such as '{names[0]}'"
            for what, names in (("it lacks", missing), ("it has in surplus", surplus))
            if names
        ]
        raise UnsafeAdapterError(str(path), "names", f"on this base {' and '.join(said)}")


def _require_shapes(path: Path, implied: Mapping[str, tuple[int, ...]], saved: Mapping[str, Any]) -> None:
    for name, shape in implied.items():
        if tuple(saved[name].shape) != shape:
            raise UnsafeAdapterError(
                str(path), "shapes", f"'{name}' has shape {list(saved[name].shape)}, and this base needs {list(shape)}"
            )
