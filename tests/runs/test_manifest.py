import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtune.errors import DamagedArtifactError
from medtune.runs import manifest
from medtune.runs.manifest import MANIFEST, file_digest, read_manifest, seal_folder, verify_folder

FILES = {"adapter_model.safetensors": bytes(range(256)) * 9, "state.json": b'{"step": 4}', "sub/empty": b""}

WRITTEN = """{
 "digest": "ac5d258906eaca326099c32424ea1a799edfbc6b1f02149267cf7e8d7f0bd987",
 "facts": {
  "step": 4
 },
 "files": {
  "a.txt": {
   "bytes": 3,
   "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
  }
 },
 "format": 1
}
"""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sealed") / "step-000004"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    seal_folder(folder, {"step": 4})
    return folder


def test_an_intact_folder_verifies(sealed):
    verify_folder(sealed, {"step": 4})
    assert set(read_manifest(sealed)["files"]) == set(FILES)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*list(FILES)[:2], MANIFEST]), data=st.data())
def test_every_flipped_bit_is_found_and_its_file_named(sealed, tmp_path, name, data):
    copy = tmp_path / "step-000004"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sealed, copy)
    content = bytearray((copy / name).read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << (bit % 8)
    (copy / name).write_bytes(content)
    with pytest.raises(DamagedArtifactError) as caught:
        verify_folder(copy, {"step": 4})
    assert (caught.value.file, caught.value.path) == (name, str(copy))


def test_the_order_in_which_facts_were_given_does_not_show(tmp_path):
    written = []
    for facts in ({"step": 4, "epoch": 1}, {"epoch": 1, "step": 4}):
        folder = tmp_path / f"step-{len(written)}"
        folder.mkdir()
        (folder / "a.txt").write_bytes(b"abc")
        seal_folder(folder, facts)
        written.append((folder / MANIFEST).read_bytes())
    assert written[0] == written[1]


@pytest.fixture
def copy(sealed, tmp_path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "copy"))


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(DamagedArtifactError, match="is missing") as caught:
        verify_folder(copy)
    assert caught.value.file == name


def test_a_file_that_nobody_listed_is_named(copy):
    (copy / "extra.json").touch()
    with pytest.raises(DamagedArtifactError, match="not in the manifest") as caught:
        verify_folder(copy)
    assert caught.value.file == "extra.json"


def test_a_file_grown_from_empty_is_named(copy):
    (copy / "sub/empty").write_bytes(b"x")
    with pytest.raises(DamagedArtifactError, match="1 bytes instead of 0") as caught:
        verify_folder(copy)
    assert (caught.value.file, caught.value.path) == ("sub/empty", str(copy))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"digest": 1}', "[" * 5000])
def test_a_manifest_of_another_shape_is_damage_not_a_crash(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(DamagedArtifactError, match="was changed"):
        verify_folder(copy)


def test_what_cannot_be_read_is_named_with_its_reason(copy, tmp_path):
    with pytest.raises(DamagedArtifactError, match=r"cannot be read \(Not a directory\)") as caught:
        read_manifest(copy / "state.json")
    assert caught.value.file == MANIFEST
    assert len(file_digest(copy / "state.json")) == 64


def test_a_file_that_the_device_does_not_give_back_is_named(copy, monkeypatch):
    def fail(_path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(manifest, "file_digest", fail)
    with pytest.raises(DamagedArtifactError, match=r"cannot be read \(Input/output error\)") as caught:
        verify_folder(copy)
    assert (caught.value.path, caught.value.file) == (str(copy), "adapter_model.safetensors")


def test_a_manifest_is_written_in_one_way_for_ever(tmp_path):
    """What older releases sealed has to verify, so no byte of the form may change."""
    (tmp_path / "a.txt").write_bytes(b"abc")
    seal_folder(tmp_path, {"step": 4})
    assert (tmp_path / MANIFEST).read_text() == WRITTEN


def test_a_manifest_that_promises_another_step_is_refused(sealed):
    with pytest.raises(DamagedArtifactError, match="its step is not 5"):
        verify_folder(sealed, {"step": 5})
