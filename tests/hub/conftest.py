"""A hub on loopback, and a cache of its own for every case."""

import pytest
from base_repository import COMMIT, FILES, IMPATIENT, OLDER

from medtune.data.hub.download import Listener
from medtune.testing.hub import pointed_at, serve_hub
from medtune.testing.hub_contents import StandInHub


@pytest.fixture
def hub():
    with serve_hub(StandInHub(models={"org/base": {OLDER: FILES, COMMIT: FILES}})) as served:
        yield served


@pytest.fixture
def told():
    return []


@pytest.fixture
def listener(told):
    return Listener(told.append, patience=IMPATIENT)


@pytest.fixture
def asking(hub, tmp_path):
    """Let the client ask the hub while the test runs."""
    with pointed_at(hub, tmp_path):
        yield hub
