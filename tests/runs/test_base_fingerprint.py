"""A base is told from another by what its files hold, and an older record is still compared in its own way."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from medtune import ModelSpec
from medtune.errors import StorageError
from medtune.runs.base_fingerprint import base_fingerprint, fingerprint_as
from medtune.testing.tiny import tiny_base


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "base")


def fingerprint(folder):
    return base_fingerprint(ModelSpec(path=str(folder)))


def former(folder):
    weights = sorted((f.name, f.stat().st_size) for f in folder.glob("*.safetensors"))
    return hashlib.sha256((folder / "config.json").read_bytes() + json.dumps(weights).encode()).hexdigest()


def test_a_copy_elsewhere_is_the_same_base(original, folder):
    assert fingerprint(folder) == fingerprint(original)
    assert fingerprint(folder).startswith("blocks-v2:")


@pytest.mark.parametrize("place", ["first", "last"])
def test_other_weights_of_the_same_size_are_another_base(original, folder, place):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = (min if place == "first" else max)(tensors)
    tensors[name].view(-1)[0 if place == "first" else -1] += 1
    save_file(tensors, file, {"format": "pt"})
    assert file.stat().st_size == (original / file.name).stat().st_size
    assert fingerprint(folder) != fingerprint(original)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
def test_another_configuration_or_tokenizer_is_another_base(original, folder, name):
    (folder / name).write_text((folder / name).read_text() + " ")
    assert fingerprint(folder) != fingerprint(original)


def test_a_long_file_is_sampled_from_its_first_byte_to_its_last(folder):
    file = folder / "model.safetensors"
    save_file({"weight": torch.zeros(64 * 2**20, dtype=torch.uint8)}, file)
    before, size = fingerprint(folder), file.stat().st_size
    for place in (size - 1, size // 63 * 20, 0):  # the first block holds the header
        with file.open("r+b") as stream:
            stream.seek(place)
            stream.write(b"\x01")
        assert fingerprint(folder) != before
        before = fingerprint(folder)


def test_a_tensor_under_another_name_is_another_base(folder):
    """The header is longer than the first block, and the second block lies a mebibyte on."""
    tensors = {f"layer.{n:06d}.{'x' * 60}": torch.zeros(1, dtype=torch.uint8) for n in range(1000)}
    prints = set()
    for last in ("za", "zb"):
        whole = {**tensors, last: torch.zeros(64 * 2**20, dtype=torch.uint8)}
        save_file(whole, folder / "model.safetensors")
        prints.add(fingerprint(folder))
    assert len(prints) == 2


def test_a_file_that_spells_out_what_follows_another_is_not_taken_for_two(folder):
    (folder / "config.json").write_bytes(b"a")
    (folder / "generation_config.json").write_bytes(b"b")
    two = fingerprint(folder)
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_bytes(b"ageneration_config.jsonb")
    assert fingerprint(folder) != two


def test_a_record_of_the_former_way_is_compared_in_the_former_way(original, folder):
    model = ModelSpec(path=str(folder))
    assert fingerprint_as(former(original), model) == former(original)
    assert fingerprint_as(fingerprint(original), model) == fingerprint(original)
    (folder / "config.json").write_text("{}")
    assert fingerprint_as(former(original), model) == former(folder) != former(original)


def test_a_repository_is_told_by_its_commit():
    pinned = ModelSpec(name="org/name", revision="abc")
    assert base_fingerprint(pinned) == fingerprint_as("org/name@abc", pinned) == "org/name@abc"


def test_a_file_that_cannot_be_read_is_named(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    with pytest.raises(StorageError, match=r"the base in '.*' cannot be read: Is a directory"):
        fingerprint(folder)
