"""Shards the layers of a frozen base over all processes, and proves by what lies in memory that it did."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from medtune.errors import SpecError
from medtune.machine.hardware import world_size

__all__ = ["backbone_of", "is_sharded", "own_rows", "require_sharded", "shard_layers"]


def shard_layers(base: Any, device: str) -> DeviceMesh:
    """Shard every layer over all processes by rows of its weights; embedding, last norm and head stay whole on each.

    A layer is gathered when it runs and let go afterwards, in the backward pass too. The whole parts are used several times
    a pass (a head that is computed in parts, one that is the embedding too), and gathered they would take what they take now.

    Args:
        base: a causal model, frozen; on meta or in memory.
        device: such as "cuda:0" or "cpu", of this process.

    Raises:
        SpecError: the base has parts that are neither layers nor the embedding and head around them, or is stored in bytes and
            this torch shards none.
    """
    kind = torch.device(device).type
    _join(kind)
    mesh = init_device_mesh(kind, (world_size(),))
    backbone, layers = backbone_of(base), _layers(base)
    for layer in layers:
        try:
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        except RuntimeError as error:
            if all(parameter.is_floating_point() for parameter in layer.parameters()):
                raise
            raise SpecError(  # torch 2.11 asks gradients of every part
                f"torch {torch.__version__} shards no weights that are stored in bytes (quant.scheme=fp8); use torch 2.13, or "
                "quant.scheme=none"
            ) from error
    beside = {p for p in backbone.parameters() if not isinstance(p, DTensor)}
    fully_shard(backbone, mesh=mesh, reshard_after_forward=True, ignored_params=beside)
    return mesh


def require_sharded(base: Any, processes: int) -> int:
    """Check what lies in memory, and return how many values of the base this process holds.

    Args:
        base: after ``shard_layers``; its layers may hold an adapter, whose parameters are whole.
        processes: that share it.

    Raises:
        SpecError: a frozen parameter of a layer is whole here, or its part is not the one that this process has to hold.
    """
    for layer in _layers(base):
        for name, parameter in layer.named_parameters():
            if parameter.requires_grad:
                continue
            fault = _fault(parameter, processes)
            if fault:
                raise SpecError(f"the base was not sharded: '{name}' of a layer {fault}; use train.parallel=ddp")
    return sum(_local(p).numel() for p in base.parameters() if not p.requires_grad)


def is_sharded(model: Any) -> bool:
    """Whether a parameter of the model lies in parts on several processes."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def own_rows(parameter: Any) -> tuple[int, int]:
    """Return the first of the rows of a sharded parameter that this process holds, and the one after the last."""
    rows = len(parameter)
    size = -(-rows // parameter.device_mesh.size())
    start = min(rows, size * parameter.device_mesh.get_local_rank())
    return start, min(rows, start + size)


def backbone_of(base: Any) -> Any:
    """Return the part of a causal model that runs its layers: every forward pass calls it, with logits or without."""
    return getattr(base, base.base_model_prefix)


def _fault(parameter: Any, processes: int) -> str:
    if not isinstance(parameter, DTensor):
        return "is whole on this process"
    if parameter.device_mesh.size() != processes or parameter.placements != (Shard(0),):
        return f"lies on {parameter.device_mesh.size()} of {processes} processes"
    start, end = own_rows(parameter)
    wanted, found = (end - start, *parameter.shape[1:]), tuple(parameter.to_local().shape)
    return "" if found == wanted else f"has {list(found)} of its values here, not {list(wanted)}"


def _local(parameter: Any) -> Any:
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def _join(kind: str) -> None:
    """Set up the group of all processes, where nobody did: accelerate's where a launcher started them, else one of its own."""
    if distributed.is_initialized():
        return
    if world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=kind == "cpu")
    else:
        backend = "nccl" if kind == "cuda" else "gloo"
        store: Any = getattr(distributed, "HashStore")()  # noqa: B009 - torch does not declare that it exports it
        distributed.init_process_group(backend, store=store, rank=0, world_size=1)


def _layers(base: Any) -> list[nn.Module]:
    """Return the layers of a causal model, in order.

    Raises:
        SpecError: there is no one list of them, or weights lie outside of it that are neither embedding nor head.
    """
    backbone, count = backbone_of(base), int(base.config.get_text_config().num_hidden_layers)
    lists = [found for found in _outermost_lists(backbone) if len(found) == count]
    if len(lists) != 1:
        raise SpecError(f"train.parallel=fsdp shards the layers of a model, and {_LACKS}")
    held = {id(p) for p in lists[0].parameters()}
    ends = {id(end.weight) for end in (base.get_input_embeddings(), base.get_output_embeddings()) if end is not None}
    for name, parameter in base.named_parameters():
        if parameter.ndim > 1 and not parameter.requires_grad and id(parameter) not in held | ends:
            raise SpecError(f"train.parallel=fsdp shards the layers of a model, and '{name}' lies outside; {_INSTEAD}")
    return list(lists[0])


_INSTEAD = "use train.parallel=ddp with a smaller quant.scheme"
_LACKS = f"this one has no list of num_hidden_layers of them; {_INSTEAD}"


def _outermost_lists(module: nn.Module) -> Iterator[nn.ModuleList]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from _outermost_lists(child)
