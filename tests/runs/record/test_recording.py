"""A command's own changes are recorded, nobody else's are, and what a killed one left is never taken for proved."""

from pathlib import Path

import pytest

from medtune.errors import DamagedArtifactError, WriteFailedError
from medtune.runs.folder import RunFolder
from medtune.runs.log import RunLog
from medtune.runs.record import recording
from medtune.runs.record.chain import read_chain
from medtune.runs.record.recording import Recording, recorded, recorded_around
from medtune.runs.record.writers import Mark, writers_in
from medtune.runs.store import CheckpointStore, publish
from medtune.runs.verification import sign_run, verify_all
from medtune.testing.recorded_run import recorded_run
from medtune.workflow.run_record import TRAINED


def verified(run):
    return verify_all(RunFolder(run))


def kinds(run):
    return {problem.file: problem.kind for problem in verified(run).problems}


def commands(run):
    return [line.change.command for line in read_chain(run).lines]


def killed(run, command, scope):
    """Leave a mark as a killed process does: its lock is free."""
    mark = Mark(run, command, scope)
    mark._lock.release()
    return mark


def test_a_run_verifies_after_every_command(run):
    assert (verified(run).state, verified(run).sentence) == ("whole", "")
    assert commands(run)[-6:] == ["audit", "evaluate", "report", "export", "export", "sign"]
    with recorded(run, "report", ("report.html",)):
        (run / "report.html").write_text("another")
    assert verified(run).state == "whole"


def test_a_command_does_not_record_what_another_hand_did_before_it(run):
    (run / "evaluation" / "base.json").write_text("edited")
    (run / "evaluation" / "more.json").write_text("added")
    with recorded(run, "evaluate", ("evaluation/",)):
        (run / "evaluation" / "tuned.json").write_text("scored again")
    assert kinds(run) == {"evaluation/base.json": "truncated", "evaluation/more.json": "added"}


def test_a_command_does_not_record_what_lies_outside_of_its_scope(run):
    with recorded(run, "report", ("report.html",)):
        (run / "evaluation" / "tuned.json").write_text("x" * 999)
    assert kinds(run) == {"evaluation/tuned.json": "changed"}


def test_a_large_file_is_told_from_before_without_its_content(run):
    with recorded(run, "export", ("export/",)):
        (run / "export" / "large").write_bytes(bytes(2 << 20))
    with recorded(run, "export", ("export/",)):
        (run / "export" / "large").write_bytes(bytes((2 << 20) - 1) + b"1")
    assert verified(run).state == "whole"
    with recorded(run, "export", ("export/",)):
        pass
    assert commands(run)[-2:] == ["export", "export"]


def test_a_checkpoint_that_nobody_promised_is_never_recorded(run):
    """Training writes anywhere in the folder, but a checkpoint that it did not save is a foreign one."""
    record = Recording(run, "train")
    record.begin()
    publish(run / "checkpoints" / "step-000009", lambda path: (path / "foreign").write_text("x"), {"step": 9})
    publish(run / "adapter", lambda path: (path / "values.json").write_text("foreign"))
    record.close()
    found = kinds(run)
    assert found["checkpoints/step-000009/foreign"] == "added"
    assert {found[f"adapter/{name}"] for name in ("MANIFEST.json", "values.json")} == {"truncated"}


def test_a_checkpoint_of_another_run_is_not_the_runs_own(run, other):
    import shutil

    record = Recording(run, "train")
    record.begin()
    store = CheckpointStore(run / "checkpoints", 2)
    assert store.newest_whole(lambda path: record.is_own(f"checkpoints/{path.name}"))[0].step == 3
    shutil.rmtree(run / "checkpoints" / "step-000003")
    shutil.copytree(other / "checkpoints" / "step-000003", run / "checkpoints" / "step-000003")
    newest, passed = store.newest_whole(lambda path: record.is_own(f"checkpoints/{path.name}"))
    assert (newest.step, passed[0].reason) == (2, "file 'MANIFEST.json' is not the one that the run recorded")
    record.close()
    assert "checkpoints/step-000003/MANIFEST.json" in kinds(run)


