"""A run tells whom its caller names, and says nothing of its own on stdout or stderr."""

import ast
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import medtune
from medtune import MedTuner, Run
from medtune.data.hub.download import Progress as Download
from medtune.errors import UnknownNameError
from medtune.plugins.host import create_host
from medtune.workflow.narration import Narrator
from medtune.workflow.notebook import NotebookProgress
from medtune.workflow.progress import SilentProgress, progress_of
from medtune.workflow.training import train

HOUSE = Path(medtune.__file__).parent
MAY_PRINT = {"export/smoke.py", "data/outside/child.py"}  # programs of their own, which print


class Told:
    """Keeps what it is told."""

    def __init__(self):
        self.events = []

    def stage(self, sentence):
        self.events.append(("stage", sentence))

    def plan(self, plan):
        self.events.append(("plan", plan.device))

    def download(self, progress):
        self.events.append(("download", progress))

    def step(self, record):
        self.events.append(("step", record["step"]))

    def close(self):
        self.events.append(("close", None))

    def of(self, kind):
        return [what for each, what in self.events if each == kind]


@pytest.fixture
def tuner(base, rows, tmp_path):
    spec = MedTuner.from_defaults(
        model=base, data={"source": "rows", "validation_fraction": 0.2}, quant={"scheme": "none"}, output_dir=tmp_path / "run",
        train={"max_length": 192, "num_train_epochs": None, "max_steps": 2, "logging_steps": 1}, eval={"enabled": False},
    ).spec  # fmt: skip
    return MedTuner(spec, plugins=create_host(autoload=False), rows=rows)


def test_an_object_of_the_caller_s_is_told_of_a_run_and_of_its_end(tuner, capsys):
    told = Told()
    tuner.train(progress=told)
    assert set(told.of("step")) == {1, 2}
    assert len(told.of("plan")) == 1
    assert "reading and encoding the rows" in told.of("stage")
    assert told.events[-1] == ("close", None)
    assert capsys.readouterr() == ("", "")


def test_a_run_that_fails_closes_its_progress_too(tuner):
    told, stages = Told(), []

    def on_stage(sentence):
        stages.append(sentence)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuner.train(progress=told, on_stage=on_stage)
    assert told.events[-1] == ("close", None)
    assert told.of("stage") == []  # a function that was given is told in its place
    assert len(stages) == 1


def test_scoring_and_exporting_tell_what_begins(asked, tmp_path, capsys):
    train(asked(eval={"enabled": True}))
    capsys.readouterr()
    run, told = Run.open(tmp_path / "run"), Told()
    run.evaluate(baseline=True, progress=told)
    assert [words.split(" on ")[0] for words in told.of("stage")] == ["scoring the adapter", "scoring the base model"]
    run.export("merged", tmp_path / "out", prove=False, progress=told)
    assert told.of("stage")[-1].endswith("as merged")
    assert told.of("close") == [None, None]
    run.evaluate()
    assert capsys.readouterr() == ("", "")


def test_progress_is_chosen_by_name():
    assert isinstance(progress_of("bar"), Narrator)
    assert isinstance(progress_of("auto"), Narrator)
    assert isinstance(progress_of("silent"), SilentProgress)
    assert isinstance(progress_of("notebook"), NotebookProgress)
    with pytest.raises(UnknownNameError, match="no progress named 'notebok'; did you mean 'notebook'"):
        progress_of("notebok")


def test_inside_a_notebook_auto_is_the_notebook(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(progress_of("auto"), NotebookProgress)
    del shell.kernel  # a shell in a terminal
    assert isinstance(progress_of("auto"), Narrator)


def test_a_notebook_shows_one_output_that_is_replaced():
    shown = []
    told = NotebookProgress(lambda bundle, identity, update: shown.append((bundle, identity, update)))
    told.stage("fetching <2> files")
    told.download(Download("org/base", 2_000_000, 8_000_000, 50_000.0))
    told.stage("training")
    told.step({"step": 1, "total_steps": 4, "loss": 1.25})
    told.step({"step": 2, "total_steps": 4})
    told.close()
    assert [update for _bundle, _identity, update in shown] == [False, True, True, True, True]
    assert len({identity for _bundle, identity, _update in shown}) == 1
    assert "fetching &lt;2&gt; files" in shown[0][0]["text/html"]
    assert 'value="0.2500"' in shown[1][0]["text/html"]
    assert shown[-1][0]["text/plain"] == "fetching <2> files\ntraining\nstep 2/4  loss 1.250"


def test_stages_are_in_the_log_of_the_run(tuner, caplog):
    with caplog.at_level(logging.INFO, logger="medtune"):
        tuner.train(quiet=True)
    assert "reading and encoding the rows" in [r.getMessage() for r in caplog.records if r.name == "medtune.run"]


def test_every_logger_of_a_module_stands_in_one_tree():
    found = {
        ast.unparse(node.value)
        for file in HOUSE.rglob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and "getLogger" in ast.unparse(node.value)
    }
    assert found == {"logging.getLogger(__name__)", "logging.getLogger('medtune.run')"}


def test_the_library_prints_nothing_but_into_a_file_that_it_is_given():
    printing = {
        file.relative_to(HOUSE).as_posix()
        for file in HOUSE.rglob("*.py")
        if not file.is_relative_to(HOUSE / "cli")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
        and not any(keyword.arg == "file" for keyword in node.keywords)
    }
    assert printing == MAY_PRINT


QUIET = """
import sys
from medtune import MedTuner
row = {"instruction": "Relation?", "source": "MedNLI"}
rows = [{**row, "input": f"Sentence 1: {n} coughs.\\nSentence 2: {n} is ill.", "output": "Neutral"} for n in range(8)]
MedTuner.from_defaults(
    model=sys.argv[1], data=rows, quant={"scheme": "none"}, output_dir=sys.argv[2], eval={"enabled": False},
    train={"max_length": 192, "num_train_epochs": None, "max_steps": 1, "logging_steps": 1},
).train(quiet=True)
"""


def test_a_quiet_training_writes_nothing_to_stdout_and_stderr(base, tmp_path):
    command = [sys.executable, "-c", QUIET, str(base), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_warning_of_the_library_is_nobody_s_unless_logging_is_set_up():
    warn = "import logging, medtune; logging.getLogger('medtune.data').warning('w')"
    for code, said in ((warn, ""), (f"import logging; logging.basicConfig(); {warn}", "WARNING:medtune.data:w\n")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr == said


def test_warnings_during_a_training_are_told_where_nobody_set_up_logging(tuner, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    told = Told()

    def on_step(record):
        logging.getLogger("medtune.backends.any").warning("odd %s", record["step"])

    tuner.train(progress=told, on_step=on_step)
    assert "warning: odd 1" in told.of("stage")
    assert all(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("medtune").handlers)
