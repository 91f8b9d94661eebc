"""Everything that decides how a training goes on, as safetensors and JSON: nothing in it is a pickle."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError, UnsafeArtifactError
from medtune.specs.bounded import json_file

__all__ = [
    "load_optimizer",
    "load_trainable",
    "random_states",
    "read_tree",
    "restore_random_states",
    "save_trainable",
    "write_tree",
]

_TRAINABLE = "trainable.safetensors"
_SHARD_BYTES = 32 << 20
_SCALARS = (bool, int, float, str, type(None))


def save_trainable(folder: Path, model: Any) -> None:
    """Write every trainable parameter under its name, in its own type."""
    from safetensors.torch import save_file

    save_file({name: p.detach().contiguous() for name, p in _trainable(model)}, folder / _TRAINABLE)


def load_trainable(folder: Path, model: Any) -> None:
    """Put the saved values into the trainable parameters, bit for bit.

    Raises:
        DamagedArtifactError: the file cannot be read.
        UnsafeArtifactError: names, shapes or types are not the model's, or values are not finite.
    """
    import torch

    saved = _read_tensors(folder / _TRAINABLE)
    parameters = dict(_trainable(model))
    for name in sorted(saved.keys() | parameters.keys()):
        old, new = saved.get(name), parameters.get(name)
        if old is None or new is None or old.shape != new.shape or old.dtype != new.dtype:
            raise UnsafeArtifactError(
                f"checkpoint '{folder}' is of another adapter: parameter '{name}' is {_described(old)} in it and "
                f"{_described(new)} in the model; resume with the spec it was made with"
            )
        if not bool(torch.isfinite(old).all()):
            raise UnsafeArtifactError(
                f"checkpoint '{folder}' holds values of '{name}' that are not finite; resume from an earlier one"
            )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[name])


def write_tree(folder: Path, name: str, tree: Any) -> None:
    """Write nested dicts, lists and tuples as ``name.json``, and the tensors in them as ``name-NN.safetensors``.

    Several files, because the store syncs and hashes files side by side.

    Raises:
        TypeError: a value would need a pickle.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    skeleton = _flatten(tree, tensors, {})
    (folder / f"{name}.json").write_text(json.dumps(skeleton), encoding="utf-8")
    for number, shard in enumerate(_shards(tensors)):
        save_file(shard, folder / f"{name}-{number:02d}.safetensors")


def read_tree(folder: Path, name: str) -> Any:
    """Return what ``write_tree`` wrote, tensors on the CPU.

    Raises:
        DamagedArtifactError: the files hold something else, as sealed ones may too.
    """
    tensors: dict[str, Any] = {}
    for path in sorted(folder.glob(f"{name}-*.safetensors")):
        tensors |= _read_tensors(path)
    try:
        return _unflatten(json_file(folder / f"{name}.json", finite=False), tensors)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedArtifactError(str(folder), f"{name}.json", "holds no state that medtune wrote") from None


def _read_tensors(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except SafetensorError:
        raise DamagedArtifactError(str(file.parent), file.name, "is no whole safetensors file") from None


def load_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Load an optimizer's state dict; the states of a paged bitsandbytes optimizer become paged again."""
    import torch

    optimizer.load_state_dict(state)
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    if not getattr(inner, "is_paged", False) or not torch.cuda.is_available():
        return
    for parameter, values in inner.state.items():
        for key in ("state1", "state2"):
            if key in values:
                buffer = inner.get_state_buffer(parameter, dtype=values[key].dtype)
                torch.cuda.synchronize()  # it was zeroed on the device's own time
                buffer.copy_(values[key])
                values[key] = buffer


def random_states() -> dict[str, Any]:
    """Return the state of every generator that this process draws from, as JSON values."""
    import numpy as np
    import torch

    generator: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - libraries underneath draw from it
    return {
        "python": random.getstate(),
        "numpy": [generator[0], generator[1].tolist(), *generator[2:]],
        "torch": torch.get_rng_state().tolist(),
        "cuda": torch.cuda.get_rng_state().tolist() if torch.cuda.is_available() else None,
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set every generator of this process to what ``random_states`` returned."""
    import numpy as np
    import torch

    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(torch.tensor(states["torch"], dtype=torch.uint8))
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.tensor(states["cuda"], dtype=torch.uint8))


def _trainable(model: Any) -> Iterable[tuple[str, Any]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def _shards(tensors: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the tensors in groups of about the same size as files should have."""
    shard: dict[str, Any] = {}
    size = 0
    for key, tensor in tensors.items():
        shard[key] = tensor
        size += tensor.nbytes
        if size >= _SHARD_BYTES:
            yield shard
            shard, size = {}, 0
    if shard:
        yield shard


def _described(tensor: Any) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _flatten(value: Any, tensors: dict[str, Any], seen: dict[int, str]) -> Any:
    """Return ``value`` as JSON; a tensor becomes ``{"tensor": key}``, and one that occurs twice is written once."""
    import torch

    if isinstance(value, torch.Tensor):
        if id(value) not in seen:
            seen[id(value)] = f"t{len(tensors):05d}"
            tensors[seen[id(value)]] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": seen[id(value)]}
    if isinstance(value, Mapping):
        return {"dict": [[key, _flatten(item, tensors, seen)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_flatten(item, tensors, seen) for item in value]}
    if isinstance(value, list):
        return [_flatten(item, tensors, seen) for item in value]
    if isinstance(value, _SCALARS):
        return value
    raise TypeError(f"a {type(value).__name__} in the training state cannot be saved without a pickle")


def _unflatten(value: Any, tensors: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_unflatten(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "tuple" in value:
        return tuple(_unflatten(item, tensors) for item in value["tuple"])
    return {key: _unflatten(item, tensors) for key, item in value["dict"]}
