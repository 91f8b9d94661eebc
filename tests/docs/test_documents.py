"""What the documents say is true: code runs, signatures and defaults agree with the code."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import medtune
from medtune import RunSpec, plugins
from medtune.cli.app import app, run
from medtune.errors import MedtuneError
from medtune.plugins import contracts, hookspecs
from medtune.specfile import merge, read_spec_file, validate_spec
from warm_python import run_warm

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)( no-run| continued)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS_TIME = {
    "medtune bench",
    "medtune train",
    "medtune sweep",
    "medtune demo",
    "medtune preview",
    "medtune adopt",
    "medtune evaluate",
    "medtune baseline",
    "medtune audit",
    "medtune chat",
    "medtune serve",
    "medtune export",  # these need a run
    "medtune sign",
    "medtune verify",
    "medtune import",  # these three need a file, which a page does not have
    "medtune scan",
    "medtune init",
}


def blocks(language):
    """Return (page and number, whether it is run, text) of every block in a language; test_guides.py runs those that continue."""
    found = []
    for page in PAGES:
        for number, (kind, idle, text) in enumerate(BLOCK.findall(page.read_text())):
            if kind == language:
                found.append(pytest.param(not idle, text, id=f"{page.relative_to(ROOT)}-{number}"))
    return found


def run_fresh(arguments, *, cwd, env):
    command, values = [sys.executable, *arguments], {**os.environ, **env}
    return subprocess.run(command, cwd=cwd, env=values, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("is_run", "text"), blocks("python"))
@pytest.mark.parametrize("start", ["warm", pytest.param("fresh", marks=pytest.mark.proof)])
def test_python_in_the_documents_runs(start, is_run, text, tmp_path):
    compile(text, "document", "exec")
    if not is_run:
        return
    done = (run_fresh if start == "fresh" else run_warm)(["-c", text], cwd=tmp_path, env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("is_run", "text"), blocks("shell"))
def test_commands_in_the_documents_are_real(is_run, text, capsys):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in filter(None, text.splitlines()):
        words = shlex.split(line)
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[0] == "medtune":
            quick = " ".join(words[:2]) not in NEEDS_TIME
            arguments = words[1:] if quick else [*words[1:], "--help"]
            if "--locked" in arguments:  # nothing would unlock this process
                subprocess.run([sys.executable, "-m", "medtune", *arguments], check=True, capture_output=True)
            else:
                assert run(arguments) == 0, (line, capsys.readouterr().err)
        else:
            assert words[0] in ("pip", "git", "cd", "python", "sbatch", "srun", "kubectl"), line


@pytest.mark.parametrize(("is_run", "text"), blocks("toml"))
def test_toml_in_the_documents_is_a_spec_or_names_an_entry_point(is_run, text, tmp_path):
    file = tmp_path / "block.toml"
    file.write_text(text)
    values = read_spec_file(file)
    if "project" in values:
        assert values["project"]["entry-points"].keys() == {hookspecs.PROJECT}
        return
    values.pop("bundle", None)
    assert isinstance(validate_spec(merge({}, values), file), RunSpec)


@pytest.mark.parametrize(("is_run", "text"), blocks("yaml"))
def test_yaml_in_the_documents_is_a_task_of_the_harness(is_run, text):
    assert yaml.safe_load(text).keys() >= {"task", "dataset_path", "doc_to_text", "doc_to_target", "metric_list"}


def test_the_readme_says_which_releases_are_locked():
    locks = "".join((ROOT / name).read_text() for name in ("requirements.lock", "requirements-torch.lock"))
    locked = dict(re.findall(r"^([\w-]+)==([\w.]+)", locks, re.MULTILINE))
    page = (ROOT / "README.md").read_text()
    names, releases = re.search(
        r"^\| releases \| (.*) \|\n.*\n\| locked .*?\) \| (.*) \|$", page, re.MULTILINE
    ).groups()
    assert "torch" in names
    assert releases.split(" | ") == [locked[name] for name in names.split(" | ")]


def test_the_plugin_page_has_every_hook_with_its_signature():
    page = (ROOT / "docs" / "plugins.md").read_text()
    for name, function in vars(hookspecs).items():
        if name.startswith(("provide_", "run_", "step_")):
            signature = re.sub(r"'|typing\.|collections\.abc\.", "", str(inspect.signature(function)))
            assert f"{name}{signature}" in page


def test_the_tutorial_map_names_real_fields_with_their_defaults():
    rows = re.findall(
        r"^\| \w+ `[^|]*` \| `([\w.]+)` \| `([^`]+)` \|", (ROOT / "docs" / "tutorial-map.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 20
    for field, default in rows:
        value = RunSpec()
        for part in field.split("."):
            value = getattr(value, part)
        shown = (
            {True: "true", False: "false", None: "null"}.get(value, value)
            if not isinstance(value, int | float) or isinstance(value, bool)
            else value
        )
        assert str(shown) == default, field


API = "".join(
    page.read_text() for page in [ROOT / "docs" / "api.md", *sorted((ROOT / "docs" / "protocols").glob("*.md"))]
)


def test_the_api_has_every_public_name():
    for name in medtune.__all__:
        assert f"medtune.{name}" in API or name == "__version__", name
    assert dir(medtune) == sorted(medtune.__all__)


def test_the_api_has_every_protocol_and_every_value_of_the_contract_with_plugins():
    found = re.findall(r"^\.\. autoclass:: ([\w.]+)$", API, re.MULTILINE)
    listed = set(found)
    assert len(found) == len(listed)
    assert listed.isdisjoint({f"medtune.plugins.contracts.{name}" for name in medtune.__all__})
    for name in contracts.__all__:
        home = "medtune" if name in medtune.__all__ else "medtune.plugins.contracts"
        assert f"{home}.{name}" in listed, name
    assert set(plugins.__all__) == {*contracts.__all__, "hookimpl", "HOOK_VERSION"}
    assert all(getattr(plugins, name) is getattr(contracts, name) for name in contracts.__all__)


@pytest.fixture(scope="module")
def built_api_page(tmp_path_factory):
    """The pages of the API as a reader sees them, in one line."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("conf.py", "api.md"):
        shutil.copy(ROOT / "docs" / name, folder)
    shutil.copytree(ROOT / "docs" / "protocols", folder / "protocols")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-b",
        "text",
        "-D",
        "root_doc=api",
        str(folder),
        str(folder / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    pages = [page.read_text() for page in sorted((folder / "out").rglob("*.txt"))]
    text = re.sub(r"\s+", " ", "".join(pages).replace("*", ""))
    return re.sub(r"(?<=\() |,? (?=\))", "", text)


@pytest.mark.parametrize("method", [contracts.Quantizer.load, contracts.Adapter.attach, contracts.Trainer.fit])
def test_the_api_page_shows_what_protocols_take_and_return(built_api_page, method):
    taken = {name: kind.__name__ for name, kind in inspect.get_annotations(method).items()}
    returned = taken.pop("return")
    parameters = ", ".join(f"{name}: {kind}" for name, kind in taken.items())
    assert f"{method.__name__}({parameters}) -> {returned}" in built_api_page


def test_the_api_page_keeps_texts_with_colons_whole(built_api_page):
    assert "Training figures, and per task the metric, base, tuned and rows: the JSON of" in built_api_page
    assert "Run folder. Source: the tutorial. Default: \"'adjusted_model'\"." in built_api_page
    assert "Assistant turns that carry loss: the last one, or every one. Default: \"'last'\"." in built_api_page


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
WAYS = re.findall(r"^## (The way of \w+ \w+)\n(.*?)(?=^## |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("way", "text"), WAYS)
def test_a_way_through_the_house_leads_over_real_files_and_over_none_twice(way, text):
    steps = re.findall(r"^(\d+)\. `([\w/.]+)`: .+[.:;]$", text, re.MULTILINE)
    assert len(steps) == len(re.findall(r"^\d+\.", text, re.MULTILINE)) > 5, way
    assert [int(number) for number, _file in steps] == [*range(1, len(steps) + 1)]
    files = [file for _number, file in steps]
    assert len(set(files)) == len(files)
    assert [file for file in files if not (ROOT / "src" / "medtune" / file).is_file()] == []


def test_the_architecture_page_has_four_ways_every_room_and_the_order_of_the_layers():
    assert [way.split()[-1] for way, _text in WAYS] == ["row", "spec", "adapter", "plugin"]
    contracts_of_imports = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = contracts_of_imports[0]["layers"]
    assert "```text\n" + "\n".join(layers) + "\n```" in ARCHITECTURE
    rooms = re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE)
    assert rooms == [room for layer in layers for room in layer.split(" | ")]


def test_the_command_line_page_has_every_command_and_every_exit_code():
    page = (ROOT / "docs" / "cli.md").read_text()
    commands = {c.name or c.callback.__name__ for c in app.registered_commands} | {
        g.name for g in app.registered_groups
    }
    assert all(f"`medtune {name}" in page for name in commands)

    def codes(kind):
        return {kind.exit_code, *(code for child in kind.__subclasses__() for code in codes(child))}

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes(MedtuneError) - {1} <= listed


def test_every_test_that_the_security_page_names_is_there():
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 15
    assert [place for place in named if not (ROOT / place).exists()] == []