def test_older_checkpoints_go_and_a_newest_one_that_is_gone_is_missed(run):
    import shutil

    record = Recording(run, "train")
    record.begin()
    store = CheckpointStore(run / "checkpoints", 1, witness=record)
    store.save(4, lambda path: (path / "s").write_text("s"))
    store.settle()
    record.close()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000004"]
    assert verified(run).state == "whole"
    record.begin()
    shutil.rmtree(run / "checkpoints" / "step-000004")
    record.close()
    assert kinds(run)["checkpoints/step-000004/MANIFEST.json"] == "missing"


def test_a_killed_command_is_told_apart_from_tampering(run):
    killed(run, "report", ("report.html",))
    assert verified(run).state == "whole"
    (run / "report.html").write_text("half")
    (run / ".report.html.staging").write_text("half")
    found = verified(run)
    assert (found.state, found.exit_code, found.record.newer) == (
        "interrupted", 75, [".report.html.staging", "report.html"],
    )  # fmt: skip
    assert "was left in the midst of 'report': 2 files are newer than its record" in found.sentence
    (run / "evaluation" / "base.json").write_text("edited")
    assert (verified(run).exit_code, kinds(run)) == (4, {"evaluation/base.json": "truncated"})


def test_a_killed_training_explains_no_foreign_checkpoint_and_no_newest_one_that_is_gone(run, other):
    import shutil

    killed(run, "train", ("*",))
    (run / "run.json").write_text((run / "run.json").read_text() + " ")
    assert verified(run).state == "interrupted"
    shutil.copytree(other / "checkpoints" / "step-000003", run / "checkpoints" / "step-000004")
    shutil.rmtree(run / "checkpoints" / "step-000003")
    assert set(kinds(run).values()) == {"missing", "renamed", "added"} & set(kinds(run).values())
    assert "checkpoints/step-000003/MANIFEST.json" in kinds(run)


def test_the_next_command_takes_in_what_a_killed_one_left_and_says_that_nobody_saw_it(run):
    killed(run, "evaluate", ("evaluation/",))
    (run / "evaluation" / "tuned.json").write_text("written")
    with recorded(run, "report", ("report.html",)):
        pass
    found = verified(run)
    assert (found.state, commands(run)[-1], writers_in(run)) == ("whole", "recover evaluate", [])
    assert found.to_json()["record"]["unproven"] == {"evaluation/tuned.json": len(commands(run))}
    assert "cut short before it recorded 'evaluation/tuned.json'" in found.to_json()["unchecked"][0]
    with recorded(run, "evaluate", ("evaluation/",)):
        (run / "evaluation" / "tuned.json").write_text("written again")
    assert verified(run).to_json()["unchecked"] == []


def test_a_promised_checkpoint_that_a_killed_training_left_is_proved(run):
    mark = killed(run, "train", ("*",))
    publish(
        run / "checkpoints" / "step-000004",
        lambda path: (path / "state").write_text("s"),
        {"step": 4},
        promise=lambda digest: mark.promise("checkpoints/step-000004", digest),
    )
    assert verified(run).state == "interrupted"
    with recorded(run, "report", ("report.html",)):
        pass
    assert (verified(run).state, verified(run).to_json()["unchecked"]) == ("whole", [])


def test_a_command_that_still_writes_is_named(run):
    with recorded(run, "evaluate", ("evaluation/",)):
        (run / "evaluation" / "tuned.json").write_text("written")
        found = verified(run)
        assert (found.exit_code, found.record.is_alive) == (75, True)
        assert "is being written to by 'evaluate', 1 files are newer" in found.sentence
        with recorded(run, "report", ("report.html",)):
            (run / "report.html").write_text("another")
        assert "recover evaluate" not in commands(run)
    assert (verified(run).state, commands(run)[-2:]) == ("whole", ["report", "evaluate"])


def test_an_error_is_not_hidden_by_the_record(run):
    def fail():
        with recorded(run, "report", ("report.html",)):
            (run / "report.html").write_text("half")
            raise KeyError("the error")

    with pytest.raises(KeyError, match="the error"):
        fail()
    assert verified(run).state == "whole"


