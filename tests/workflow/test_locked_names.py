"""What a locked run names elsewhere is refused by name, before anything is opened. One process tries all, since none is unlocked."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

HERE = ("--set", "model.path=HERE", "--set", "data.source=HERE/rows.jsonl")
COMMANDS = {
    "the default bundle": ["check"],
    "a repository": ["check", "--set", "model.name=org/base", *HERE[2:]],
    "a base behind a URL": ["check", "--set", "model.path=s3://canary-4711/base", *HERE[2:]],
    "a data set": ["plan", *HERE[:2], "--set", "data.source=org/rows"],
    "rows behind a URL": ["preview", *HERE[:2], "--set", "data.source=https://canary-4711.example/rows.jsonl"],
    "rows behind a chain of URLs": ["check", *HERE[:2], "--set", "data.source=zip://rows.csv::hf://org/rows.zip"],
    "another set of a mix": ["check", *HERE, "--set", 'data.mix=[{source="org/more"}]'],
    "validation rows": ["check", *HERE, "--set", "data.validation=https://host/rows.jsonl"],
    "a template": ["check", *HERE, "--set", "model.chat_template=https://host/template.jinja"],
    "a run folder": ["train", *HERE, "--out", "s3://bucket/run"],
    "a tracker's server": ["train", *HERE, "--set", 'train.report_to=["mlflow"]'],
    "an endpoint": ["chat", "--url", "https://host.example/v1", "-m", "hello"],
}

CHILD = """
    import io, json, sys
    from contextlib import redirect_stderr, redirect_stdout
    from medtune.cli.app import run

    opened = []
    sys.addaudithook(lambda event, args: opened.append(event) if event in {"socket.__new__", "socket.getaddrinfo"} else None)
    found = {}
    for name, arguments in json.loads(sys.argv[1]).items():
        opened.clear()
        told = io.StringIO()
        with redirect_stderr(told), redirect_stdout(io.StringIO()):
            code = run(arguments)
        found[name] = [code, told.getvalue(), list(opened)]
    print(json.dumps({"commands": found, "torch": "torch" in sys.modules}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    (folder / "rows.jsonl").write_text('{"instruction": "a", "input": "", "output": "b"}\n')
    commands = {name: [word.replace("HERE", str(folder)) for word in words] for name, words in COMMANDS.items()}
    spec = folder / "spec.toml"
    spec.write_text('locked = true\n[model]\nname = "org/base"\n[data]\nsource = "org/rows"\n')
    commands |= {"a locked spec": ["check", str(spec)], "a locked bundle": ["check", "--set", "locked=true"]}
    values = {**os.environ, "PYTHONPATH": str(SOURCE), "MLFLOW_TRACKING_URI": "https://user:canary-4711@host"}
    values.pop("MEDTUNE_LOCKED", None)
    first = {
        "a locked spec": commands.pop("a locked spec")
    }  # locks by what the spec says, and nothing unlocks after it
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), json.dumps({**first, **commands})],
        env=values, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_is_refused_with_what_to_set_instead(told):
    for name, (code, sentence, _opened) in told["commands"].items():
        assert code == 2, (name, sentence)
        assert "a locked run opens local paths only; " in sentence, name


def test_nothing_is_opened_before_and_no_heavy_library_is_loaded(told):
    assert {name: opened for name, (_code, _told, opened) in told["commands"].items() if opened} == {}
    assert not told["torch"]


def test_no_url_is_repeated_since_it_may_hold_a_password(told):
    assert "canary-4711" not in json.dumps(told)


def test_a_repository_is_named_with_its_field(told):
    commands = told["commands"]
    assert "model.name 'org/base' is a repository of the hub" in commands["a repository"][1]
    assert "data.mix.0.source 'org/more' is a data set of the hub" in commands["another set of a mix"][1]
    assert "MLFLOW_TRACKING_URI sends figures to another place" in commands["a tracker's server"][1]
