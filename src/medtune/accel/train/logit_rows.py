"""How many tokens have their logits in memory at once: for the loss, and for counting its memory."""

__all__ = ["rows_at_once"]

_LOGITS = 2**25
"""Most logits that exist at once: 64 MiB in 16 bits."""
_FEWEST_ROWS = 256


def rows_at_once(vocabulary: int) -> int:
    """Return the number of tokens whose logits exist at once."""
    return max(_FEWEST_ROWS, _LOGITS // vocabulary)
