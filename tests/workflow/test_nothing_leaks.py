"""Secrets of environment, spec and exceptions are in no file and no stream of a run, and a row's text only where the documents say.

The documents: docs/privacy.md. ``WITH_ROWS`` is its list.
"""

import json
import re
from pathlib import Path

import pytest

from medtune.cli.app import run

WITH_ROWS = ("predictions-*.jsonl", "facts.json", "rows.jsonl")
"""Files that hold text of rows: answers, validation rows of a prepared set, and the user's own."""

ROW = "Quillfeather-4711"
SECRETS = {
    "hub": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "cloud": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE1",
    "ward": "correct4horse",
    "option": "0pti0n",
    "url": "Pa55wordOfAUrl",
    "signature": "5ignatureOfAUrl",
    "exception": "eXc3ptional99",
}
PLUGIN = """
import logging, os, pathlib, sys
from pydantic import BaseModel
from medtune import hookimpl
from medtune.backends.peft import PeftAdapter

class Options(BaseModel, extra="forbid"):
    api_key: str
    endpoint: str

class Remote(PeftAdapter):
    name, options = "remote", Options

    def check(self, spec, scheme, device=None):
        PeftAdapter.check(self, spec.model_copy_with(options={{}}), scheme, device)

    def attach(self, loaded, spec):
        with pathlib.Path(__file__).with_name("seen.txt").open("a") as seen:
            print(spec.options["api_key"], file=seen)
        log = logging.getLogger("medtune.remote")
        log.warning("asking %s with token=%s", spec.options["endpoint"], os.environ["WARD_PASSWORD"])
        print("Authorization: Bearer {exception}", file=sys.stderr)
        return PeftAdapter.attach(self, loaded, spec.model_copy_with(options={{}}))

@hookimpl
def provide_adapters():
    return [Remote()]

@hookimpl
def run_started(spec):
    raise ValueError(f"password={exception} of https://u:{url}@h for {row}")

@hookimpl
def step_logged(record):
    raise ValueError("{row}")
"""
SPEC = """
[quant]
scheme = "none"
[lora]
backend = "remote"
options = {{ api_key = "{option}", endpoint = "https://ward:{url}@host.example/v1?sig={signature}" }}
[train]
max_length = 192
max_steps = 2
logging_steps = 1
report_to = ["tensorboard"]
[eval]
rows_per_source = 4
max_new_tokens = 4
[data]
source = {rows}
validation_fraction = 0.25
max_quarantined = 0.2
[model]
path = {base}
"""


