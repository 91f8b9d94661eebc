"""Small questions about values that come from foreign code."""

import json
import math
from typing import Any

__all__ = ["ROUNDING", "is_finite", "is_json", "is_share", "is_whole"]

ROUNDING = 1e-9
"""By which a share may be beyond 0 and 1."""


def is_whole(value: Any, least: int = 0) -> bool:
    """Whether a value is an int, and no smaller."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_finite(value: Any) -> bool:
    """Whether a value is a finite int or float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_share(value: Any) -> bool:
    """Whether a value is a number between 0 and 1."""
    return is_finite(value) and -ROUNDING <= value <= 1 + ROUNDING


def is_json(value: Any) -> bool:
    """Whether a value can be written as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
