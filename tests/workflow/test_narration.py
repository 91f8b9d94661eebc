"""A run tells its plan, its terms, its stages, its download and its training on stderr, or nothing on request."""

import pytest

from medtune import MedTuner
from medtune.data.hub.download import Progress
from medtune.workflow import narration
from medtune.workflow.narration import Narrator


def test_a_download_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(narration, "_LINE_SECONDS", 0.0)
    with Narrator() as narrator:
        narrator.stage("fetching 2 files [of 3]")
        narrator.download(Progress("org/base", 2_000_000, 8_000_000, 50_000.0))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "medtune fetching 2 files [of 3]",
        "org/base: 2.0 MB of 8.0 MB, 50 kB/s, about 2 min 00 s left",
    ]


def test_a_download_in_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Narrator() as narrator:
        narrator.download(Progress("org/base", 2_000_000, 8_000_000, 50_000.0))
        narrator.download(Progress("org/base", 8_000_000, 8_000_000, 50_000.0))
        narrator.stage("reading")
    assert "8.0/8.0 MB" in capsys.readouterr().err


@pytest.mark.parametrize("quiet", [False, True])
def test_three_lines_of_python_tell_a_run_unless_they_ask_for_quiet(base, rows, tmp_path, capsys, quiet):
    tuner = MedTuner.from_defaults(
        model=str(base),
        data=rows,
        quant={"scheme": "none"},
        train={"max_length": 192, "num_train_epochs": None, "max_steps": 1, "logging_steps": 1},
        eval={"enabled": False},
        output_dir=str(tmp_path / "run"),
    )
    tuner.train(quiet=quiet)
    out, err = capsys.readouterr()
    assert out == ""
    if quiet:
        assert "medtune" not in err
        return
    for words in (
        "medtune plan: CPU",
        "medtune reading and encoding the rows",
        "step 1/1  loss",
        "medtune saving the adapter",
    ):
        assert words in err
