"""With --json stdout holds one JSON object, whatever a plugin prints, and however."""

import json
import os
import subprocess
import sys

import pytest

from medtune.cli.app import run
from medtune.cli.console import print_json
from medtune.cli.result_stream import ResultStream

NOISY = """
import atexit, os, subprocess, sys

from medtune import Example, hookimpl

def shout(where):
    print("print", where)
    sys.stdout.write("write " + where)
    sys.__stdout__.write("original " + where)
    os.write(1, b"descriptor " + where.encode() + b"\\n")
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)

shout("import")
atexit.register(shout, "exit")

class Noisy:
    name = "noisy"
    version = "1"

    def format(self, row):
        print("format", row["q"])
        os.write(1, b"descriptor")
        turns = [{"role": "user", "content": row["q"]}, {"role": "assistant", "content": row["a"]}]
        return Example(turns)

@hookimpl
def provide_formatters():
    shout("hook")
    return [Noisy()]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the environment of a process in which a plugin is installed that prints everywhere."""
    place = tmp_path_factory.mktemp("site")
    (place / "noisy_plugin.py").write_text(NOISY)
    facts = place / "noisy-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[medtune]\nnoisy = noisy_plugin\n")
    rows = "".join(json.dumps({"q": f"Question {n} ?", "a": f"Answer {n} ."}) + "\n" for n in range(30))
    (place / "rows.jsonl").write_text(rows)
    paths = os.pathsep.join([str(place), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths, "MEDTUNE_DISABLE_PLUGIN_AUTOLOAD": ""}
    return environment, place


def called(installed, *arguments):
    command = [sys.executable, "-m", "medtune", *arguments]
    return subprocess.run(command, env=installed[0], capture_output=True, text=True, check=False)


def test_a_list_of_plugins_is_one_object_though_each_plugin_prints(installed):
    found = called(installed, "plugins", "list", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["plugins"]["formatter"]["noisy"] == "noisy"
    assert found.stdout.count("\n") == 1
    for where in ("import", "hook", "exit"):
        for way in ("print", "write", "original", "descriptor"):
            assert f"{way} {where}" in found.stderr
    assert "child" in found.stderr


def test_a_preview_is_one_object_though_its_formatter_prints(installed):
    rows = f"data.source={json.dumps(str(installed[1] / 'rows.jsonl'))}"
    settings = ["--set", rows, "--set", "data.formatter=noisy", "--set", "data.split=train"]
    found = called(installed, "preview", "--bundle", "demo", "-n", "2", "--json", *settings)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["rows"]) == 2
    assert "format Question" in found.stderr


def test_a_failure_is_one_object_too(installed):
    found = called(installed, "check", "--set", "quant.backend=none_such", "--json")
    assert found.returncode == 2
    assert json.loads(found.stdout)["error"]["type"] == "UnknownNameError"


def test_without_json_what_plugins_print_stays_where_it_is_printed(installed):
    found = called(installed, "plugins", "list")
    assert "print hook" in found.stdout


def test_stdout_is_given_back_after_a_command_in_python(capfd):
    assert run(["check", "--bundle", "demo", "--json"]) == 0
    json.loads(capfd.readouterr().out)
    print("after")
    os.write(1, b"descriptor\n")
    assert capfd.readouterr().out == "after\ndescriptor\n"


def test_help_is_a_result(capsys):
    assert run(["check", "--json", "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_results_go_to_the_stream_that_was_there_before_prints_were_led_away(capsys):
    with ResultStream():
        print("stray")
        print_json({"a": 1})
    assert tuple(capsys.readouterr()) == ('{"a": 1}\n', "stray\n")


def test_where_stdout_is_closed_a_command_with_a_result_ends_before_it_begins():
    command = f"exec {sys.executable} -m medtune plugins list --json >&-"
    done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 6
    assert done.stderr == (
        "medtune: stdout is closed, and --json writes its result there; lead it to a file, or do without --json\n"
    )
