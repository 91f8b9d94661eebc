"""No dependency tells its makers anything: seen by what each of them does, not by what it was asked."""

import json
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

PING = """
    import json, sys
    asked = []
    sys.addaudithook(lambda event, args: asked.append(event) if event in {"socket.__new__", "socket.getaddrinfo"} else None)
    for name in sys.argv[1].split(","):
        __import__(name)
    from huggingface_hub.utils import _telemetry, send_telemetry
    _telemetry._start_telemetry_thread = lambda: None  # nothing may leave a machine of tests either
    send_telemetry("trl/SFTTrainer", library_name="trl")
    print(json.dumps({"waiting": _telemetry._TELEMETRY_QUEUE.qsize(), "asked": asked}))
"""

OWN_WORDS = {
    "datasets": ("datasets.config", "HF_UPDATE_DOWNLOAD_COUNTS", False),
    "gradio": ("gradio.analytics", "analytics_enabled()", False),
    "huggingface_hub": ("huggingface_hub.constants", "HF_HUB_DISABLE_TELEMETRY", True),
    "mlflow": ("mlflow.telemetry.utils", "is_telemetry_disabled()", True),
    "ray": ("ray._private.usage.usage_lib", "usage_stats_enabled()", False),
    "vllm": ("vllm.usage.usage_lib", "is_usage_stats_enabled()", False),
}
"""Package -> module, what it says of its own telemetry, and what that is when it is off."""


def run(code: str, *arguments: str) -> dict:
    kept = {name: value for name, value in os.environ.items() if name in {"HOME", "PATH", "OMP_NUM_THREADS"}}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    environment = {**kept, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("order", ["medtune,huggingface_hub", "huggingface_hub,huggingface_hub.constants,medtune"])
def test_the_ping_of_the_hubs_client_goes_nowhere_whoever_is_imported_first(order):
    assert run(PING, order) == {"waiting": 0, "asked": []}


def test_it_would_go_without_medtune():
    assert run(PING, "huggingface_hub")["waiting"] == 1


@pytest.mark.parametrize("package", OWN_WORDS)
def test_each_library_that_is_installed_says_that_its_telemetry_is_off(package):
    module, said, wanted = OWN_WORDS[package]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    code = f"import json, medtune, {module}; print(json.dumps({{'said': bool({module}.{said})}}))"
    assert run(code)["said"] is wanted


def test_what_is_not_installed_here_is_told_by_its_variable():
    code = "import json, os, medtune; print(json.dumps(dict(os.environ)))"
    told = run(code)
    off = {"GRADIO_ANALYTICS_ENABLED": "False", "MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}
    off |= {"VLLM_NO_USAGE_STATS": "1", "WANDB_ERROR_REPORTING": "false", "DO_NOT_TRACK": "1"}
    assert {name: told[name] for name in off} == off
