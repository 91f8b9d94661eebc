"""The dropout of every update of a run, whichever way the model is run: by the fast path or by its own layers.

Masks depend on the run's seed, the update, and each token with those before it in its sample; not on how the rows of the update are
divided among passes and processes. Where the model's own layers run, peft's dropout modules are replaced while it is trained.
"""

import logging
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medtune.accel.model.reader import layers_of, unwrapped
from medtune.accel.model.unsupported import UnsupportedError, surprises_refused
from medtune.accel.steps.dropout import Dropout, DropoutKeys, keep_mask, token_keys, update_seed
from medtune.accel.train.fast_path import FastPath
from medtune.accel.triton.use import give_up_triton, has_triton

__all__ = ["UpdateMasks"]


class UpdateMasks:
    """Use as a context manager, within which the model is trained.

    Args:
        model: a causal model that peft wrapped.
        path: the fast path where it runs the model, None where the model's own layers do.
        seed: of the run.

    Attributes:
        unplaced: whether a layer got other rows than the tokens of a pass, so that its masks depend on their order.
    """

    def __init__(self, model: Any, path: FastPath | None, seed: int) -> None:
        self._model, self._path, self._run_seed = model, path, seed
        self._replaced: list[tuple[Any, str, nn.Module]] = []
        self._hook: Any = None
        self._shape: tuple[int, ...] = ()
        self._tokens: Tensor | None = None
        self._drawn: dict[float, DropoutKeys] = {}
        self._seed = self._passes = 0
        self.unplaced = False

    def __enter__(self) -> Self:
        if self._path is None and (found := list(_places(self._model))):
            for layer, adapter, place in found:
                old = layer.lora_dropout[adapter]
                self._replaced.append((layer.lora_dropout, adapter, old))
                layer.lora_dropout[adapter] = _KeyedDropout(old.p, self, place)
            base = unwrapped(self._model)
            backbone = getattr(base, base.base_model_prefix, base)
            self._hook = backbone.register_forward_pre_hook(self._note, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for modules, adapter, old in self._replaced:
            old.training = modules[adapter].training
            modules[adapter] = old
        self._replaced.clear()
        if self._hook is not None:
            self._hook.remove()
        if self._path is not None:
            self._path.mask_seed = None

    def begin(self, update: int) -> None:
        """Draw by the seed of an update from now on; called before each of its passes."""
        seed = update_seed(self._run_seed, update)
        self._passes = self._passes if seed == self._seed else 0
        self._seed = seed
        self._drawn.clear()
        if self._path is not None:
            self._path.mask_seed = self._seed

    def of(self, place: tuple[int, int], x: Tensor, probability: float) -> tuple[Dropout, int]:
        """Return the dropout of a layer's input ``x`` [..., width], and which member of it the layer is.

        Args:
            place: the layer's group, and its number in that.
            x: a row for each token of the pass.
            probability: of dropping an input.
        """
        group, member = place
        keys = self._keys(x, probability)
        dropout = keys.of(group, member + 1)
        if dropout is None:
            raise ValueError("a layer that drops nothing has no masks")
        return dropout, member

    def _keys(self, x: Tensor, probability: float) -> DropoutKeys:
        rows = x.numel() // max(x.shape[-1], 1)
        if self._tokens is not None and x.shape[:-1] in (self._shape, (len(self._tokens),)):
            if probability not in self._drawn:
                self._drawn[probability] = DropoutKeys.drawn(probability, self._tokens, self._seed)
            return self._drawn[probability]
        self.unplaced = True
        numbers = torch.arange(rows, device=x.device) + self._passes * rows
        return DropoutKeys.drawn(probability, numbers.to(torch.int32), self._seed)

    def _note(self, _module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Take the tokens of a pass that begins."""
        ids: Tensor | None = named.get("input_ids", given[0] if given else None)
        self._drawn.clear()
        self._tokens, self._passes = None, self._passes + 1
        if ids is None:
            return
        places = torch.arange(ids.numel(), device=ids.device)
        begins = places // ids.shape[-1] * ids.shape[-1]
        positions: Tensor | None = named.get("position_ids")
        if positions is not None:
            begins = torch.maximum(begins, places - positions.expand_as(ids).flatten())
        self._shape = tuple(ids.shape)
        self._tokens = token_keys(ids.flatten(), begins, places).to(torch.int32)


class _KeyedDropout(nn.Dropout):
    """Dropout whose mask can be drawn again."""

    def __init__(self, p: float, masks: UpdateMasks, place: tuple[int, int]) -> None:
        super().__init__(p)
        self._masks, self._place = masks, place

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.training or self.p == 0.0:
            return x
        dropped: Tensor = _Drop.apply(x, *self._masks.of(self._place, x, self.p))  # type: ignore[no-untyped-call]
        return dropped


class _Drop(torch.autograd.Function):
    """Drops inputs; the mask is drawn again for the gradient where that is cheaper than keeping it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: Dropout, member: int) -> Tensor:
        ctx.dropout, ctx.member, ctx.mask = dropout, member, None
        found = _by_triton(x, dropout, member)
        if found is None:
            rows = x.numel() // x.shape[-1]
            ctx.mask = keep_mask(dropout, member, (rows, x.shape[-1]), x.device).view(x.shape)
            found = x * ctx.mask * dropout.factor
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if ctx.mask is not None:
            return gradient * ctx.mask * ctx.dropout.factor, None, None
        found = _by_triton(gradient.contiguous(), ctx.dropout, ctx.member)
        if found is None:
            raise RuntimeError("a Triton kernel that drew a mask cannot draw it again")
        return found, None, None


def _by_triton(x: Tensor, dropout: Dropout, member: int) -> Tensor | None:
    """Return what is left of ``x``, None where no Triton kernel can say."""
    if not (x.is_cuda and has_triton()):
        return None
    try:
        from medtune.accel.triton.dropout import drop

        return drop(x, dropout, member)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a C compiler is missing, say: slower, equal in result
        failure = f"{type(error).__name__}: {error}".partition("\n")[0]
    logging.getLogger(__name__).warning("dropout goes on without Triton kernels, slower: %s", failure)
    give_up_triton(failure)
    return None


def _places(model: Any) -> Iterator[tuple[Any, str, tuple[int, int]]]:
    """Yield each layer that drops, its adapter, and the layer's group and number in that: those of the fast path, which come first."""
    dropping = {
        id(module): (module, adapter)
        for module in model.modules()
        if isinstance(getattr(module, "lora_dropout", None), nn.ModuleDict)
        for adapter, dropout in module.lora_dropout.items()
        if isinstance(dropout, nn.Dropout)
    }
    groups = [group for group in _groups(model) if any(id(module) in dropping for module in group)]
    known = {id(module) for group in groups for module in group}
    groups += [(module,) for number, (module, _adapter) in dropping.items() if number not in known]
    for number, group in enumerate(groups):
        for member, module in enumerate(group):
            if id(module) in dropping:
                yield *dropping[id(module)], (number, member)


def _groups(model: Any) -> list[tuple[Any, ...]]:
    """Return the layers that the fast path would join, none where it does not know the model."""
    try:
        with surprises_refused():
            layers = layers_of(unwrapped(model))
    except UnsupportedError:
        return []
    return [tuple(part.module for part in product) for layer in layers for product in layer.products]
