"""The default bundle's run from the hub: pinned, checked, told, and after its first step without a request."""

import json

import pytest
from main_job import MEDTUNED, MEDTUNED_REVISION, STARLING, STARLING_REVISION, medtuned_files, stand_in, starling_files

from medtune import MedTuner
from medtune.errors import HubError, HubUnreachableError, OutOfMemoryError
from medtune.testing.hub import pointed_at, serve_hub
from medtune.testing.hub_contents import Fault

SMALL = {
    "quant": {"scheme": "none"},
    "train": {"num_train_epochs": None, "max_steps": 1, "max_length": 512, "logging_steps": 1},
    "eval": {"rows_per_source": 1, "max_new_tokens": 2, "every": "never"},
}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    return starling_files(tmp_path_factory.mktemp("starling")), medtuned_files(6)


@pytest.fixture
def hub(repositories):
    with serve_hub(stand_in(*repositories)) as served:
        yield served


class EnoughError(Exception):
    """Ends a run at a stage."""


def until(words, told):
    """Return what tells the stages, and ends the run where one begins with ``words``."""

    def tell(stage):
        told.append(stage)
        if stage.startswith(words):
            raise EnoughError

    return tell


def tuner(folder, **overrides):
    return MedTuner.from_defaults(**{**SMALL, **overrides}, output_dir=str(folder))


def test_a_first_run_asks_for_the_pinned_commits_only_and_later_ones_ask_for_nothing(hub, tmp_path):
    told, seen, plans = [], [], []
    with pointed_at(hub, tmp_path, token="hf_member"):
        first = tuner(tmp_path / "first").train(on_stage=told.append, on_download=seen.append, on_plan=plans.append)
        asked = list(hub.asked)
        hub.asked.clear()
        with pytest.raises(EnoughError):  # once base and adapter are loaded
            tuner(tmp_path / "again").train(on_stage=until("scoring the base", told))
        assert hub.asked == []
    with pointed_at(hub, tmp_path, offline=True), pytest.raises(EnoughError):
        tuner(tmp_path / "offline").train(on_stage=until("scoring the base", told))
    assert hub.asked == []
    assert {each.path.partition("?")[0] for each in asked} == expected_paths(hub)
    assert {(each.host, each.token) for each in asked} == {("hub", True), ("cdn", False)}
    assert len(asked) == len({each.path for each in asked})  # nothing is asked for twice
    assert any(line.startswith("fetching ") and STARLING in line for line in told)
    assert {each.repository for each in seen} == {STARLING, MEDTUNED}
    assert [plan.parameters < 2_000_000 for plan in plans] == [
        True
    ]  # on the config fetched, not on what the bundle states
    assert first.metrics["scores"].keys() == {"ner", "relation", "nli", "classification", "qa"}
    assert (
        first.adapter_dir / "adapter_model.safetensors"
    ).stat().st_size < 100_000  # no embeddings, as another main has
    record = json.loads((tmp_path / "first" / "run.json").read_text())
    assert [(pin["part"], pin["commit"]) for pin in record["commits"]] == [
        ("model", STARLING_REVISION),
        ("data", MEDTUNED_REVISION),
    ]


def expected_paths(hub):
    """Every address that a first run asks for: two lists, and each file it needs, once."""
    places = {("models", STARLING): STARLING_REVISION, ("datasets", MEDTUNED): MEDTUNED_REVISION}
    paths = set()
    for (kind, name), commit in places.items():
        files = getattr(hub, kind)[name][commit]
        paths.add(f"/api/{kind}/{name}/tree/{commit}")
        for path in sorted(set(files) - {"pytorch_model.bin"}):
            paths.add(f"/{'datasets/' if kind == 'datasets' else ''}{name}/resolve/{commit}/{path}")
            if path.endswith((".safetensors", ".parquet", ".model")):
                paths.add(f"/{kind}/{name}/{commit}/{path}")
    return paths


def test_unpinned_repositories_are_warned_about_recorded_and_kept_when_the_run_goes_on(hub, tmp_path):
    told = []
    swapped = tuner(tmp_path / "run", model="org/other", data="org/rows")
    with pointed_at(hub, tmp_path):
        with pytest.raises(EnoughError):
            swapped.train(on_stage=until("loading the base", told))
        hub.models["org/other"]["f" * 40] = {"config.json": b"{}"}  # main moves on
        hub.asked.clear()
        with pytest.raises(EnoughError):
            swapped.train(on_stage=until("loading the base", []))
        assert hub.asked == []
    warnings = [line for line in told if line.startswith("warning: ")]
    assert [line.partition(" is not pinned")[0] for line in warnings] == [
        "warning: model 'org/other'",
        "warning: data set 'org/rows'",
    ]
    assert f"set model.revision={'d' * 40} to get the same again" in warnings[0]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["commits"] == [
        {"part": "model", "repository": "org/other", "asked": None, "commit": "d" * 40},
        {"part": "data", "repository": "org/rows", "asked": None, "commit": "e" * 40},
    ]
    assert (record["spec"]["model"]["revision"], record["spec"]["data"]["revision"]) == ("d" * 40, "e" * 40)
    assert set(record["plan"]["licences"]) == {
        "org/other: apache-2.0, as its card on the hub says",
        "org/rows: cc-by-nc-4.0, as its card on the hub says",
    }


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_fetched(hub, tmp_path):
    large = json.loads(hub.models[STARLING][STARLING_REVISION]["config.json"])
    large |= {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "num_attention_heads": 32}
    hub.models["org/large"] = {
        "a" * 40: {**hub.models["org/other"]["d" * 40], "config.json": json.dumps(large).encode()}
    }
    plans = []
    with pointed_at(hub, tmp_path), pytest.raises(OutOfMemoryError, match="billion parameters"):
        tuner(tmp_path / "run", model="org/large").train(on_plan=plans.append)
    assert [plan.fits for plan in plans] == [True, False]
    assert not [each for each in hub.asked if each.path.endswith(".safetensors")]


def test_a_hub_that_fails_before_the_end_of_the_download_loses_nothing(hub, tmp_path):
    hub.faults.append(Fault("cdn .*00002-of", status=403))
    with pointed_at(hub, tmp_path):
        with pytest.raises(HubError, match=r"the content network '.*' refused it"):
            tuner(tmp_path / "run").train()
        hub.faults.clear()
        before = {each.path for each in hub.asked}
        hub.asked.clear()
        with pytest.raises(EnoughError):
            tuner(tmp_path / "run").train(on_stage=until("reading and encoding", []))
    again = {each.path for each in hub.asked} & before
    assert again
    assert all("safetensors" in path for path in again)  # those under way when the fault came, and no other


def test_a_plan_asks_for_nothing_and_nothing_offline_is_one_sentence(hub, tmp_path):
    with pointed_at(hub, tmp_path):
        tuner(tmp_path / "run").plan()
    assert hub.asked == []
    other = tuner(tmp_path / "run", model={"name": "org/other", "revision": "d" * 40})
    with pointed_at(hub, tmp_path, offline=True), pytest.raises(HubUnreachableError, match="'org/other' is not in the"):
        other.train()
