"""How the fast path pads micro-batches on a GPU, so that few sizes come up: for its passes and for counting their memory."""

from dataclasses import dataclass

__all__ = ["HEADROOM", "Grain", "grain_of"]

HEADROOM = 1.125
"""Share of tokens that carry loss over those of the batch at hand that memory is taken for: it differs between batches."""
_LARGE = 4096
_NARROW = 1024
"""Width below which a pass takes a tenth of the time of its capture, so that sizes which seldom come up are not worth one."""


@dataclass(frozen=True, slots=True)
class Grain:
    """What sizes are rounded up to.

    Attributes:
        token: tokens of a batch.
        large: tokens of one of 4,096 or more: the more samples share prefixes, the more sizes there are.
        supervision: tokens that carry loss.
        piece: pieces that the samples are cut into.
    """

    token: int
    large: int
    supervision: int
    piece: int

    def tokens(self, count: int) -> int:
        """Return the tokens that a batch has once it is padded: one more at least, which the added targets point at."""
        return _up(count + 1, self.token if count < _LARGE else self.large)

    def supervised(self, count: int) -> int:
        """Return the tokens that carry loss that a batch has once it is padded."""
        return _up(count, self.supervision)

    def pieces(self, count: int) -> int:
        """Return the pieces that a batch has once it is padded: one more at least, which holds the padding."""
        return _up(count + 1, self.piece)


_FINE, _COARSE = Grain(64, 128, 256, 32), Grain(256, 512, 512, 64)


def grain_of(width: int) -> Grain:
    """Return the grain for a model whose hidden states are so wide."""
    return _COARSE if width < _NARROW else _FINE


def _up(size: int, grain: int) -> int:
    return -(-size // grain) * grain
