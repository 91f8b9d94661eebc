"""How the fast path pads micro-batches on a GPU, so that few sizes come up: for its passes and for counting their memory."""

__all__ = ["HEADROOM", "padded", "padded_chosen", "padded_tokens"]

HEADROOM = 1.125
"""Share of tokens that carry loss over those of the batch at hand that memory is taken for: it differs between batches."""
_TOKEN_GRAIN, _SHARED_GRAIN, _CHOSEN_GRAIN = 64, 128, 256


def padded(size: int, grain: int) -> int:
    """Return the least multiple of ``grain`` that is not below ``size``."""
    return -(-size // grain) * grain


def padded_tokens(tokens: int, *, shares: bool = False) -> int:
    """Return the tokens that a batch has once it is padded: one more at least, which the added targets point at.

    Args:
        tokens: of the batch.
        shares: whether its samples share their beginnings, after which the number of tokens differs more.
    """
    return padded(tokens + 1, _SHARED_GRAIN if shares else _TOKEN_GRAIN)


def padded_chosen(chosen: int) -> int:
    """Return the tokens that carry loss that a batch has once it is padded."""
    return padded(chosen, _CHOSEN_GRAIN)
