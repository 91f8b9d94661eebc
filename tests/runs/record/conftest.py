"""Two whole runs of the same shape, made without a model, and a key pair."""

import shutil

import pytest

from medtune.runs.record.keys import generate_key
from medtune.runs.record.signing import sign_record
from medtune.testing.recorded_run import recorded_run


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    place = tmp_path_factory.mktemp("keys") / "key"
    generate_key(place)
    return place


@pytest.fixture(scope="session")
def public(key):
    return key.with_name("key.pub")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, key):
    """Return the folder of a finished run that was evaluated, reported, exported and signed."""
    folder = tmp_path_factory.mktemp("first")
    recorded_run(folder, {"run_id": "1" * 32})
    sign_record(folder / "run", key)
    return folder / "run"


@pytest.fixture(scope="session")
def other(tmp_path_factory, key):
    """Return another run of the same shape."""
    folder = tmp_path_factory.mktemp("second")
    recorded_run(folder, {"run_id": "2" * 32, "seed": 1})
    sign_record(folder / "run", key)
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    """Return a copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run")
