"""Files of settings of a base are read within bounds, before any library reads them."""

import json
import os
import struct
from pathlib import Path

import pytest

from medtune import ModelSpec, RunSpec
from medtune.data.base.fault import Fault
from medtune.data.base.headers import read_header
from medtune.data.base.inspection import QUICK_CHECKS, inspect_base
from medtune.errors import BaseDamagedError

CONFIG = {"model_type": "mistral", "hidden_size": 8}
HOSTILE = {
    "a key twice": ('{"model_type": "mistral", "model_type": "llama"}', "has the key 'model_type' twice"),
    "nested": ('{"model_type": "mistral", "a": ' + "[" * 100_000, "nested deeper than 64"),
    "a number of pages": ('{"model_type": "mistral", "hidden_size": ' + "9" * 5000 + "}", "more than 300 digits"),
    "a NUL": ('{"model_type": "mistral\\u0000"}', "NUL"),
}


def inspected(folder: Path):
    return inspect_base(RunSpec(model=ModelSpec(path=str(folder))), checks=QUICK_CHECKS)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_settings_beyond_a_bound_are_refused(tmp_path, kind, file):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    inspected(tmp_path)
    content, reason = HOSTILE[kind]
    (tmp_path / file).write_text(content)
    with pytest.raises(BaseDamagedError, match=rf"has a '{file}' that .*{reason}") as caught:
        inspected(tmp_path)
    assert caught.value.exit_code == 4


def test_nobody_waits_for_a_pipe_among_the_settings(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    os.mkfifo(tmp_path / "generation_config.json")
    with pytest.raises(BaseDamagedError, match="is a pipe"):
        inspected(tmp_path)


def test_infinite_numbers_are_what_some_models_configure(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mistral", "time_step_limit": [0.0, Infinity]}')
    inspected(tmp_path)


@pytest.mark.parametrize(
    "header", ['{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}', '{"a": ' + "[" * 5000]
)
def test_a_header_of_weights_names_each_tensor_once_and_is_flat(tmp_path, header):
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0" * 4)
    with pytest.raises(Fault, match="its header is damaged"):
        read_header(tmp_path / "x.safetensors")