@pytest.fixture
def place(base, tmp_path, monkeypatch):
    """A folder with spec, rows and plugin; secrets in the environment, and all that a run writes below ``tmp_path``."""
    for name, secret in (("HF_TOKEN", "hub"), ("AWS_SECRET_ACCESS_KEY", "cloud"), ("WARD_PASSWORD", "ward")):
        monkeypatch.setenv(name, SECRETS[secret])
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "written" / "cache"))
    row = {"instruction": "Relation?", "source": "MedNLI", "output": "Neutral"}
    text = "Sentence 1: {} {} has fever.\nSentence 2: {} is ill."
    rows = [{**row, "input": text.format(ROW, n, n)} for n in range(16)] + [{**row, "input": ROW, "output": None}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    (tmp_path / "remote.py").write_text(PLUGIN.format(**SECRETS, row=ROW))
    facts = {"rows": json.dumps(str(tmp_path / "rows.jsonl")), "base": json.dumps(str(base))}
    (tmp_path / "run.toml").write_text(SPEC.format(**SECRETS, **facts))
    return tmp_path


def found_in(content: bytes, *more: str) -> list[str]:
    return [name for name, secret in SECRETS.items() if secret.encode() in content] + [
        text for text in more if text.encode() in content
    ]


def hits(folder: Path) -> list[tuple[str, list[str]]]:
    """Return (file, what of it must not be there) for every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    allowed = [path for path in files if any(map(path.match, WITH_ROWS))]
    assert any(ROW.encode() in path.read_bytes() for path in allowed)  # else the search finds nothing anywhere
    searched = [(path, () if path in allowed else (ROW,)) for path in files]
    return [(path.name, found) for path, more in searched if (found := found_in(path.read_bytes(), *more))]


def test_neither_secrets_nor_rows_leak_from_a_run(place, capfd):
    out, plugin = str(place / "written" / "run"), ["--plugin", str(place / "remote.py")]
    train = ["train", str(place / "run.toml"), "--out", out, *plugin, "--json", "--traceback"]
    codes = {
        "plan": run(["plan", str(place / "run.toml"), *plugin]),
        "train": run(train),
        "again": run(train),  # the recorded spec has stars where this one has credentials
        "verify": run(["verify", out, "--json"]),
        "report": run(["report", out, "--json"]),
        "evaluate": run(["evaluate", out, *plugin, "--json"]),
        "doctor": run(["doctor", "--json"]),
        "cache": run(["cache", "list", "--json"]),
    }
    streams = capfd.readouterr()
    assert codes == dict.fromkeys(codes, 0), streams.err
    assert "asking https://***@host.example/v1?sig=*** with token=***" in streams.err
    assert "Authorization: ***" in streams.err
    # the backend gets what the user gave, and of a run that is opened again what is recorded
    assert (place / "seen.txt").read_text().split() == [SECRETS["option"], "***"]
    record = json.loads((place / "written" / "run" / "run.json").read_text())
    assert record["spec"]["lora"]["options"] == {
        "api_key": "***",
        "endpoint": "https://***@host.example/v1?sig=***",
    }
    assert found_in((streams.out + streams.err).encode(), ROW) == []
    assert hits(place / "written") == []
    assert (place / "written" / "run" / "tensorboard").is_dir()


FAILURES = {
    "a source": ["check", "--set", "data.source=https://ward:{url}@host/rows?sig={signature}"],
    "a base": ["plan", "--set", "model.name={hub}/base"],
    "a folder that is no run": ["verify", "https://ward:{url}@host/run"],
    "a spec that is none": ["train", "s3://AKIAIOSFODNN7EXAMPLE:{url}@bucket/run.toml?token={signature}"],
    "a file to score": ["score", "https://host/rows?access_token={signature}"],
    "a file to import": ["import", "https://ward:{url}@host/rows.conll", "--to", "rows.jsonl"],
    "a key": ["cache", "remove", "{hub}"],
    "an option that there is none of": ["doctor", "--token={cloud}"],
    "a value of the wrong type": ["check", "--set", "lora.r={ward}"],
    "a field that there is none of": ["check", "--set", "lora.{cloud}=1"],
    "a plugin": ["plan", "--plugin", "https://ward:{url}@host/plugin.py"],
}


@pytest.mark.parametrize("arguments", FAILURES.values(), ids=FAILURES)
def test_an_error_masks_what_it_was_given_even_with_its_traceback(arguments, place, capfd):
    given = [argument.format(**SECRETS) for argument in arguments]
    assert run([*given, "--json", "--traceback"]) not in (0, 1)
    streams = capfd.readouterr()
    assert re.search(r"Traceback", streams.err)
    assert json.loads(streams.out)["error"]["message"]
    assert found_in((streams.out + streams.err).encode()) == []


def test_an_unexpected_error_is_masked_with_its_traceback(place, capfd, monkeypatch):
    def fail(*_args):
        raise RuntimeError(f"cannot reach https://ward:{SECRETS['url']}@host with {SECRETS['ward']}")

    monkeypatch.setattr("medtune.machine.diagnosis.diagnose", fail)
    assert run(["doctor", "--json", "--traceback"]) == 1
    streams = capfd.readouterr()
    assert "whose text is withheld" in streams.out
    assert "cannot reach https://***@host with ***" in streams.err
    assert "in fail" in streams.err
    assert found_in((streams.out + streams.err).encode()) == []
