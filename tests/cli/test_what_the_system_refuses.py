"""What the operating system refuses ends in one sentence and exit code 6, whatever command meets it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from medtune.cli.app import run
from medtune.errors import PluginFileError
from medtune.machine.owner_only import make_folder
from medtune.runs.folder import RunFolder
from medtune.specs import RunSpec
from medtune.testing.recorded_run import recorded_run

LONG = "n" * 5000
NO_FOLDERS = Path("/proc/medtune-test")
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


@pytest.mark.parametrize(
    "command",
    [
        ["verify", LONG],
        ["report", LONG],
        ["scan", f"{LONG}.jsonl"],
        ["scan", __file__, "--mask", LONG],
        ["import", LONG, "--to", "rows.jsonl"],
        ["init", LONG],
        ["check", LONG],
        ["plan", "--bundle", "demo", "--set", f"data.source={LONG}.jsonl"],
        ["plan", "--bundle", "demo", "--set", f"data.validation={LONG}.jsonl"],
    ],
    ids=lambda command: " ".join(part[:16] for part in command),
)
def test_a_name_that_is_too_long_is_told(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = run(command)
    told = capsys.readouterr().err
    assert code in (2, 3, 6), told
    assert "unexpected" not in told
    assert len(told.splitlines()[-1]) < 12_000
    assert not list(tmp_path.iterdir())


@needs_proc
def test_a_place_that_takes_no_folders_is_told(capsys, monkeypatch):
    with pytest.raises(OSError, match="No such file"):
        make_folder(NO_FOLDERS / "a" / "b")
    monkeypatch.setenv("MEDTUNE_CACHE", str(NO_FOLDERS))
    assert run(["plan", "--bundle", "demo"]) == 6
    assert "unexpected" not in capsys.readouterr().err


@pytest.fixture
def open_folder():
    """A folder that every user may enter, as pytest's own may not be."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_what_another_user_keeps_is_not_told_as_empty(open_folder):
    cache, kept = open_folder / "cache", open_folder / "run"
    cache.mkdir(mode=0o700)
    kept.mkdir(mode=0o700)
    (kept / "run.json").write_text("{}")
    program = (
        "import os, sys; from medtune.cli.app import run;"
        "calls = (['cache', 'list'], ['verify', sys.argv[1]]);"
        "before = [run(call) for call in calls];"  # imports what the other user may not
        "os.setuid(65534); print(before, [run(call) for call in calls])"
    )
    environment = {**os.environ, "MEDTUNE_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(kept)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[0, 4] [6, 6]", done.stderr[-2000:]


def test_a_key_is_not_made_in_a_run(tmp_path, capsys):
    (tmp_path / "run" / "evaluation").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    for place in ("run/key", "run/evaluation/key"):
        assert run(["sign", "--generate", str(tmp_path / place)]) == 2
        assert "would lie in the run" in capsys.readouterr().err
    assert not list(tmp_path.rglob("key*"))


@pytest.fixture(scope="module")
def recorded_folder(tmp_path_factory):
    """A run that keeps a record, and rows beside it."""
    place = tmp_path_factory.mktemp("recorded")
    recorded_run(place, {})
    (place / "rows.jsonl").write_text(json.dumps({"instruction": "Ask.", "output": "Dr. Quillfeather"}) + "\n")
    (place / "notes.txt").write_text("fever O\n\ncough O\n")
    return place


WRITES = {
    "scan": ["rows.jsonl", "--mask", "{place}"],
    "scan without": ["rows.jsonl", "--drop", "{place}"],
    "import": ["notes.txt", "--format", "conll", "--to", "{place}"],
    "init": ["rows.jsonl", "--out", "{place}"],
    "preview": ["--bundle", "demo", "-n", "1", "--html", "{place}"],
    "plugins": ["new", "medtune-letters", "--kind", "formatter", "--to", "{place}"],
    "train": ["--bundle", "demo", "--out", "{place}"],
    "demo": ["--out", "{place}"],
    "sweep": ["--bundle", "demo", "--grid", "lora.r=1,2", "--out", "{place}"],
    "launch": ["--bundle", "demo", "--torchrun", "--out", "{place}"],
    "sign": ["--generate", "{place}"],
}


@pytest.mark.parametrize("command", WRITES)
def test_no_command_writes_where_the_record_of_a_run_would_not_know_it(recorded_folder, command, monkeypatch, capsys):
    monkeypatch.chdir(recorded_folder)
    before = sorted(recorded_folder.rglob("*"))
    for place in ("run/evaluation/there", "run/new"):
        given = [argument.format(place=place) for argument in WRITES[command]]
        assert run([command.split()[0], *given]) == 2
        assert "would lie in the run" in capsys.readouterr().err
    assert sorted(recorded_folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["verify", "report", "evaluate", "export", "compare", "serve"])
def test_a_locked_run_locks_before_a_plugin_beside_it_is_imported(command, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create(RunSpec(locked=True).model_dump(mode="json"), {"steps": 1}, {})
    marker, plugin = tmp_path / "imported", tmp_path / "letters_of_theirs.py"
    plugin.write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n")
    further = {
        "export": ["--to", "merged"],
        "sign": ["--key", "k"],
        "baseline": ["--simple"],
        "compare": [str(folder.path)],
    }
    arguments = [command, str(folder.path), *further.get(command, []), "--plugin", str(plugin)]
    program = f"import sys; from medtune.cli.app import run; sys.exit(run({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "listed with its hash" in done.stderr, done.stderr
    assert done.returncode == PluginFileError.exit_code
    assert not marker.exists()
