"""On a GPU the kernels that a process of its own compiles are those that the run launches."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from medtune import MedTuner
from pathlib import Path
out, files = Path(sys.argv[1]), lambda: sorted(p.name for p in Path(sys.argv[2]).rglob("*.cubin"))
import medtune.workflow.training as training
import medtune.workflow.kernels_ahead as ahead
ahead._SMALLEST = 0
first = []
load = training.load
def loading(state):
    found = load(state)
    first.extend(files())
    return found
training.load = loading
changes = {"max_steps": 4, "max_length": 256}
run = MedTuner.from_bundle("demo", output_dir=str(out), train=changes, eval={"rows_per_source": 4}).train(progress="silent")
print(json.dumps({"ahead": len(first), "all": len(files()), "kernels": sorted(set(files()) - set(first))}))
"""


@pytest.mark.proof  # a minute, and bases of three billion parameters alone take this way
def test_kernels_of_training_and_answers_are_there_when_the_base_is(tmp_path):
    cache = tmp_path / "triton"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run"), str(cache)],
        env={**os.environ, "TRITON_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(cache.glob("medtune-*"))
    assert found["ahead"] > 0
    assert found["ahead"] >= 0.8 * found["all"], found
