"""What all tests share: a cache of their own, no network, and no walks of the collector through all libraries."""

import gc
import os

import pytest
import torch
from hypothesis import HealthCheck, settings

# On a busy machine the first draw can take seconds; that says nothing about the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if not torch.cuda.is_available():
    # before anything imports Triton, which peft does: kernels are interpreted then
    os.environ["TRITON_INTERPRET"] = "1"
    # tiny models are slower on several threads than on one, and tests run side by side
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory):
    """Keep prepared data out of the user's cache."""
    os.environ["MEDTUNE_CACHE"] = str(tmp_path_factory.mktemp("medtune-cache"))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect no garbage while tests are collected, and afterwards only among what they make."""
    gc.disable()
    try:
        return (yield)
    finally:
        _set_aside()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Set aside what a module's tests loaded, once they are done."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        _set_aside()
    return result


def _set_aside():
    """Keep what lives from the collector: every training collects, and the objects of all libraries and tests take it a second."""
    gc.collect()
    gc.freeze()
