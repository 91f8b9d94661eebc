"""What type checkers make of medtune's surface, and where a path may stand in it."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import medtune
from medtune import MedTuner, RunSpec, StepRecord
from medtune.plugins.contracts import StepRecord as OfTheContract
from medtune.workflow.options import Overrides

HEAD = "from collections.abc import Mapping\nfrom pathlib import Path\nfrom typing import Any\nfrom medtune import *\n"
RIGHT = """
def old(record: Mapping[str, Any]) -> None: print(record["loss"])
def new(record: StepRecord) -> None: print(record["loss"] + 1)
tuner = MedTuner.from_defaults(lora=LoraSpec(r=3), data=[{"a": "b"}], model=Path("m"), output_dir=Path("o"), seed=3)
tuner.train(on_step=old)
run: Run = tuner.train("auto", new, quiet=True, cancel=None)
options: dict[str, Any] = {}
MedTuner.from_bundle("demo", **options)
"""
WRONG = {
    "loora": "MedTuner.from_defaults(loora=3)",
    "seed": 'MedTuner.from_bundle("demo", seed="three")',
    "cancle": "MedTuner.from_defaults().train(cancle=None)",
    "losss": "def told(record: StepRecord) -> None: print(record['losss'])",
    "rr": "LoraSpec(rr=3)",
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """What mypy says of each line: the right ones and the wrong ones in one file."""
    file = tmp_path_factory.mktemp("typed") / "snippet.py"
    lines = (HEAD + RIGHT).splitlines()
    file.write_text("\n".join([*lines, *WRONG.values()]) + "\n")
    root = Path(medtune.__file__).parents[2]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--config-file", str(root / "pyproject.toml")]
    done = subprocess.run([*command, str(file)], cwd=root, capture_output=True, text=True, check=False)
    found = [line.split(":", 2) for line in done.stdout.splitlines() if line.startswith(str(file)) and "error" in line]
    return len(lines), {int(number): text for _file, number, text in found}, done.stdout


def test_right_code_passes_type_checking(complaints):
    length, found, said = complaints
    assert [text for number, text in found.items() if number <= length] == [], said


@pytest.mark.parametrize("name", WRONG)
def test_a_misspelt_name_fails_type_checking(complaints, name):
    length, found, said = complaints
    assert name in found[length + 1 + [*WRONG].index(name)] or name == "seed", said


def test_overrides_are_the_parts_of_a_spec_with_what_else_a_tuner_takes():
    assert Overrides.__annotations__.keys() == RunSpec.model_fields.keys() | {"formatter", "plugins"}


def test_a_record_of_a_step_is_one_type():
    assert StepRecord is OfTheContract


PLACES = {"path", "out", "folder", "output_dir", "base", "adapter", "encoder", "resume", "model", "data"}


def parameters():
    """Yield every parameter of the public surface whose name says that it may be a path, with its type."""
    for name in medtune.__all__:
        thing = getattr(medtune, name)
        functions = {name: thing} if inspect.isfunction(thing) else {}
        if name in ("MedTuner", "Run"):
            functions = {
                f"{name}.{key}": getattr(value, "__func__", value)
                for key, value in vars(thing).items()
                if not key.startswith("_") and callable(getattr(value, "__func__", value))
            }
        for where, function in functions.items():
            plain = inspect.unwrap(function)
            for parameter in inspect.signature(plain).parameters.values():
                if parameter.name in PLACES:
                    yield f"{where}({parameter.name})", str(parameter.annotation)
    for key, kind in typing.get_type_hints(Overrides).items():
        if key in PLACES:
            yield f"override {key}", str(kind)


def test_a_path_may_stand_wherever_the_surface_takes_a_place():
    found = dict(parameters())
    assert {"Run.open(path)", "Run.export(out)", "Run.baseline(encoder)", "adopt(adapter)", "override data"} <= set(
        found
    )
    assert {where: kind for where, kind in found.items() if "Path" not in kind} == {}


def test_paths_given_to_a_tuner_become_text(tmp_path):
    tuner = MedTuner.from_defaults(
        data={"source": tmp_path / "a.jsonl", "validation": tmp_path / "b.jsonl"}, output_dir=tmp_path, model=tmp_path
    )
    spec = tuner.spec
    assert (spec.data.source, spec.data.validation) == (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    assert (spec.output_dir, spec.model.path) == (str(tmp_path), str(tmp_path))
