"""Errors pass from process to process whole, and their copies are their own."""

import copy
import inspect
import multiprocessing
import pickle
import typing
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

import medtune
from medtune.errors import DiskFullError, MedtuneError, Mistake, RunInterruptedError, UnknownKey, UnknownNameError
from medtune.runs.signals import StopNow

HOUSE = Path(medtune.__file__).parent
WAYS = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301
    "first protocol": lambda error: pickle.loads(pickle.dumps(error, 0)),  # noqa: S301
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def all_errors():
    """Return every class of the tree, wherever in medtune it stands."""
    for file in HOUSE.rglob("*.py"):
        if "Error):" in file.read_text() and file.name != "__init__.py":
            import_module(".".join(["medtune", *file.relative_to(HOUSE).with_suffix("").parts]))
    found, left = [], [MedtuneError]
    while left:
        kind = left.pop()
        found.append(kind)
        left += kind.__subclasses__()
    return sorted(
        (kind for kind in found if kind.__module__.startswith("medtune.")), key=lambda kind: kind.__qualname__
    )


FACTS = {
    str: "fact",
    int: 7,
    int | None: 7,
    str | None: "fact",
    Sequence[str]: ["a", "b"],
    Iterable[str]: ["a", "b"],
    tuple[str, str]: ("1", "2"),
    Mapping[str, str]: {"a": "b"},
    Sequence[Mistake]: [Mistake(("lora", "r"), False, "must be at least 1")],
    Sequence[UnknownKey]: [UnknownKey("lora.rank", "run.toml, line 2", ("r",), "it is lora.r here")],
}


def made(kind):
    if kind.__init__ is MedtuneError.__init__:
        return kind("a sentence")
    hints = typing.get_type_hints(kind.__init__)
    names = [name for name in inspect.signature(kind).parameters if name in hints]
    return kind(**{name: FACTS.get(hints[name], "fact") for name in names}) if names else kind("a sentence")


def assert_same(error, other):
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert other.args == error.args
    assert vars(other) == vars(error)
    assert other.exit_code == error.exit_code
    assert other.__notes__ == ["a note"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__qualname__)
def test_every_error_is_copied_whole(kind, way):
    error = made(kind)
    error.add_note("a note")
    assert_same(error, WAYS[way](error))


def test_the_tree_is_found_whole():
    kinds = all_errors()
    assert len(kinds) >= 31  # 29 in medtune.errors, 2 where they are raised
    with_facts = [kind for kind in kinds if kind.__init__ is not MedtuneError.__init__]
    assert all(vars(made(kind)) for kind in with_facts)


class OwnError(MedtuneError):
    """A plugin's, which takes its facts by name only."""

    exit_code = 3

    def __init__(self, *, ward: str, bed: int = 1) -> None:
        self.ward, self.bed = ward, bed
        super().__init__(f"no bed {bed} in ward '{ward}'")


@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_a_plugin_that_takes_facts_by_name_is_copied_whole(way):
    error = OwnError(ward="A", bed=4)
    error.add_note("a note")
    assert_same(error, WAYS[way](error))


def test_a_note_on_a_copy_is_none_on_the_first():
    error = DiskFullError("run", 10, 5)
    error.add_note("first")
    copy.copy(error).add_note("second")
    assert error.__notes__ == ["first"]


def test_the_exit_code_of_a_run_stopped_by_ctrl_c_is_kept():
    error = RunInterruptedError("run", 3, "SIGINT")
    assert pickle.loads(pickle.dumps(error)).exit_code == 130  # noqa: S301


def test_the_wish_to_stop_is_copied_too():
    assert pickle.loads(pickle.dumps(StopNow("SIGTERM"))).reason == "SIGTERM"  # noqa: S301


def failing(number):
    error = UnknownNameError("task", f"task-{number}", ["ner", "qa"])
    error.add_note(f"note {number}")
    raise error


def test_eight_processes_hand_back_errors_with_their_facts():
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("fork")) as pool:
        found = [future.exception() for future in [pool.submit(failing, number) for number in range(24)]]
    for number, error in enumerate(found):
        assert type(error) is UnknownNameError
        assert (error.kind, error.name, error.registered) == ("task", f"task-{number}", ["ner", "qa"])
        assert (error.exit_code, error.__notes__) == (2, [f"note {number}"])
        assert str(error) == f"no task named 'task-{number}'; registered: 'ner', 'qa'"
