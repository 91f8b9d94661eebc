"""A proved artifact goes to a repository on the hub: named and accepted by its owner, private, and read back; nothing of a row goes."""

import hashlib
import json
import logging

import pytest
import yaml

from medtune import MedTuner, Run
from medtune.cli.app import run as command
from medtune.errors import CorruptDownloadError, HubError, SpecError
from medtune.export.hub import HubExporter
from medtune.plugins.host import create_host
from medtune.testing import hub as served_hub
from medtune.testing.hub import pointed_at, serve_hub
from medtune.testing.hub_contents import Fault, StandInHub
from medtune.testing.tiny import tiny_base

TOKEN, NAME = "hf_writer", "someone/tuned"
SECRET = "Patient Zebulon"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    tiny_base(root / "base")
    rows = [
        {"instruction": "Relation?", "input": f"Sentence 1: {SECRET} {n}.", "output": ("Neutral", "Entailment")[n % 2], "source": "MedNLI"}
        for n in range(16)
    ]  # fmt: skip
    (root / "ward 7.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = MedTuner.from_defaults(
        plugins=create_host(autoload=False), model=str(root / "base"), quant={"scheme": "none"}, lora={"r": 4},
        data={"source": str(root / "ward 7.jsonl"), "validation_fraction": 0.5}, output_dir=str(root / "run"),
        train={"max_length": 192, "num_train_epochs": None, "max_steps": 12, "learning_rate": 5e-3},
        eval={"rows_per_source": 8, "max_new_tokens": 4, "show_texts": True},
    ).spec  # fmt: skip
    MedTuner(spec).train()
    return Run.open(root / "run")


@pytest.fixture(scope="module")
def proved(run, tmp_path_factory):
    """An adapter that was proved once, and went to a hub that is gone."""
    out = tmp_path_factory.mktemp("proved")
    with serve_hub(StandInHub()) as served, pointed_at(served, out, token=TOKEN):
        return run.export("hub", out / "out", repo=NAME, accept_terms=True)


@pytest.fixture
def hub(tmp_path):
    with serve_hub(StandInHub()) as served, pointed_at(served, tmp_path, token=TOKEN):
        yield served


def sent(hub):
    return next(reversed(hub.models[NAME].values()))


@pytest.mark.parametrize("form", ["adapter", pytest.param("merged", marks=pytest.mark.proof)])
def test_what_the_hub_has_is_what_was_proved_and_nothing_else(run, hub, tmp_path, capfd, caplog, form):
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "out"
    asked = ["export", str(run.path), "--to", "hub", "--out", str(out), "--json", "--set", f"repo={NAME}"]
    asked += ["--set", "accept_terms=true", "--set", f"form={form}"]
    code = command(asked)
    assert code == 0, capfd.readouterr().err[-800:]
    printed = capfd.readouterr()
    told = json.loads(printed.out)["facts"]["uploaded"]
    files = sent(hub)
    assert told["private"] is True
    assert NAME in hub.private
    assert told["files"] == {
        path: hashlib.sha256(files[path]).hexdigest() for path in files if path != ".gitattributes"
    }
    assert all((out / path).read_bytes() == files[path] for path in told["files"])
    weights = "adapter_model.safetensors" if form == "adapter" else "model.safetensors"
    assert {weights, "README.md", "export.json", "tokenizer.json", "prompt_contract.json"} <= files.keys()
    everything = b"".join(files.values())
    for private in (SECRET, "ward 7", str(run.path.parent), TOKEN):
        assert private.encode() not in everything
    assert not any(word in path for path in files for word in ("prediction", "report", "log", "sample"))
    assert TOKEN not in printed.out + printed.err + caplog.text
    assert not any(TOKEN.encode() in file.read_bytes() for file in out.rglob("*") if file.is_file())
    assert not [asked for asked in hub.asked if asked.host == "cdn" and asked.token]


