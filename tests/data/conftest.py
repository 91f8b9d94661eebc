"""Tokenizers that the tests of this folder share."""

import pytest
from chat_templates import TEMPLATES, make_tokenizer


@pytest.fixture(scope="session")
def tokenizers():
    """Template name -> tokenizer."""
    return {name: make_tokenizer(template) for name, template in TEMPLATES.items()}
