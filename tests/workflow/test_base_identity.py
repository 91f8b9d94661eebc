"""A run knows its base by what its files hold, says which part differs, and finds again the rows it was given in Python."""

import json
import shutil
import stat

import pytest

from medtune import ModelSpec
from medtune.errors import DamagedArtifactError, DataError, UnsafeArtifactError
from medtune.export.card import write_card
from medtune.runs.base_fingerprint import base_parts
from medtune.workflow.base_identity import check_base, identity_of, write_identity
from medtune.workflow.given_rows import GIVEN_FILE, keep_rows, rows_again
from medtune.workflow.run import Run
from medtune.workflow.stages.prepare import prepare


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def respace(file):
    file.write_text(file.read_text() + " ")


def other_template(folder):
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")


DAMAGE = {
    "weights": lambda folder: flip(folder / "model.safetensors"),
    "config": lambda folder: respace(folder / "config.json"),
    "tokenizer": lambda folder: respace(folder / "tokenizer.json"),
    "template": other_template,
}


@pytest.fixture
def own(base, tmp_path):
    return shutil.copytree(base, tmp_path / "own")


@pytest.mark.parametrize("part", DAMAGE)
@pytest.mark.parametrize("way", ["blocks", "full"])
def test_a_base_that_changed_is_refused_by_the_part_that_differs(own, part, way):
    model = ModelSpec(path=str(own), fingerprint=way)
    record = {"base": identity_of(model), "fingerprints": {}}
    check_base("run", record, model)
    check_base("run", record, ModelSpec(path=str(own)))  # compared in the way in which it was recorded
    DAMAGE[part](own)
    with pytest.raises(UnsafeArtifactError, match=rf"run 'run' was trained on another base .*\(its {part} differ\)"):
        check_base("run", record, model)


def test_every_byte_counts_in_full_and_only_blocks_do_otherwise(own):
    with (own / "model.safetensors").open("ab") as file:
        file.write(bytes(64 * 2**20))
    prints = []
    for _ in range(2):
        prints.append([base_parts(ModelSpec(path=str(own)), way)["weights"] for way in ("blocks", "full")])
        with (own / "model.safetensors").open("r+b") as file:
            file.seek(64 * 2**20 // 63 * 20 + 300_000)  # between two blocks
            file.write(b"\x01")
    assert prints[0][0] == prints[1][0]
    assert prints[0][1] != prints[1][1]


def test_an_opened_run_is_refused_on_another_base_before_it_is_loaded(asked, own):
    request = asked(model=str(own))
    prepare(request)
    assert request.folder.read()["base"]["name"] == "own"
    request.folder.adapter_dir.mkdir()
    DAMAGE["weights"](own)
    with pytest.raises(UnsafeArtifactError, match=r"its weights differ"):
        _ = Run.open(request.folder.path, plugins=request.host).loaded


def test_a_record_of_before_is_compared_by_its_fingerprint(asked, own):
    request = asked(model=str(own))
    prepare(request)
    record = {key: value for key, value in request.folder.read().items() if key != "base"}
    check_base("run", record, request.spec.model)
    DAMAGE["config"](own)
    with pytest.raises(UnsafeArtifactError, match="its files differ"):
        check_base("run", record, request.spec.model)


def test_card_and_identity_name_what_was_loaded_and_no_path(asked, own, tmp_path):
    request = asked(model={"path": str(own)})
    assert request.spec.model.name == str(own)
    assert request.plan.licences[0].startswith("own: the terms of this local base are not known to medtune")
    write_card(tmp_path / "README.md", request.spec, request.plan)
    card = (tmp_path / "README.md").read_text()
    assert "# LoRA adapter for own" in card
    assert "base_model:" not in card
    assert "tarling" not in card
    write_identity(tmp_path, {"base": identity_of(request.spec.model)})
    kept = (tmp_path / "base.json").read_text()
    assert str(tmp_path) not in card + kept
    assert json.loads(kept)["parts"].keys() == {"way", "config", "tokenizer", "template", "weights"}


def test_a_snapshot_of_the_hub_s_cache_is_named_by_repository_and_commit(asked, tmp_path):
    model = ModelSpec(path=f"{tmp_path}/models--org--name/snapshots/c0ffee")
    assert (model.repository, model.commit) == ("org/name", "c0ffee")
    assert (ModelSpec().repository, ModelSpec(path="x").repository) == (ModelSpec().name, None)
    assert ModelSpec(path="here/base", name="org/name").label == "org/name"


def test_rows_given_in_python_are_kept_for_their_owner_and_found_again(asked, rows, tmp_path, monkeypatch):
    request = asked()
    prepare(request)
    record, file = request.folder.read(), request.folder.path / GIVEN_FILE
    assert record["given_rows"]["rows"] == len(rows)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").write_text("not these")  # a path of that name is not read
    assert rows_again(request.folder.path, record) == rows
    assert rows_again(request.folder.path, record, iter(rows)) == rows
    with pytest.raises(DataError, match="these are not the 16 rows"):
        rows_again(request.folder.path, record, rows[1:])
    flip(file)
    with pytest.raises(DamagedArtifactError, match="is not what was written"):
        rows_again(request.folder.path, record)
    file.unlink()
    with pytest.raises(DataError, match="given in Python and not kept"):
        rows_again(request.folder.path, record)


def test_rows_that_json_cannot_hold_are_declared_gone(tmp_path):
    found = keep_rows(tmp_path, [{"input": object}])
    assert found["file"] is None
    assert not (tmp_path / GIVEN_FILE).exists()
    with pytest.raises(DataError, match=r"1 rows of run .* not kept"):
        rows_again(tmp_path, {"given_rows": found})


def test_a_run_of_a_source_has_no_given_rows_and_one_of_before_says_that_they_are_gone(tmp_path):
    assert rows_again(tmp_path, {"given_rows": None}) is None
    with pytest.raises(DataError, match="are gone"):
        rows_again(tmp_path, {"spec": {"data": {"source": "rows"}}})
