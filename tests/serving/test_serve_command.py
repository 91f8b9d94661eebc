"""The command: token, logs, signals, death and restart, and the chat that talks to it."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from serve_process import started
from serving_client import TOKEN, Client

from medtune.cli.app import run as run_command
from medtune.runs.folder import RunFolder
from medtune.serving.client import Client as ChatClient

PROMPT = "patient Zyxwv has fever"
SHOUTING = """
from medtune.plugins import Completion, hookimpl

class Shouting:
    name = "shouting"

    def generate(self, loaded, requests, spec):
        ids = loaded.tokenizer("FEVER", add_special_tokens=False)["input_ids"]
        return [Completion(ids[: each.max_new_tokens], "FEVER", each.max_new_tokens < len(ids)) for each in requests]

@hookimpl
def provide_generators():
    return [Shouting()]
"""
ASKED = [{"role": "user", "content": PROMPT}]


def test_it_tells_a_random_token_once_logs_no_text_and_starts_again_after_a_kill(runs):
    with started(runs["alpha"], token=None) as (process, url):
        token = (process.stderr.readline() + process.stderr.readline()).split("token for this time: ")[1].strip()
        assert len(token) > 40
        client = Client(url, token)
        answer = client.text(ASKED, max_tokens=12)
        assert client.send("/v1/chat/completions", {"model": PROMPT, "messages": ASKED})[0] == 404
        assert client.send("/v1/chat/completions", {"model": "alpha", "messages": ASKED, PROMPT: 1})[0] == 400
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
        log = process.stdout.read() + process.stderr.read()
    assert "Zyxwv" not in log
    assert token not in log
    assert run_command(["verify", str(runs["alpha"])]) == 0
    with started(runs["alpha"], "--slots", "2", "--max-tokens", "2048") as (process, url):
        assert Client(url).text(ASKED, max_tokens=12) == answer
        stopped_while_answering(process, Client(url))


def stopped_while_answering(process, client):
    """Told to stop, a server ends what it answers, refuses what is new, and is gone."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(client.ask(ASKED, max_tokens=900))) for _ in range(2)]
    for thread in threads:
        thread.start()
    while "medtune_requests_running 2" not in client.send("/metrics")[1]:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    refused = []
    while not refused and any(thread.is_alive() for thread in threads):
        status, body = client.send("/v1/chat/completions", {"model": "alpha", "messages": ASKED})
        if status == 503:
            refused.append(body["error"]["code"])
    for thread in threads:
        thread.join(60)
    assert process.wait(20) == 0
    assert [each["choices"][0]["finish_reason"] for each in found] == ["length", "length"]
    assert refused == ["stopping"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "no run"),
        (["{alpha}", "{alpha}"], "two runs are named"),
        (["base={alpha}"], "taken"),
        (["a b={alpha}"], "is named by"),
        (["{alpha}", "--host", "203.0.113.7"], "cannot be listened on"),
        (["{alpha}", "--token-file", "{short}"], "16 letters"),
        (["{alpha}", "--token-file", "nowhere"], "cannot be read"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_sentence(runs, tmp_path, capsys, arguments, sentence):
    short = tmp_path / "short"
    short.write_text("short")
    given = [argument.format(alpha=runs["alpha"], short=short) for argument in arguments]
    assert run_command(["serve", *given, *([] if "--host" in given else ["--port", "0"])]) in (2, 6)
    assert sentence in capsys.readouterr().err


def test_a_run_on_another_base_is_refused_beside_it(runs, tmp_path, capsys):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(runs["beta"], other)
    record = RunFolder(other).read()
    record["plan"]["scheme"], record["spec"]["quant"]["scheme"] = "nf4", "nf4"
    RunFolder(other).update(plan=record["plan"], spec=record["spec"])
    assert run_command(["serve", str(runs["alpha"]), str(other), "--port", "0"]) == 2
    assert "another storage of the base" in capsys.readouterr().err


def test_chat_talks_to_it(client, monkeypatch, capsys, tmp_path):
    expected = client.text(ASKED, "beta")
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(stat.S_IRUSR)
    arguments = ["chat", "--url", client.url, "--model", "beta", "--token-file", str(file), "-m", PROMPT]
    assert run_command(arguments) == 0
    assert capsys.readouterr().out.rstrip("\n") == expected
    monkeypatch.setenv("MEDTUNE_SERVE_TOKEN", TOKEN)
    assert run_command(["chat", "--url", client.url.removesuffix("/v1"), "--json", "-m", PROMPT]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == client.text(ASKED, "alpha")


def test_chat_says_why_it_cannot_talk(client, runs, monkeypatch, capsys):
    monkeypatch.setenv("MEDTUNE_SERVE_TOKEN", "wrong-token-wrong-token")
    assert run_command(["chat", "--url", client.url, "-m", "x"]) == 6
    assert "401: the token is missing or wrong" in capsys.readouterr().err
    assert run_command(["chat", "--url", "http://127.0.0.1:9", "-m", "x"]) == 6
    assert "cannot be reached" in capsys.readouterr().err
    assert run_command(["chat", "--url", "file:///etc/passwd", "-m", "x"]) == 2
    assert run_command(["chat", str(runs["alpha"]), "--url", client.url]) == 2
    assert run_command(["chat"]) == 2
    assert run_command(["chat", str(runs["alpha"]), "--model", "beta"]) == 2


def test_a_conversation_line_by_line_keeps_its_turns(client):
    import io

    sink = io.StringIO()
    ChatClient(client.url, TOKEN, "alpha").chat(io.StringIO("one\n\ntwo\n"), sink)
    first = client.text([{"role": "user", "content": "one"}])
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": first}]
    second = client.text([*turns, {"role": "user", "content": "two"}])
    assert sink.getvalue() == f"> {first}\n> > {second}\n> "


def test_a_run_that_was_made_locked_is_served_locked(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create({"locked": True}, {}, {})
    command = [sys.executable, "-m", "medtune", "serve", str(folder.path), "--host", "0.0.0.0"]  # noqa: S104 - refused
    environment = {name: value for name, value in os.environ.items() if name != "MEDTUNE_LOCKED"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 2
    assert "a locked run" in done.stderr


def test_a_run_that_answers_by_a_plugins_file_is_served_with_it(runs, tmp_path, capsys):
    shutil.copytree(runs["alpha"], tmp_path / "alpha")
    folder, plugin = RunFolder(tmp_path / "alpha"), tmp_path / "shouting_generator.py"
    spec = folder.read()["spec"]
    folder.update(spec={**spec, "eval": {**spec["eval"], "backend": "shouting"}})
    plugin.write_text(SHOUTING)
    assert run_command(["serve", str(folder.path), "--port", "0"]) == 2
    assert "no generator named 'shouting'" in capsys.readouterr().err
    with started(folder.path, "--plugin", str(plugin)) as (_process, url):
        assert Client(url).text(ASKED, max_tokens=12) == "FEVER"
