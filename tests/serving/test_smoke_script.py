"""The smoke script that lies beside an adapter, against a server in a process of its own: it passes on the adapter and fails on the base."""

import os
import shutil
import subprocess
import sys

import pytest
from serve_process import started
from serving_client import TOKEN

from medtune.workflow.run import Run


@pytest.mark.parametrize("to", ["vllm", pytest.param("sglang", marks=pytest.mark.proof)])
def test_the_smoke_script_tells_a_served_adapter_from_its_base(runs, rows, tmp_path, to):
    exported = Run.open(runs["alpha"]).export(to, tmp_path / "out", rows=rows)
    assert exported.state == "proved"
    moved = shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")  # as it is carried to another machine

    def smoke(url, model, token=TOKEN):
        command = [sys.executable, "-I", str(moved / "smoke.py"), url, model, token]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
        assert TOKEN not in done.stdout + done.stderr
        return done.returncode, done.stdout

    with started(runs["alpha"]) as (_, url):
        code, said = smoke(url, "alpha")
        assert code == 0, said
        code, said = smoke(url, "base")
        assert code == 1, said
        assert said.startswith("0 of ")
        assert smoke(url, "nobody")[0] == 2
        assert smoke(url, "alpha", "another-token-of-some-letters")[0] == 2
    assert smoke(url, "alpha")[0] == 2
