"""What all tests share: a cache of their own, and no network."""

import os

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine the first draw can take seconds; that says nothing about the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory):
    """Keep prepared data out of the user's cache."""
    os.environ["MEDTUNE_CACHE"] = str(tmp_path_factory.mktemp("medtune-cache"))
