"""A mark explains what its command may have written, and never makes a folder whole that is not as its record ends."""

import json
import os
import shutil

import pytest

from medtune.errors import DamagedArtifactError
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import MANIFEST, file_digest, seal_folder
from medtune.runs.record.chain import read_chain
from medtune.runs.record.recording import recorded
from medtune.runs.record.writers import Mark
from medtune.runs.verification import verify_all


def verified(run, key=None):
    return verify_all(RunFolder(run), key)


def kinds(run):
    return {problem.file: problem.kind for problem in verified(run).problems}


def forge(run, *lines, name=".writing-0.jsonl"):
    (run / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def dead(run, command, scope):
    """Leave a mark as a killed process does: its lock is free."""
    mark = Mark(run, command, scope)
    mark._lock.release()
    return mark


def seal_edited(run, folder):
    """Edit a folder, give it a manifest, and return the hash of that."""
    (run / folder).mkdir(exist_ok=True, parents=True)
    (run / folder / "tuned.json").write_text("edited")
    seal_folder(run / folder, {})
    return file_digest(run / folder / MANIFEST)


@pytest.mark.parametrize(
    ("command", "scope", "folder"),
    [
        ("x", [], "evaluation"),
        ("train", ["*"], "evaluation"),
        ("x", [], "adapter"),
        ("evaluate", ["evaluation/"], "checkpoints/step-000004"),
        ("export", ["export/merged/"], "checkpoints/step-000004"),
        ("train", ["*"], "adapter/deeper"),
    ],
)
def test_a_promise_counts_only_for_a_sealed_folder_in_the_scope_of_its_command(run, command, scope, folder):
    digest = seal_edited(run, folder)
    forge(run, {"command": command, "scope": scope}, {"folder": folder, "manifest": digest})
    assert verified(run).state != "whole"
    if (command, folder) != ("train", "evaluation"):  # a file that training writes: newer, and never proved
        assert f"{folder}/{MANIFEST}" in kinds(run)
        return
    with recorded(run, "report", ("report.html",)):
        pass
    assert f"{folder}/{MANIFEST}" in verified(run).to_json()["record"]["unproven"]


def test_what_an_export_promised_below_its_place_is_explained(run):
    digest = seal_edited(run, "export/merged")
    scope = ["export/merged", "export/merged/", "export/merged-refused/"]
    forge(run, {"command": "export", "scope": scope}, {"folder": "export/merged", "manifest": digest})
    assert (verified(run).state, verified(run).exit_code) == ("interrupted", 75)


@pytest.mark.parametrize(
    "lines",
    [
        [{"scope": ["*"]}],
        [{"command": "train", "scope": "*"}],
        [{"command": "train", "scope": [1]}],
        [{"command": 1, "scope": ["*"]}],
        [{"command": "train", "scope": None}],
        [["train"]],
        [{"command": "train", "scope": ["*"]}, {"folder": "adapter"}],
        [{"command": "train", "scope": ["*"]}, {"folder": "adapter", "manifest": 1}],
    ],
)
def test_a_mark_that_no_command_left_so_is_a_problem(run, lines):
    forge(run, *lines)
    (run / "report.html").write_text("edited")
    assert set(kinds(run)) == {".writing-0.jsonl", "report.html"}


def test_a_mark_that_is_no_json_is_a_problem_and_one_that_was_cut_short_says_nothing(run):
    (run / ".writing-0.jsonl").write_text('{"command": "tr')
    assert verified(run).state == "whole"
    (run / ".writing-0.jsonl").write_bytes(b"\xff{\n")
    assert set(kinds(run)) == {".writing-0.jsonl"}


@pytest.mark.parametrize("name", ["record.jsonl", ".writing-0.jsonl"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.parents[1] / "elsewhere")])
def test_a_record_or_mark_that_is_no_regular_file_is_named_and_never_opened(run, name, make):
    text = (run / "record.jsonl").read_bytes()
    (run / name).unlink(missing_ok=True)
    run.with_name("elsewhere").write_bytes(text)
    make(run / name)
    assert (verified(run).exit_code, set(kinds(run))) == (4, {name})
    if name == "record.jsonl":
        with pytest.raises(DamagedArtifactError, match=r"record\.jsonl"), recorded(run, "report", ("report.html",)):
            pass


def test_a_key_vouches_for_nothing_that_a_mark_explains(run, public):
    assert verified(run, public).state == "whole"
    forge(run, {"command": "report", "scope": ["report.html"]})
    (run / "report.html").write_text("edited")
    found = verified(run, public)
    assert (found.exit_code, found.to_json()["signature"]["valid"]) == (4, False)
    assert ("older", True) in [(one.kind, "'report.html'" in one.detail) for one in found.signature.problems]


def test_a_key_vouches_for_no_folder_that_differs_from_its_record(run, public):
    (run / "report.html").write_text("edited")
    assert verified(run, public).to_json()["signature"]["valid"] is False


def test_what_is_gone_after_a_kill_is_named_until_it_is_written_again(run):
    dead(run, "evaluate", ("evaluation/",))
    (run / "evaluation" / "base.json").unlink()
    with recorded(run, "report", ("report.html",)):
        pass
    found = verified(run).to_json()
    assert found["record"]["unproven"] == {"evaluation/base.json": len(read_chain(run).lines)}
    assert "'evaluation/base.json'" in found["unchecked"][0]
    with recorded(run, "evaluate", ("evaluation/",)):
        (run / "evaluation" / "base.json").write_text("scored again")
    assert (verified(run).state, verified(run).to_json()["unchecked"]) == ("whole", [])


def test_older_checkpoints_that_a_killed_training_rotated_away_are_not_asked_for(run):
    dead(run, "train", ("*",))
    shutil.rmtree(run / "checkpoints" / "step-000002")
    with recorded(run, "report", ("report.html",)):
        pass
    assert (verified(run).state, verified(run).to_json()["unchecked"]) == ("whole", [])


def test_half_written_files_of_a_killed_command_are_taken_away_and_not_recorded(run):
    dead(run, "evaluate", ("evaluation/",))
    left = run / "evaluation" / ".base.json.ab12cd34.staging"
    foreign = run / ".report.html.ab12cd34.staging"
    for path in (left, foreign):
        path.write_text("half")
    with recorded(run, "compare", ("page.html",)):
        pass
    assert (left.exists(), kinds(run)) == (False, {foreign.name: "added"})
    assert left.name not in (run / "record.jsonl").read_text()


def test_half_written_files_of_a_command_that_still_writes_stay(run):
    staged = run / ".report.html.ab12cd34.staging"
    with recorded(run, "report", ("report.html",)):
        staged.write_text("half")
        dead(run, "train", ("*",))
        with recorded(run, "evaluate", ("evaluation/",)):
            assert staged.exists()
        staged.unlink()
