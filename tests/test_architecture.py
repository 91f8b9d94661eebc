"""The house stays small: its parts, their arrows and their sizes are counted from the source."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "src" / "medtune"
MODULES = sorted(HOUSE.rglob("*.py"))
TOOLS = sorted((ROOT / "tools").rglob("*.py"))

MOST_UNITS = 22
MOST_ARROWS = 90
MOST_LOOSE = 6
MOST_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_LONG_FUNCTIONS = 6

BY_STRING = {
    ("__init__.py", "import_module('medtune.machine.network')"),  # only where the environment asks for locked mode
    ("__init__.py", "import_module(_HOMES[name])"),  # public names, imported on first use
    ("accel/train/__init__.py", "import_module(f'{__name__}.{_HOMES[name]}')"),  # names of this package, on first use
    ("backends/random_base.py", "import_module('bitsandbytes.nn')"),  # whose types are not those that it takes
    ("backends/trainer_internals.py", "import_module('bitsandbytes.nn')"),  # as above
    ("backends/trainer_internals.py", "import_module('bitsandbytes.optim.optimizer')"),  # as above
    (
        "cli/plugins.py",
        "import_module('medtune.testing.conformance')",
    ),  # the kit stands beside the command line, not below
    ("evaluation/harness.py", "import_module(f'lm_eval.{module}')"),  # an extra, with what it needs in turn
    ("machine/diagnosis.py", "import_module(name)"),  # the doctor tries what is installed
    ("machine/libraries.py", "__import__(_BITSANDBYTES)"),  # while its own downloads are kept from it
    (
        "machine/own_program.py",
        "runpy.run_path(program, run_name='__main__')",
    ),  # a file of medtune that imports no medtune
    ("plugins/carried_host.py", "import_module(it.name)"),  # a module that was passed as a plugin, in another process
    ("plugins/host.py", "import_module(dotted)"),  # medtune's own plugins, listed there
    (
        "plugins/single_file.py",
        "spec_from_file_location(name, file, loader=FromSource(name, str(file)))",
    ),  # a plugin that is one file
    ("testing/conformance/probe.py", "importlib.import_module(module)"),  # the plugin that is checked
    ("testing/conformance/subject.py", "importlib.import_module(module)"),  # the same
    ("testing/conformance/warming.py", "import_module(name)"),  # loads libraries before plugin code is watched
    ("testing/fault_server.py", "import_module(module_name)"),  # the victim that a laboratory was given
    (
        "testing/recorded_run.py",
        "import_module('medtune.workflow.audit.audit')",
    ),  # what a command does, without a model
    ("testing/recorded_run.py", "import_module('medtune.workflow.run_record')"),  # the same
    ("testing/tiny_run.py", "import_module(name)"),  # loads libraries before a fork
    ("testing/tuned_run.py", "import_module('medtune.workflow.training')"),  # the same
    ("testing/tuned_run.py", "import_module('mistral_common.tokens.tokenizers.tekken')"),  # the same
}
"""File and call of every import by a string, each with its reason."""
IMPORTERS = {"import_module", "__import__", "resolve_name", "run_module", "run_path", "spec_from_file_location"}


def unit(module: str) -> str:
    """Return the top-level part of the house that a dotted module lies in."""
    inside = module.split(".")[1:2]
    return inside[0] if inside and inside[0] in UNITS else "__init__"


def unit_of(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


@cache
def tree_of(file: Path) -> ast.Module:
    """Parse a file once; not while tests are collected, which every worker does."""
    return ast.parse(file.read_text())


def trees(files: list[Path]) -> list[tuple[Path, ast.Module]]:
    return [(file, tree_of(file)) for file in files]


UNITS = {unit_of(file) for file in MODULES}


def imported(file: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a file imports: for types only and inside functions as well."""
    package = ["medtune", *file.relative_to(HOUSE).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def arrows() -> set[tuple[str, str]]:
    return {
        (unit_of(file), unit(name))
        for file, tree in trees(MODULES)
        for name in imported(file, tree)
        if name.split(".")[0] == "medtune" and unit(name) != unit_of(file)
    }


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def name_of(file: Path) -> str:
    return file.relative_to(HOUSE if file.is_relative_to(HOUSE) else ROOT).as_posix()


def test_the_house_has_few_rooms():
    assert len(UNITS) <= MOST_UNITS, sorted(UNITS)


def test_few_modules_stand_loose():
    loose = {file.stem for file in HOUSE.glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= MOST_LOOSE, sorted(loose)


def test_few_arrows_lead_from_room_to_room():
    found = arrows()
    assert ("data", "specs") in found
    assert ("tuner", "data") in found  # for types only, and inside functions
    assert len(found) <= MOST_ARROWS, len(found)


def test_no_arrows_lead_in_a_circle():
    graph: dict[str, set[str]] = {}
    for start, end in arrows():
        graph.setdefault(start, set()).add(end)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_no_file_is_long():
    lines = {name_of(file): len(file.read_text().splitlines()) for file in [*MODULES, *TOOLS]}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_few_functions_are_long():
    long = [
        f"{name_of(file)}: {node.name}, {length}"
        for file, tree in trees([*MODULES, *TOOLS])
        for node in functions(tree)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_FUNCTION_LINES
    ]
    assert len(long) <= MOST_LONG_FUNCTIONS, "\n".join(long)


def imports_by_string(tree: ast.Module) -> Iterator[str]:
    """Yield the calls of functions that import what a string names, and such functions under another name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in IMPORTERS:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                f"{alias.name} as {alias.asname}" for alias in node.names if alias.name in IMPORTERS and alias.asname
            )


def test_every_import_by_a_string_is_listed_with_its_reason():
    found = {(name_of(file), call) for file, tree in trees(MODULES) for call in imports_by_string(tree)}
    assert found - BY_STRING == set(), "import it, or ask the plugins; where neither can be, list it with a reason"
    assert BY_STRING - found == set(), "these are gone; take them off the list"


def test_no_module_only_hands_on_what_another_one_has():
    def is_handing_on(node: ast.stmt) -> bool:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        return is_text or is_list or isinstance(node, ast.Import | ast.ImportFrom)

    for file, tree in trees(MODULES):
        if file.name != "__init__.py":
            assert not all(map(is_handing_on, tree.body)), f"{name_of(file)} holds nothing of its own"


def test_every_package_says_in_one_line_what_it_is_for():
    packages = [file for file in MODULES if file.name == "__init__.py" and file.parent != HOUSE]
    assert len(packages) > 15
    for file in packages:
        text = ast.get_docstring(tree_of(file)) or ""
        assert text.endswith("."), name_of(file)
        assert "\n" not in text, name_of(file)
    assert ast.get_docstring(tree_of(HOUSE / "__init__.py"))


def test_no_two_files_of_tests_have_one_name():
    """They are no packages, so that the second of two would be taken for the first, and its tests not run."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    assert len(files) > 100
    assert len({path.name for path in files}) == len(files), sorted(path.name for path in files)
