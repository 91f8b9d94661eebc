"""The default data set's real size, generated: what the first preparation from the hub takes, and what the next ones do."""

import json
import os
import subprocess
import sys

import pytest
from main_job import medtuned_files, stand_in, starling_files

from medtune.testing.hub import serve_hub

pytestmark = pytest.mark.proof

TRAIN, VALIDATION = 200_252, 70_066
PREPARE = """
import json, sys, time

def peak():  # ru_maxrss would hold the peak of the process that started us
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

began = time.monotonic()
from medtune import MedTuner
import datasets
from medtune.data.prepare import prepare
from medtune.data.tokenizer import load_tokenizer
from transformers import AutoTokenizer, GenerationConfig
imports, base = time.monotonic() - began, peak()
tuner = MedTuner.from_defaults()
began, cpu = time.monotonic(), time.process_time()
if sys.argv[1] == "preview":
    rows = len(tuner.preview(3))
else:
    rows = len(prepare(tuner.spec, tuner.host, load_tokenizer(tuner.spec.model)).rows)
taken = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu, "imports": imports}
print(json.dumps({**taken, "mib_above_imports": peak() - base, "mib": peak(), "rows": rows}))
"""


def measured(what, environment):
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, what], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_the_real_number_of_rows_is_prepared_in_a_minute_and_found_in_seconds(tmp_path, capsys):
    starling = starling_files(tmp_path / "starling")
    medtuned = medtuned_files(TRAIN // 11 + 1, VALIDATION // 11 + 1, length="medtuned")
    with serve_hub(stand_in(starling, medtuned)) as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "MEDTUNE_CACHE": str(tmp_path / "cache"),
        }
        found = {what: measured(what.split()[0], environment) for what in ("ids first", "preview", "ids")}
    with capsys.disabled():
        for what, figures in found.items():
            print(what, {name: round(value, 2) for name, value in figures.items()})
    assert found["ids first"]["seconds"] < 60
    assert found["ids first"]["mib"] < 1024
    assert found["preview"]["seconds"] < 20
    assert found["ids"]["seconds"] < 2
