"""How the fast path pads micro-batches on a GPU, so that few sizes come up: for its passes and for counting their memory."""

__all__ = ["HEADROOM", "padded", "padded_supervised", "padded_tokens"]

HEADROOM = 1.125
"""Share of tokens that carry loss over those of the batch at hand that memory is taken for: it differs between batches."""
_SUPERVISED_GRAIN = 256
_TOKEN_GRAIN, _LARGE_GRAIN, _LARGE = 64, 128, 4096
"""Grain of tokens, and that of batches from so many on: the more samples share prefixes, the more sizes there are."""


def padded(size: int, grain: int) -> int:
    """Return the least multiple of ``grain`` that is not below ``size``."""
    return -(-size // grain) * grain


def padded_tokens(tokens: int) -> int:
    """Return the tokens that a batch has once it is padded: one more at least, which the added targets point at."""
    return padded(tokens + 1, _TOKEN_GRAIN if tokens < _LARGE else _LARGE_GRAIN)


def padded_supervised(supervised: int) -> int:
    """Return the tokens that carry loss that a batch has once it is padded."""
    return padded(supervised, _SUPERVISED_GRAIN)
