"""Loads a base of which each process reads its own rows only, straight from the files into its device's memory.

The model is built without memory, sharded, and only then given some: so no process ever holds the whole base, on its device
or on its host.
"""

from collections.abc import Collection
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.distributed.tensor import DTensor, Shard
from transformers import AutoModelForCausalLM, GenerationConfig

from medtune.accel.steps.reference import quantize_rows
from medtune.accel.train.fp8_linear import Fp8Linear
from medtune.backends.angles import compute_angles
from medtune.backends.base_model import attention_of, load_base, require_all, settings_of
from medtune.backends.sharded.in_step import in_step
from medtune.backends.sharded.layers import backbone_of, own_rows, require_sharded, shard_layers
from medtune.data.base.folder import BaseFolder
from medtune.data.hub.models import loadable
from medtune.errors import SpecError
from medtune.machine.hardware import local_device, world_size
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Loaded
from medtune.specs import ModelSpec, QuantSpec

__all__ = ["load_sharded_base"]


@quiet_libraries()
def load_sharded_base(model: ModelSpec, spec: QuantSpec, *, in_fp8: bool = False) -> Loaded:
    """Load base and tokenizer, the layers sharded over all processes, which must call it together.

    Args:
        model: repository and commit, or a local folder.
        spec: storage scheme and compute type.
        in_fp8: whether linear layers are stored in fp8; rounded row by row, they hold what a whole one would.

    Raises:
        SpecError: the files name tensors otherwise than the model, or the model has parts that cannot be sharded.
        BaseDamagedError: they lack what its architecture needs.
    """
    device = local_device()
    loaded = load_base(model, spec, device, read=partial(_read, device=device, in_fp8=in_fp8))
    base = loaded.model
    require_sharded(base, world_size())
    with torch.no_grad():  # the first pass sets up what gathers layers; better here than within a proof
        ids = torch.zeros(1, 1, dtype=torch.long, device=device)
        backbone_of(base)(input_ids=ids, use_cache=False)
    return Loaded(
        base,
        loaded.tokenizer,
        device,
        loaded.compute_dtype,
        loaded.stop_ids,
        spec.scheme,
        in_step=partial(in_step, base),
    )


def _read(model: ModelSpec, dtype: Any, *, device: str, in_fp8: bool) -> Any:
    folder = loadable(model)
    config = settings_of(folder, dtype)
    if getattr(config, "quantization_config", None):
        raise SpecError(
            "train.parallel=fsdp loads bases that are not quantized yet, and this one is; use train.parallel=ddp"
        )
    with torch.device("meta"):
        base: Any = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention_of(model, config), trust_remote_code=False
        )
    base.requires_grad_(requires_grad=False)
    if in_fp8:
        from medtune.backends.fp8 import round_layers

        round_layers(base, "meta")
    with suppress(OSError):  # a folder need not hold one
        base.generation_config = GenerationConfig.from_pretrained(str(folder))
    shard_layers(base, device)
    kept = set(base.state_dict())
    base.to_empty(device=device)
    base.tie_weights()
    compute_angles(base, device)
    with torch.no_grad():
        _fill(model, base, folder, kept)
    return base


def _fill(model: ModelSpec, base: Any, folder: Path, kept: Collection[str]) -> None:
    """Copy every parameter, and every buffer whose name is in ``kept``, from the files in ``folder``."""
    wanted = {name: names for name, names in _by_names(base).items() if not _is_scale(base, name)}
    held = BaseFolder(folder).tensors
    found = {name: next((n for n in names if n in held), None) for name, names in wanted.items()}
    lacking = sorted(name for name, at in found.items() if at is None)
    known = {name for names in wanted.values() for name in names}
    if lacking and any(name not in known and "inv_freq" not in name for name in held):
        raise SpecError(
            f"the files of this base name its tensors otherwise than its model, such as '{lacking[0]}', and sharded loading "
            "reads them by name; use train.parallel=ddp, or save the base anew with transformers' save_pretrained"
        )
    uncounted = [n for n, b in base.named_buffers() if n not in kept and not _is_computed(base, n) and b.numel()]
    require_all(model, [*lacking, *uncounted])
    tensors = {**dict(base.named_parameters()), **dict(base.named_buffers())}
    with ExitStack() as held_open:
        files: dict[Path, Any] = {}
        require_all(model, [n for n, at in found.items() if held[str(at)].shape != tuple(tensors[n].shape)])
        for name, at in found.items():
            place = held[str(at)].file
            if place not in files:
                files[place] = held_open.enter_context(safe_open(str(place), "pt"))
            _copy(base, name, tensors[name], files[place].get_slice(str(at)))


def _copy(base: Any, name: str, target: Any, source: Any) -> None:
    """Copy this process's rows of a tensor."""
    if not isinstance(target, DTensor):
        target.copy_(source[:])
        return
    start, end = own_rows(target)
    local = target.to_local()
    owner = base.get_submodule(name.rpartition(".")[0])
    rows = source[start:end]
    if not (isinstance(owner, Fp8Linear) and name.endswith(".weight")):
        local.copy_(rows)
        return
    dtype = base.get_input_embeddings().weight.dtype
    rounded, scale = quantize_rows(rows.to(local.device, dtype))
    local.copy_(rounded.view(torch.uint8))
    whole = (len(target), 1)
    shared = DTensor.from_local(
        scale, target.device_mesh, [Shard(0)], run_check=False, shape=torch.Size(whole), stride=(1, 1)
    )
    owner.weight_scale.copy_(shared.full_tensor())


def _by_names(base: Any) -> dict[str, list[str]]:
    """Return the name of each parameter and kept buffer -> all names that it has: a head may be the embedding."""
    names: dict[int, list[str]] = {}
    for name, parameter in base.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    found = {each[0]: each for each in names.values()}
    kept = base.state_dict().keys()
    return found | {name: [name] for name, _buffer in base.named_buffers() if name in kept}


def _is_scale(base: Any, name: str) -> bool:
    owner, _, own = name.rpartition(".")
    return own == "weight_scale" and isinstance(base.get_submodule(owner), Fp8Linear)


def _is_computed(base: Any, name: str) -> bool:
    """Whether a buffer belongs to rotary angles, which are computed anew."""
    return hasattr(base.get_submodule(name.rpartition(".")[0]), "inv_freq")
