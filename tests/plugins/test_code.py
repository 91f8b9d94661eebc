"""The code of a plugin is told by its files, by what runs, and by what its objects hold."""

import importlib
import re
import subprocess
import sys
import threading
from functools import partial

import pytest

from medtune.data.formatters import formatter
from medtune.plugins import code
from medtune.plugins.code import behaviour_hash, code_hash

CLASS = "class Thing:\n    def __init__(self, words=()): self.words = words\n    def act(self): return {answer}\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a module and return it as it is imported anew."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text, name="written_module"):
        for known in [known for known in sys.modules if known.split(".")[0] == name.split(".")[0]]:
            del sys.modules[known]
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return importlib.import_module(name)
        finally:
            sys.dont_write_bytecode = before

    return write


def test_the_same_code_has_the_same_hash_and_other_code_another(written):
    first = written(CLASS.format(answer=1))
    hashes = code_hash([first]), code_hash([first.Thing()]), behaviour_hash(first.Thing())
    again = written(CLASS.format(answer=1))
    assert hashes == (code_hash([again]), code_hash([again.Thing()]), behaviour_hash(again.Thing()))
    other = written(CLASS.format(answer=2))
    for one, two in zip(
        hashes, (code_hash([other]), code_hash([other.Thing()]), behaviour_hash(other.Thing())), strict=True
    ):
        assert one != two


def test_a_package_is_told_by_all_of_its_files(written, tmp_path):
    written("", "pack.__init__")
    inner = written(CLASS.format(answer=1), "pack.inner")
    before = code_hash([inner.Thing()])
    (tmp_path / "pack" / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "pack" / "__pycache__" / "help.cpython-311.pyc").write_bytes(b"a")
    assert code_hash([inner.Thing()]) == before
    for name in ("help.py", "compiled.pyc", "native.so"):
        before = code_hash([inner.Thing()])
        (tmp_path / "pack" / name).write_text("a = 1")
        assert code_hash([inner.Thing()]) != before


def test_code_that_was_loaded_before_its_file_was_edited_is_told_from_the_edited_one(written, tmp_path):
    old = written(CLASS.format(answer=1))
    (tmp_path / "written_module.py").write_text(CLASS.format(answer=2))
    behind = behaviour_hash(old.Thing())
    assert behind != behaviour_hash(written(CLASS.format(answer=2)).Thing())


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("a", "b"),
        ([1], [2]),
        ({"a": 1}, {"a": 2}),
        ({1}, {2}),
        (re.compile("a"), re.compile("b")),
        (len, max),
        (lambda: 1, lambda: 2),
        (partial(int, base=2), partial(int, base=3)),
    ],
)
def test_what_an_object_holds_tells_it_from_another_of_its_class(written, one, two):
    thing = written(CLASS.format(answer=1)).Thing
    assert behaviour_hash(thing(one)) == behaviour_hash(thing(one)) is not None
    assert behaviour_hash(thing(one)) != behaviour_hash(thing(two))
    assert code_hash([thing(one)]) is not None


def test_a_closure_is_told_by_what_it_closes_over():
    def closing(word):
        return lambda: word

    assert behaviour_hash(closing("a")) != behaviour_hash(closing("b"))


@pytest.mark.parametrize("held", [threading.Lock(), iter([1]), object.__new__(threading.Thread)])
def test_what_does_not_show_its_values_has_no_hash(written, held):
    assert behaviour_hash(written(CLASS.format(answer=1)).Thing(held)) is None


def test_an_array_does_not_pass_for_another():
    numpy = pytest.importorskip("numpy")
    assert behaviour_hash(numpy.zeros(2)) is None


def test_a_function_made_a_formatter_is_told_by_its_own_code():
    one, two = (formatter("notes", version="1")(function) for function in (lambda row: row, lambda row: row["a"]))
    assert behaviour_hash(one) != behaviour_hash(two)
    assert behaviour_hash(one) is not None


def test_code_without_a_file_or_source_has_no_hash():
    program = (
        "from medtune.plugins.code import behaviour_hash, code_hash\nclass A:\n    def f(self): return 1\n"
        "print(behaviour_hash(A()), code_hash([A()]), behaviour_hash(lambda: 1))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None"] * 3


def test_a_library_that_medtune_requires_counts_by_its_version_and_a_plugin_s_package_is_read_once(
    written, monkeypatch
):
    module = written("import torch\nclass Plugin:\n    def __init__(self): self.kind = torch.nn.Linear\n")
    read = []
    monkeypatch.setattr(code, "_files", lambda place: read.append(place) or {place.name: "read"})
    assert code_hash([module.Plugin(), module.Plugin, module])
    assert [place.name for place in read] == [module.__name__ + ".py"]


@pytest.mark.parametrize(
    "way", ["import written_helper", "from written_helper import WORD", "def late():\n    import written_helper"]
)
def test_a_module_beside_a_file_is_of_its_code_and_so_is_what_that_imports(written, way):
    def hashes(word, further):
        written(f"WORD = {further!r}", "written_further")
        written(f"import written_further, json, numpy\nWORD = {word!r}", "written_helper")
        found = written(f"{way}\n{CLASS.format(answer=1)}")
        return code_hash([found.Thing()]), behaviour_hash(found.Thing())

    one = hashes("a", "b")
    assert None not in one
    assert hashes("a", "b") == one
    for other in (hashes("c", "b"), hashes("a", "c")):
        assert other[0] != one[0]
        assert other[1] != one[1]


def test_an_installed_library_and_python_itself_are_not_read_for_a_file_that_imports_them(written):
    found = written(f"import json, numpy, pytest\nfrom medtune import Example\n{CLASS.format(answer=1)}")
    seen = code._Seen()
    seen.describe(found.Thing())
    assert [*seen.sources] == ["written_module.py"]
