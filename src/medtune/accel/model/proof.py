"""Proves by effect that a model's modules compute what the parts read from them say: each on a few random tokens.

A class may bear a known name, or derive from a known one, and compute something else. Norms, rotary angles, attention, MLP
and layer are run one by one and compared with their written forms, then the whole model with its first layer alone.
Nothing is changed by that: neither weights and settings nor the state of torch's generators. What lies between the matrix
products is computed in fp32 on both sides, so that the type of the weights blurs little.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from medtune.accel.model.heads import Heads, Norm
from medtune.accel.model.reader import BaseParts, LayerParts, Projection
from medtune.accel.model.unsupported import UnsupportedError
from medtune.accel.model.untouched import untouched

__all__ = ["prove"]

_TOKENS = 6
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-3, torch.float16: 1e-3}
"""Largest relative error by norm: what is rounded to the type before a matrix product differs in few places at most."""
_FAR = 100_000
"""A position beyond which no angle that depends on the length stays as it is."""
_proven: "WeakKeyDictionary[nn.Module, set[tuple[Any, ...]]]" = WeakKeyDictionary()


def prove(parts: BaseParts, *, training: bool) -> None:
    """Compare what the modules of a model compute with what the parts say, once for each model and kind of layer.

    Args:
        parts: as read.
        training: whether it is to be trained, where modules may behave otherwise; dropout is left out.

    Raises:
        UnsupportedError: something else is computed, or nothing known to compare with.
    """
    kinds: dict[tuple[Any, ...], LayerParts] = {}
    for layer in parts.layers:
        kinds.setdefault(_kind(layer), layer)
    done = _proven.setdefault(parts.module, set())
    for mode in sorted({False, training}):
        left = [layer for key, layer in kinds.items() if (key, mode) not in done]
        if left:
            with _held(parts, training=mode):
                _prove_all(parts, left)
        done.update((key, mode) for key in kinds)


def _kind(layer: LayerParts) -> tuple[Any, ...]:
    """Return what tells kinds of layers apart: the classes of its modules, and their numbers."""
    modules = tuple((name, type(module)) for name, module in layer.module.named_modules() if "lora_" not in name)
    return modules, layer.window, layer.norm.eps, layer.mlp_norm.eps, layer.head_norms and layer.head_norms.eps


@contextmanager
def _held(parts: BaseParts, *, training: bool) -> Iterator[None]:
    """Hold the modules to a mode; afterwards they are as they were."""
    device = parts.embedding.device
    with untouched(parts.module, device):
        for module in parts.module.modules():
            # checkpointing is transformers' own and only repeats; dropout draws
            is_calm = isinstance(module, nn.Dropout) or hasattr(module, "gradient_checkpointing")
            module.training = training and not is_calm
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield


def _prove_all(parts: BaseParts, kinds: list[LayerParts]) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(_TOKENS, parts.width, generator=draw).to(parts.embedding.device)
    positions = torch.arange(_TOKENS, device=x.device)
    angles = _proven_angles(parts, positions)
    rows = _Rows(parts.heads, angles, parts.embedding.dtype)
    rows.compare("its last norm", parts.module.model.norm(x[None]), rows.normed(x, parts.norm))
    for layer in kinds:
        module = rows.widened(layer)
        rows.compare("the norm of its layers", module.input_layernorm(x[None]), rows.normed(x, layer.norm))
        rows.compare(
            "the norm before its MLPs", module.post_attention_layernorm(x[None]), rows.normed(x, layer.mlp_norm)
        )
        rows.compare("its MLP", module.mlp(x[None]), rows.mlp(x, layer))
        given = {
            "position_embeddings": parts.rotary(x, positions[None]),
            "attention_mask": rows.mask(layer)[None, None],
        }
        rows.compare("its attention", module.self_attn(hidden_states=x[None], **given)[0], rows.attention(x, layer))
        found: Any = module(x[None], position_ids=positions[None], use_cache=False, **given)
        rows.compare("its layer", found if isinstance(found, Tensor) else found[0], rows.layer(x, layer))
    _prove_whole(parts, rows, positions)


def _proven_angles(parts: BaseParts, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, fp32, once it is sure that they depend on positions alone and serve both halves of a head."""
    kind = torch.empty(1, dtype=torch.float32, device=positions.device)
    frequencies = parts.rotary.inv_freq.float() * positions[:, None].float()
    factor = float(parts.rotary.attention_scaling)
    wanted = frequencies.cos() * factor, frequencies.sin() * factor
    parts.rotary(kind, positions[None] + _FAR)
    for found, half in zip(parts.rotary(kind, positions[None]), wanted, strict=True):
        _compare("its rotary module", found[0], torch.cat([half, half], -1), _TOLERANCES[torch.float32])
    return wanted


