"""Small files that others wrote are read within bounds, and refused in words beyond them."""

import ast
import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import medtune
from medtune.specs.bounded import (
    BoundsError,
    bounded_bytes,
    bounded_text,
    json_file,
    json_value,
    toml_value,
    yaml_value,
)

SOURCE = Path(medtune.__file__).parent
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
BEYOND = {
    "a key twice": (json_value, '{"a": {"b": 1, "c": 2, "b": 3}}', "has the key 'b' twice"),
    "nested like a bomb": (json_value, "[" * 200_000, "nested deeper than 64"),
    "nested and whole": (json_value, "[" * 65 + "]" * 65, "nested deeper than 64"),
    "not a number": (json_value, "[NaN]", "NaN, which is not finite"),
    "an infinite number": (json_value, "[1e999]", "1e999, which is not finite"),
    "a number of pages": (json_value, "[" + "9" * 4000 + "]", "more than 300 digits"),
    "half a character": (json_value, r'{"a": ["\ud800"]}', "lone surrogate"),
    "a NUL": (json_value, r'{"a\u0000": 1}', "NUL"),
    "TOML: infinite": (toml_value, "a = inf", "not finite"),
    "TOML: nested": (toml_value, "a = " + "[" * 100_000, "nested deeper"),
    "TOML: a key of a thousand parts": (toml_value, "[" + ".".join("a" * 100_000) + "]", "nested deeper"),
    "TOML: NUL": (toml_value, r'a = "\u0000"', "NUL"),
    "YAML: a key twice": (yaml_value, "train:\n  seed: 1\n  seed: 2\n", "has the key 'seed' twice"),
    "YAML: nested": (yaml_value, "{a: " * 100_000, "nested deeper"),
    "YAML: nested in lines": (yaml_value, "- " * 100_000, "nested deeper"),
    "YAML: billions of aliases": (yaml_value, BOMB, "stands for more than 100,000 values"),
    "YAML: an alias of itself": (yaml_value, "a: &a [*a]", "alias 'a' for what is not whole"),
    "YAML: infinite": (yaml_value, "a: -.inf", "not finite"),
    "YAML: a number to the base of 60": (yaml_value, "a: " + "1:" * 100_000 + "1", "colons"),
    "YAML: NUL": (yaml_value, r'a: "\0"', "NUL"),
}


@pytest.mark.parametrize("kind", BEYOND)
def test_what_is_beyond_a_bound_is_refused_in_words_and_at_once(kind):
    read, text, reason = BEYOND[kind]
    began = time.process_time()
    with pytest.raises(BoundsError, match=reason):
        read(text)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system [id]", "a: !!python/name:os.system ''", "a: [", "? [1]\n: 2"]
)
def test_yaml_makes_plain_values_only(text):
    with pytest.raises(ValueError, match=r"line [12]"):
        yaml_value(text)


def test_yaml_may_use_an_alias_and_lay_one_mapping_over_another():
    assert yaml_value("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3") == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**200), 10**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner)
    ),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_what_json_writes_is_read_as_it_was(value, ascii_only):
    assert json_value(json.dumps(value, ensure_ascii=ascii_only)) == value


def test_configurations_of_models_may_hold_infinite_numbers():
    assert json_value('{"time_step_limit": [0.0, Infinity]}', finite=False)["time_step_limit"][1] == float("inf")


def test_what_is_no_regular_file_is_refused_before_anybody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "device", "folder"):
        with pytest.raises((BoundsError, IsADirectoryError)):
            bounded_bytes(tmp_path / name)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="symbolic links"):
        bounded_bytes(tmp_path / "loop")


def test_a_large_file_is_refused_and_a_mark_before_the_text_is_none_of_it(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**32)  # sparse
    with pytest.raises(BoundsError, match="larger than 64 MiB"):
        json_file(tmp_path / "large")
    (tmp_path / "small").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert json_file(tmp_path / "small") == {"a": 1}
    (tmp_path / "other").write_bytes("{}".encode("utf-16"))
    with pytest.raises(BoundsError, match="is not UTF-8 text"):
        bounded_text(tmp_path / "other")


UNBOUNDED = {
    "bundles/__init__.py",  # medtune's own
    "evaluation/packs/recipes.py",  # medtune's own
    "export/smoke.py",  # a program for whoever serves an export, without medtune
    "export/llama_cpp/ask_tokens.py",  # a program that imports no medtune, on a file that its parent wrote
    "export/llama_cpp/server.py",  # answers of the server that it started itself
    "export/llama_cpp/splitting.py",  # what its own child wrote
    "machine/gpus.py",  # medtune's own
    "serving/client.py",  # answers of the server that the user named
    "workflow/exporting/reload.py",  # what its own child wrote
    "workflow/exporting/readers/by_llama_cpp.py",  # a program, as above
    "workflow/exporting/readers/by_transformers.py",  # a program, as above
    "data/outside/child.py",  # a program under limits of its own
}


def test_every_file_of_settings_is_read_within_bounds():
    readers = {"json.load", "json.loads", "tomllib.load", "tomllib.loads", "yaml.safe_load", "yaml.load"}
    found = {
        name
        for file in SOURCE.rglob("*.py")
        if (name := file.relative_to(SOURCE).as_posix()).partition("/")[0] != "testing"
        if re.search(r"(json|tomllib|yaml)\.\w*load", file.read_text())
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in readers and "read" in ast.unparse(node)
    }
    assert found <= UNBOUNDED | {"specs/bounded.py"}, found - UNBOUNDED


@pytest.mark.parametrize("value", ["A" * 900_000, "a-" * 400_000, "a b " * 200_000, "A." * 30 + "A" * 900_000])
def test_a_long_text_in_toml_is_read_in_the_time_of_its_length(value):
    began = time.process_time()
    assert toml_value(f'a = "{value}"') == {"a": value}
    assert time.process_time() - began < 5
