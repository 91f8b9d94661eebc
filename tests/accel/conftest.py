"""Fixtures of the fast path's tests."""

import pytest
from tiny_models import build_model, draw_batch


@pytest.fixture
def build():
    """Return the function that builds tiny peft models."""
    return build_model


@pytest.fixture
def batch():
    """Return a batch of three rows."""
    return draw_batch()
