"""Keys and values of the sequences being decoded, each in a slot of its own, and attention over them."""

import torch
from torch import Tensor
from torch.nn import functional

from medtune.accel.decode.plan import SlotSize
from medtune.accel.model.heads import Heads, Window
from medtune.accel.triton.device import has_fast_dots
from medtune.accel.triton.use import has_triton

__all__ = ["Block", "SlotCache", "bytes_per_token"]


class Block:
    """Several tokens of each of the first slots, one after the other.

    Args:
        lengths: [rows] int32, tokens that each slot holds already.
        width: tokens of each row, padding included.
        real: [tokens] int64, which of the rows * width tokens there are; None for all.
    """

    def __init__(self, lengths: Tensor, width: int, real: Tensor | None) -> None:
        self.lengths, self.width, self._real = lengths, width, real
        self.rows = torch.arange(len(lengths), device=lengths.device).repeat_interleave(width)
        self._all_places = lengths.long()[:, None] + torch.arange(width, device=lengths.device)
        self.rows, self.places = self.packed(self.rows), self.packed(self._all_places.flatten())
        self._masks: dict[int | None, Tensor] = {}

    def packed(self, values: Tensor) -> Tensor:
        """Return [tokens, ...] of [rows * width, ...]."""
        return values if self._real is None else values.index_select(0, self._real)

    def padded(self, values: Tensor) -> Tensor:
        """Return [rows * width, ...] of [tokens, ...], zeros where there is no token."""
        if self._real is None:
            return values
        blank = values.new_zeros(len(self.lengths) * self.width, *values.shape[1:])
        return blank.index_copy_(0, self._real, values)

    def mask(self, window: Window, bound: int, shared: int) -> Tensor:
        """Return [rows, 1, shared * width, bound], whether a token sees a place; the same for all layers of a window."""
        if window.tokens not in self._masks:
            place = torch.arange(bound, device=self.lengths.device)
            own = self._all_places[:, :, None]
            seen = place <= own
            if window.tokens is not None:
                seen &= place > own - window.tokens
            self._masks[window.tokens] = seen[:, None].expand(-1, shared, -1, -1).flatten(1, 2)[:, None]
        return self._masks[window.tokens]


class SlotCache:
    """Room for ``slots`` sequences of up to ``capacity`` tokens.

    All layers lie in one tensor [layers, 2, slots, key heads, capacity, width], so that a sequence moves in one copy and
    the first n slots are a view. Key heads are stored once, however many query heads share them.
    """

    def __init__(self, layers: int, heads: Heads, size: SlotSize, dtype: torch.dtype, device: torch.device) -> None:
        self.heads, self.slots, self.capacity = heads, size.slots, size.capacity
        self._data = torch.zeros(
            layers, 2, size.slots, heads.keys, size.capacity, heads.width, dtype=dtype, device=device
        )
        power_of_two = heads.width & (heads.width - 1) == 0 and heads.width >= 16  # noqa: PLR2004 - smallest dot
        self._fused = device.type == "cuda" and power_of_two and has_triton() and has_fast_dots(device)

    def fill(self, layer: int, kept: tuple[Tensor, Tensor], slots: Tensor, places: Tensor) -> None:
        """Keep keys and values of prompt tokens.

        Args:
            layer: number of the layer.
            kept: keys, rotated, and values, each [tokens, key heads, width].
            slots: [tokens] int64.
            places: [tokens] int64, position of each token in its sequence.
        """
        for part, new in zip((0, 1), kept, strict=True):
            self._data[layer, part][slots, :, places] = new

    def sequences(self, layer: int, slots: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        """Return copies of keys and values of slots [n] int64, each [n, key heads, tokens, width]."""
        return self._data[layer, 0, slots, :, :tokens], self._data[layer, 1, slots, :, :tokens]

    def attend(self, layer: int, qkv: Tensor, lengths: Tensor, window: Window) -> Tensor:
        """Append one token to each of the first slots and attend from it to its sequence.

        Args:
            layer: number of the layer.
            qkv: [rows, heads.total], rotated; row n belongs to slot n.
            lengths: [rows] int32, tokens that the slot holds already.
            window: scale and sliding window.

        Returns:
            [rows, queries * width].
        """
        keys, values = self._data[layer, 0], self._data[layer, 1]
        if self._fused:
            from medtune.accel.triton.decode_attention import attend

            return attend(qkv, (keys, values), lengths, self.heads, window)
        return self._attend_reference(qkv, (keys[: len(qkv)], values[: len(qkv)]), lengths, window)

    def attend_block(self, layer: int, qkv: Tensor, block: Block, window: Window) -> Tensor:
        """Append several tokens to each of the first slots and attend from each to its sequence as far as itself.

        Args:
            layer: number of the layer.
            qkv: [tokens, heads.total], rotated.
            block: says where each token belongs.
            window: scale and sliding window.

        Returns:
            [tokens, queries * width].
        """
        keys, values = self._data[layer, 0], self._data[layer, 1]
        if self._fused:
            from medtune.accel.triton.decode_attention import attend_block

            return attend_block(qkv, (keys, values), block.lengths, self.heads, window)
        q, k, v = self.heads.split(qkv)
        keys[block.rows, :, block.places] = k
        values[block.rows, :, block.places] = v
        rows, width = len(block.lengths), block.width
        bound = min(int(block.lengths.max()) + width, self.capacity) if qkv.device.type == "cpu" else self.capacity
        shared = self.heads.queries // self.heads.keys
        # as in _attend_reference: query heads that share a key head are queries of it
        grouped = block.padded(q).view(rows, width, self.heads.keys, shared, self.heads.width)
        grouped = grouped.permute(0, 2, 3, 1, 4).flatten(2, 3)
        out = functional.scaled_dot_product_attention(
            grouped,
            keys[:rows, :, :bound],
            values[:rows, :, :bound],
            attn_mask=block.mask(window, bound, shared),
            scale=window.scale,
        )
        out = out.view(rows, self.heads.keys, shared, width, -1).permute(0, 3, 1, 2, 4)
        return block.packed(out.reshape(rows * width, -1))

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first ``tokens`` tokens of a slot into another."""
        self._data[:, :, target, :, :tokens] = self._data[:, :, source, :, :tokens]

    def _attend_reference(self, qkv: Tensor, kept: tuple[Tensor, Tensor], lengths: Tensor, window: Window) -> Tensor:
        """Attend with plain PyTorch: query heads that share a key head count as queries of it, so nothing is repeated."""
        q, k, v = self.heads.split(qkv)
        keys, values = kept
        rows, places = torch.arange(len(qkv), device=qkv.device), lengths.long()
        keys[rows, :, places] = k
        values[rows, :, places] = v
        # On a CPU the longest sequence is known without waiting; a GPU looks at the whole slot instead.
        bound = int(lengths.max()) + 1 if qkv.device.type == "cpu" else self.capacity
        place = torch.arange(bound, device=qkv.device)
        seen = place <= places[:, None]
        if window.tokens is not None:
            seen &= place > places[:, None] - window.tokens
        grouped = q.view(len(q), self.heads.keys, -1, self.heads.width)
        out = functional.scaled_dot_product_attention(
            grouped, keys[:, :, :bound], values[:, :, :bound], attn_mask=seen[:, None, None], scale=window.scale
        )
        return out.flatten(1)


def bytes_per_token(layers: int, heads: Heads, dtype: torch.dtype) -> int:
    """Return the memory that one token of one sequence takes."""
    return layers * 2 * heads.keys * heads.width * dtype.itemsize
