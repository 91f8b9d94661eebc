"""The command, and the cache that its runs share."""

import pytest
from ray_commands import SPEC, Command


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("medtune-cache")


@pytest.fixture
def medtune_ray(tmp_path, cache):
    (tmp_path / "run.toml").write_text(SPEC)
    return Command(tmp_path, cache)