def test_the_card_holds_the_scores_as_hubs_read_them(run, proved):
    card = (proved.path / "README.md").read_text()
    index = yaml.safe_load(card.split("---\n")[1])["model-index"]
    score = run.metrics["scores"]["nli"]
    (result,) = index[0]["results"]
    assert result["task"]["name"] == "nli"
    assert result["metrics"] == [{"type": score["metric"], "name": score["metric"], "value": round(score["tuned"], 6)}]
    assert f"| nli | {score['metric']} | {score['base']:.3f} | {score['tuned']:.3f} |" in card
    assert "greedy answers equal" in card
    assert proved.facts["uploaded"]["url"].endswith(NAME)


def test_the_same_artifact_goes_there_again(proved, hub):
    options = {"repo": NAME, "accept_terms": True}
    first = HubExporter().publish(None, proved, options)
    assert HubExporter().publish(None, proved, options) == first
    assert first["uploaded"]["files"] == proved.facts["uploaded"]["files"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"accept_terms": True}, "name the repository"),
        ({"repo": "tuned", "accept_terms": True}, "name the repository"),
        ({"repo": NAME}, "by those with access, and the terms"),
        ({"repo": NAME, "private": False}, "by everyone, and the terms"),
        ({"repo": NAME, "accept_terms": True, "dtype": "bf16"}, "dtype"),
        ({"repo": NAME, "accept_terms": True, "prove": False}, "leave the proof on"),
    ],
)
def test_nothing_is_asked_of_the_hub_before_its_owner_said_all(run, hub, tmp_path, options, said):
    with pytest.raises(SpecError, match=said):
        run.export("hub", tmp_path / "out", **options)
    assert not hub.asked


def test_without_a_token_or_offline_nothing_is_written(run, hub, tmp_path):
    for given in ({"token": ""}, {"token": TOKEN, "offline": True}):
        with pointed_at(hub, tmp_path, **given), pytest.raises(HubError, match="cannot be written to"):
            run.export("hub", tmp_path / "out", repo=NAME, accept_terms=True)
    assert not hub.asked
    assert not (tmp_path / "out").exists()


def refuse(proved, said, **options):
    with pytest.raises((HubError, CorruptDownloadError), match=said) as caught:
        HubExporter().publish(None, proved, {"repo": NAME, "accept_terms": True, **options})
    assert TOKEN not in str(caught.value)
    assert caught.value.exit_code in (4, 6)


def test_a_repository_that_is_public_or_holds_something_else_is_left_alone(proved, hub):
    hub.models[NAME] = {"a" * 40: {"README.md": b"mine", "pytorch_model.bin": b"mine"}}
    refuse(proved, "is public")
    refuse(proved, "holds other files already, such as 'pytorch_model.bin'", private=False)
    assert list(hub.models[NAME]) == ["a" * 40]


FAULTS = {
    "no right to write": Fault("hub /api/repos/create", status=403),
    "not valid|no right": Fault("hub .*/preupload/", status=401),
    "fault of its own": Fault("hub .*/commit/main", status=500),
    "other bytes": Fault("hub .*resolve/.*/adapter_config.json", flip=3),
    "lists no such file": Fault("hub .*/tree/", body=b"[]"),
}


@pytest.mark.parametrize("said", FAULTS)
def test_an_upload_that_fails_is_told_and_never_done(proved, hub, said):
    hub.faults.append(FAULTS[said])
    refuse(proved, said)


def test_large_files_are_compared_by_what_the_hub_says_of_them(proved, hub, monkeypatch):
    real = served_hub.entry_of

    def other(path, content):
        return real(path, content + b"x" * path.endswith(".safetensors"))

    monkeypatch.setattr(served_hub, "entry_of", other)
    refuse(proved, "other bytes")


def test_nothing_that_cannot_be_reached_is_called_done(proved, hub):
    hub.models[NAME] = {}
    hub.endpoint = "http://127.0.0.1:9"
    with pointed_at(hub, proved.path.parent, token=TOKEN):
        refuse(proved, "could not be written to")
