"""Writes a small package with one plugin, to begin a new one with: its tests pass."""

import re
from importlib.resources import files
from pathlib import Path

from medtune.errors import SpecError, StorageError, UnknownNameError

__all__ = ["KINDS_OF_PACKAGES", "write_package"]

KINDS_OF_PACKAGES = (
    "formatter", "task", "quantizer", "adapter", "trainer", "generator", "exporter", "bundle", "reader", "observer",
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX = "medtune-"

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
description = "{summary}"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["medtune"]

[project.entry-points.medtune]
{thing} = "{target}"

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]
"""

_README = """\
# {name}

{summary}

A {kind} for [medtune](https://medtune.readthedocs.io).

    pip install -e .
    medtune plugins list
    medtune plugins check {name}
    pytest

`pytest` and `medtune plugins check` try the same: whether the plugin keeps medtune's contract with plugins.
"""

_TEST = '''\
"""Whether the plugin keeps medtune's contract: a case for each check of the conformance kit."""

from medtune.testing.conformance import conformance_tests

test_conformance = conformance_tests("{name}")
'''


def write_package(name: str, kind: str, to: Path) -> Path:
    """Write a package that provides one thing, and return its folder.

    Args:
        name: of the distribution, such as "medtune-letters"; its folder, module and thing are named after it.
        kind: what it provides: formatter, task, quantizer, adapter, trainer, generator, exporter, bundle, reader or observer.
        to: folder in which the package's folder is made.

    Raises:
        UnknownNameError: no such kind.
        SpecError: the name cannot be one of a distribution.
        StorageError: there is something in its place already.
    """
    if kind not in KINDS_OF_PACKAGES:
        raise UnknownNameError("kind of plugin", kind, KINDS_OF_PACKAGES)
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"'{name}' cannot name a distribution here; use small letters, digits and '-', as medtune-letters"
        )
    folder, module, thing = to / name, name.replace("-", "_"), name.removeprefix(_PREFIX)
    if folder.exists():
        raise StorageError(f"'{folder}' exists already; choose another name or folder")
    template = files("medtune.testing.conformance").joinpath("templates", f"{kind}.txt")
    code = template.read_text("utf-8").replace("THING", thing)
    facts = {
        "name": name, "kind": kind, "module": module, "thing": thing, "summary": code.split('"""')[1],
        "target": f"{module}:plugin" if kind == "observer" else module,
    }  # fmt: skip
    contents = {
        "pyproject.toml": _PYPROJECT.format(**facts),
        "README.md": _README.format(**facts),
        f"src/{module}/__init__.py": code,
        "tests/test_conformance.py": _TEST.format(**facts),
    }
    for place, text in contents.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, "utf-8")
    return folder