def test_a_folder_without_a_record_gets_none(tmp_path):
    with (
        recorded(tmp_path, "report", ("report.html",)) as record,
        recorded_around(tmp_path / "page", "compare") as other,
    ):
        (tmp_path / "report.html").write_text("x")
    assert (record.run_id, record.promise_for("adapter"), other) == ("", None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_what_is_written_at_a_place_inside_a_run_folder_is_recorded_there(run):
    (run / "deep").mkdir()
    with recorded_around(run / "deep" / "page.html", "compare"):
        (run / "deep" / "page.html").write_text("x")
    assert (verified(run).state, commands(run)[-1]) == ("whole", "compare")


def test_a_run_that_keeps_no_record_yet_takes_in_what_lies_there(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.toml").write_text("[train]")
    recorded_run(tmp_path, {})
    assert "spec.toml" in read_chain(tmp_path / "run").lines[0].change.changed


def test_a_changed_record_is_refused_before_anything_is_written(run):
    text = (run / "record.jsonl").read_text()
    (run / "record.jsonl").write_text(text.replace("evaluate", "evaluatE", 1))
    with pytest.raises(DamagedArtifactError, match=r"record\.jsonl"), recorded(run, "report", ("report.html",)):
        (run / "report.html").write_text("never")
    assert (run / "report.html").read_text() != "never"
    assert not list(run.glob(".writing-*"))


def test_what_could_not_be_appended_is_appended_by_the_next_line(run, monkeypatch):
    def refuse(*_arguments):
        raise WriteFailedError("the record", str(run), "the disk is full")

    with recorded(run, "evaluate", ("evaluation/",)) as record:
        (run / "evaluation" / "tuned.json").write_text("scored again")
        with monkeypatch.context() as patch:
            patch.setattr(recording, "append", refuse)
            with pytest.raises(WriteFailedError):
                record.keep("evaluation/")
    assert verified(run).state == "whole"


def test_a_place_is_recorded_where_it_lies_and_not_as_it_was_named(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run)
    with recorded_around(Path("..") / "merged", "export") as record:
        (tmp_path / "merged").write_text("beside the run")
    assert record is None
    (run / "deep").mkdir()
    (tmp_path / "link").symlink_to(run / "deep")
    for place in (tmp_path / "link" / "page.html", tmp_path / "other" / ".." / "run" / "deep" / "more.html"):
        (tmp_path / "other").mkdir(exist_ok=True)
        with recorded_around(place, "compare") as record:
            assert record.name_of(place) == f"deep/{place.name}"
            place.write_text("x")
    assert (verified(run).state, commands(run)[-2:]) == ("whole", ["compare", "compare"])


def test_a_file_that_became_unreadable_is_not_recorded_as_gone(run):
    """A link in its place is as odd as what the system refuses to list."""
    with recorded(run, "evaluate", ("evaluation/",)):
        (run / "evaluation" / "base.json").unlink()
        (run / "evaluation" / "base.json").symlink_to(run / "run.json")
    assert "evaluation/base.json" in read_chain(run).files
    assert verified(run).exit_code == 4


def test_a_training_does_not_record_what_another_hand_did_meanwhile(run):
    record = Recording(run, "train", TRAINED)
    record.begin()
    (run / "export" / "merged" / "values.json").write_text("edited")
    (run / "added.txt").write_text("added")
    RunLog(run / "log.jsonl").append({"step": 4})
    record.close()
    assert kinds(run) == {"export/merged/values.json": "truncated", "added.txt": "added"}


def test_a_scope_may_leave_names_out(run):
    record = Recording(run, "train", (*TRAINED, "*", "/export/", "/signature.json"))
    record.begin()
    (run / "export" / "merged" / "values.json").write_text("edited")
    (run / "signature.json").write_text("{}")
    (run / "steps.csv").write_text("of a plugin")
    record.close()
    assert kinds(run) == {"export/merged/values.json": "truncated", "signature.json": "truncated"}


def edit(text):
    return text.replace('"loss":', '"loss":0,"was":', 1)


@pytest.mark.parametrize("is_killed", [False, True])
def test_lines_of_a_log_that_were_edited_are_not_gone_on_with(run, is_killed):
    log, mark = run / "log.jsonl", None
    if is_killed:
        mark = killed(run, "train", TRAINED)
        RunLog(log).append({"step": 4, "loss": 1})
    log.write_text(edit(log.read_text()))
    before, record = log.read_bytes(), Recording(run, "train", TRAINED)
    with pytest.raises(DamagedArtifactError, match="lines in it were edited"):
        record.begin()
    assert (log.read_bytes(), mark is None or run.joinpath(f".writing-{mark.token}.jsonl").exists()) == (before, True)


def test_lines_that_nobody_was_there_to_add_are_not_gone_on_with(run):
    RunLog(run / "log.jsonl").append({"step": 4, "loss": 0})
    with pytest.raises(DamagedArtifactError, match="lines in it were edited"):
        Recording(run, "train", TRAINED).begin()
    Recording(run, "report", ("report.html",)).begin()


def test_a_log_that_was_cut_to_where_training_goes_on_from_is_gone_on_with(run):
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    killed(run, "train", TRAINED)
    (run / "log.jsonl").write_text("".join(lines[:2]))
    record = Recording(run, "train", TRAINED)
    record.begin()
    record.close()
    assert verified(run).state == "whole"


def test_what_nobody_saw_in_a_log_stays_so_until_it_is_cut_off(run):
    killed(run, "train", TRAINED)
    log = RunLog(run / "log.jsonl")
    log.append({"step": 4, "loss": 0})
    record = Recording(run, "train", TRAINED)
    record.begin()
    log = RunLog(run / "log.jsonl")
    log.append({"step": 5, "loss": 1})
    record.keep("log.jsonl")
    assert "log.jsonl" in verified(run).to_json()["unchecked"][0]
    log.keep_until(3)
    log.append({"step": 4, "loss": 1})
    record.close()
    assert (verified(run).state, verified(run).to_json()["unchecked"]) == ("whole", [])


def test_a_run_json_that_no_command_left_so_is_not_gone_on_with(run):
    RunFolder(run).update(scores={"ner": {"tuned": 1.0}})  # sealed anew, as a forger would
    with pytest.raises(DamagedArtifactError, match="not as the last command left it"):
        Recording(run, "train", TRAINED).begin()


def test_a_record_that_is_gone_is_not_begun_anew(run):
    (run / "record.jsonl").unlink()
    for command, scope in (("train", TRAINED), ("report", ("report.html",))):
        with (
            pytest.raises(DamagedArtifactError, match="is missing: the run kept a record"),
            recorded(run, command, scope),
        ):
            raise AssertionError
        with pytest.raises(DamagedArtifactError, match="is missing: the run kept a record"):
            Recording(run, command, scope).begin()
    assert not (run / "record.jsonl").exists()


def test_an_audit_that_was_killed_between_two_renames_is_gone_on_with(run):
    record = RunFolder(run).read()
    killed(run, "audit", ("adapter/", "evaluation/", "run.json"))
    RunFolder(run).update(adapter={**record["adapter"], "next_manifest": "0" * 64})
    (run / "adapter").rename(run / ".replaced-adapter")
    assert verified(run).state == "interrupted"
    (run / ".replaced-adapter" / "values.json").write_text("edited")
    assert verified(run).state == "damaged"


def test_notes_beside_a_run_are_nobodys_until_it_is_signed(run, key, public):
    (run / "notes").mkdir()
    (run / "notes" / "review.md").write_text("Seen by the board.")
    found = verified(run)
    assert (found.state, "nobody vouches for 'notes/review.md'" in found.to_json()["unchecked"][0]) == ("whole", True)
    sign_run(RunFolder(run), key)
    assert (verify_all(RunFolder(run), public).state, verified(run).to_json()["unchecked"]) == ("whole", [])
    (run / "notes" / "review.md").write_text("Seen by nobody.")
    (run / "notes" / "more.md").symlink_to("review.md")
    assert kinds(run) == {"notes/review.md": "truncated", "notes/more.md": "added"}