def _prove_whole(parts: BaseParts, rows: "_Rows", positions: Tensor) -> None:
    """Compare the logits of the model with its first layer alone: what surrounds the layers is run by that."""
    base, layer, kind = parts.module, parts.layers[0], parts.embedding.dtype
    layers = nn.ModuleList([rows.widened(layer)])
    short = _replaced(base.model, layers=layers, embed_tokens=_Wide(base.model.embed_tokens, kind))
    whole = _replaced(base, model=short, lm_head=_Wide(base.lm_head, kind))
    ids = positions[None] % len(parts.embedding)
    # the class's own forward: a trainer puts another one on the model itself
    found = type(base).forward(whole, input_ids=ids, position_ids=positions[None], use_cache=False)
    x = rows.layer(functional.embedding(ids[0], parts.embedding).float(), layer)
    logits = functional.linear(rows.normed(x, parts.norm).to(kind), parts.head)
    rows.compare("what surrounds its layers", found.logits, logits.float())


class _Wide(nn.Module):
    """Runs a module in its own type and hands its result on in fp32, so that all between the matrix products is exact."""

    def __init__(self, inner: Any, kind: torch.dtype) -> None:
        super().__init__()
        self._inner, self._kind = inner, kind

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._inner(x.to(self._kind) if x.is_floating_point() else x)
        return out.float()


def _replaced(module: Any, **children: nn.Module) -> Any:
    """Return a module that shares everything with another one but some children."""
    other: Any = object.__new__(type(module))
    other.__dict__.update(module.__dict__, _modules={**module._modules, **children})  # noqa: SLF001 - no copy of torch's goes so deep
    return other


@dataclass(frozen=True, slots=True)
class _Rows:
    """The written forms, on tokens [n, width] in fp32; matrix products are the model's own."""

    heads: Heads
    angles: tuple[Tensor, Tensor]
    kind: torch.dtype

    def widened(self, layer: LayerParts) -> Any:
        """Return the layer as it stands in the model, around matrix products that hand on fp32."""
        wide: dict[str, nn.Module] = {part.name: _Wide(part.module, self.kind) for part in layer.projections}
        attention = {name: wide.pop(name) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
        module = layer.module
        return _replaced(module, self_attn=_replaced(module.self_attn, **attention), mlp=_replaced(module.mlp, **wide))

    def layer(self, x: Tensor, layer: LayerParts) -> Tensor:
        x = x + self.attention(self.normed(x, layer.norm), layer)
        return x + self.mlp(self.normed(x, layer.mlp_norm), layer)

    def attention(self, x: Tensor, layer: LayerParts) -> Tensor:
        heads, norms = self.heads, layer.head_norms
        q, k, v = (self._product(part, x).view(len(x), -1, heads.width) for part in layer.qkv)
        if norms is not None:
            q, k = self.normed(q, norms.query), self.normed(k, norms.key)
        q, k = self._turned(q), self._turned(k)
        k, v = (part.repeat_interleave(heads.queries // heads.keys, 1) for part in (k, v))
        scores = torch.einsum("qhw,khw->hqk", q, k) * layer.window.scale + self.mask(layer)
        return self._product(layer.o, torch.einsum("hqk,khw->qhw", scores.softmax(-1), v).flatten(1))

    def mlp(self, x: Tensor, layer: LayerParts) -> Tensor:
        gate, up = (self._product(part, x) for part in layer.gate_up)
        return self._product(layer.down, functional.silu(gate) * up)

    def mask(self, layer: LayerParts) -> Tensor:
        """Return what is added to scores, [n, n]."""
        place = torch.arange(len(self.angles[0]), device=self.angles[0].device)
        distance = place[:, None] - place
        unseen = distance < 0
        if layer.window.tokens is not None:
            unseen |= distance >= layer.window.tokens
        return torch.zeros(distance.shape, device=place.device).masked_fill(unseen, -1e9)

    def normed(self, x: Tensor, norm: Norm) -> Tensor:
        return norm.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps))

    def compare(self, what: str, found: Tensor, wanted: Tensor) -> None:
        """Refuse where the one sequence of ``found`` is not as ``wanted``."""
        _compare(what, found[0], wanted, _TOLERANCES.get(self.kind, 0.0))

    def _product(self, part: Projection, x: Tensor) -> Tensor:
        out: Tensor = part.module(x.to(self.kind))
        return out.float()

    def _turned(self, part: Tensor) -> Tensor:
        first, second = part.chunk(2, -1)
        cos, sin = (angle[:, None] for angle in self.angles)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _compare(what: str, found: Tensor, wanted: Tensor, tolerance: float) -> None:
    error = (found.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30)
    if found.shape != wanted.shape or not error <= tolerance:  # so that NaN is refused
        raise UnsupportedError(f"{what} computes something else than in the models that are known")
