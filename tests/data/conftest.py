"""Tokenizers, plugins and rows that the tests of this folder share."""

import pytest
from chat_templates import TEMPLATES, make_tokenizer

from demo_base.generator import generate_rows
from medtune.plugins.host import create_host


@pytest.fixture(scope="session")
def tokenizers():
    """Template name -> tokenizer."""
    return {name: make_tokenizer(template) for name, template in TEMPLATES.items()}


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(TEMPLATES["starling"])


@pytest.fixture(scope="session")
def host():
    return create_host(autoload=False)


@pytest.fixture(scope="session")
def rows():
    """Rows of the demo's six sources, in turn."""
    return list(generate_rows("train", 20, 0))
