"""The ten example plugins: installed from their own pyproject, checked by the kit, and used together in a real run."""

import ast
import csv
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

import medtune
from medtune.testing.conformance import write_package
from medtune.testing.conformance.new_package import KINDS_OF_PACKAGES

EXAMPLES = Path(__file__).parents[2] / "examples"
TEN = {
    "formatter": "medtune-letters", "task": "medtune-doses", "quantizer": "medtune-grid", "adapter": "medtune-ia3",
    "trainer": "medtune-sgd", "generator": "medtune-one-by-one", "exporter": "medtune-npz", "bundle": "medtune-short-demo",
    "reader": "medtune-bars", "observer": "medtune-step-table",
}  # fmt: skip
PUBLIC = {
    "medtune", "medtune.errors", "medtune.plugins.contracts", "medtune.plugins.host", "medtune.data.formatters",
    "medtune.evaluation.statistics", "medtune.evaluation.tally",
}  # fmt: skip
"""Modules that the documents tell plugin authors to import from."""


def module_of(name):
    return EXAMPLES / name / "src" / name.replace("-", "_") / "__init__.py"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Interpreter of a fresh environment with the ten installed; the dependencies are those already here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    interpreter = folder / "bin" / "python"
    asked = [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    here = [str(Path(medtune.__file__).parents[1]), sysconfig.get_path("purelib")]
    (site / "dependencies.pth").write_text("\n".join(here) + "\n")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--target", str(site), *(str(EXAMPLES / name) for name in TEN.values()),
        ],
        check=True,
    )  # fmt: skip
    return interpreter


def call(python, *arguments, where=None):
    done = subprocess.run(
        [python, "-m", *map(str, arguments)], cwd=where, capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_there_is_an_example_of_every_kind_that_a_new_package_may_have():
    assert TEN.keys() == set(KINDS_OF_PACKAGES)


@pytest.mark.parametrize("kind", TEN)
def test_an_example_is_what_the_command_for_a_new_package_writes(kind, tmp_path):
    made = write_package(TEN[kind], kind, tmp_path)
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert len(files) == 4
    for file in files:
        assert (EXAMPLES / TEN[kind] / file).read_text() == (made / file).read_text(), file


@pytest.mark.parametrize("name", TEN.values())
def test_an_example_is_short_and_imports_public_names_only(name):
    text = module_of(name).read_text()
    assert len(text.splitlines()) <= 40
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for module in names:
            assert module in PUBLIC or not module.startswith("medtune"), module
        if isinstance(node, ast.ImportFrom) and node.module in PUBLIC:
            home = sys.modules.get(node.module) or __import__(node.module, fromlist=["_"])
            assert {alias.name for alias in node.names} <= set(home.__all__)


def test_the_installed_examples_are_listed_with_distribution_and_hooks(python):
    told = json.loads(call(python, "medtune", "plugins", "list", "--json"))
    found = {each["distribution"]: each for each in told["registered"]}
    assert found.keys() >= set(TEN.values())
    assert found["medtune-step-table"]["hooks"] == ["run_started", "step_logged"]
    for kind, name in TEN.items():
        if kind != "observer":
            assert name.removeprefix("medtune-") in told["plugins"][kind]


def test_the_tests_of_the_examples_pass_where_they_are_installed(python, tmp_path):
    tests = [EXAMPLES / name / "tests" for name in TEN.values()]
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", os.devnull, f"--rootdir={tmp_path}"]
    shown = call(python, "pytest", *options, *tests, where=tmp_path)
    assert "failed" not in shown
    assert int(shown.rsplit(" passed", 1)[0].split()[-1]) > 250


def test_the_examples_are_used_together_in_a_run(python, tmp_path):
    rows = [{"letter": f"Aspirin was given, {n} mg.", "summary": f"{n} mg", "source": "doses"} for n in range(1, 41)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "data.source": tmp_path / "rows.jsonl", "data.validation_fraction": 0.2,
        "data.formatter": "letters", "quant.backend": "grid", "quant.scheme": "none", "lora.backend": "ia3",
        "train.backend": "sgd", "train.max_steps": 4, "eval.backend": "one-by-one", "train.max_length": 128,
    }  # fmt: skip
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    sets += ["--set", "data.validation=null", "--set", 'tasks=[{source="doses", kind="free-text"}]']
    out = tmp_path / "run"
    result = json.loads(
        call(python, "medtune", "train", "--bundle", "short-demo", *sets, "--out", out, "--json", where=tmp_path)
    )
    assert result["state"] == "finished"
    assert result["steps"] == 4
    assert result["scores"]["doses"]["metric"] == "accuracy"
    with (out / "steps.csv").open() as steps:
        lines = list(csv.DictReader(steps))
    assert [line["step"] for line in lines] == ["1", "2", "3", "4"]
    assert json.loads((out / "adapter" / "adapter_config.json").read_text())["peft_type"] == "IA3"
    exported = json.loads(call(python, "medtune", "export", out, "--to", "npz", "--json", where=tmp_path))
    arrays = np.load(Path(exported["export"]) / "adapter.npz")
    assert len(arrays.files) == exported["facts"]["matrices"] > 0
