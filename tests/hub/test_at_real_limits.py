"""What the other tests try in small, at its real size: how long a silent hub is borne, and the three lines as written."""

import json
import os
import subprocess
import sys
import time

import pytest
from base_repository import COMMIT
from main_job import MEDTUNED, MEDTUNED_REVISION, STARLING, STARLING_REVISION, medtuned_files, stand_in, starling_files

from medtune.data.hub.models import loadable
from medtune.errors import HubError
from medtune.specs import ModelSpec
from medtune.testing.hub import pointed_at, serve_hub
from medtune.testing.hub_contents import Fault

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3000)]

SOURCES, ROWS, MOST_SILENT = 11, 6_000, 65
AS_WRITTEN = "from medtune import MedTuner; MedTuner.from_defaults().train()"


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("cdn .*model-1", times=1, stall_at=30_000), Fault("cdn .*model-1", stall_at=0)],
        [Fault("hub .*resolve.*config", silent=True)],
        [Fault("hub /api", silent=True)],
    ],
    ids=["in the middle of a file", "before a file", "before the list"],
)
def test_a_hub_that_falls_silent_is_given_up_within_a_minute(faults, hub, tmp_path, capsys):
    hub.stall_seconds = 1000
    hub.faults += faults
    with pointed_at(hub, tmp_path):
        began = time.monotonic()
        with pytest.raises(HubError, match=r"the hub (does not answer|sent nothing for 60 s)"):
            loadable(ModelSpec(name="org/base", revision=COMMIT))
        seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"given up after {seconds:.1f} s of silence")
    assert seconds < MOST_SILENT


def test_the_three_lines_as_written_train_six_thousand_rows_of_all_sources(tmp_path, capsys):
    medtuned = medtuned_files(ROWS // SOURCES + 1, 60)
    with serve_hub(stand_in(starling_files(tmp_path / "starling"), medtuned)) as hub:
        found = {}
        for name, folder, offline in (("first", "a", "0"), ("second", "b", "0"), ("offline", "c", "1")):
            hub.asked.clear()
            found[name] = as_written(hub, tmp_path, folder, offline), list(hub.asked)
    with capsys.disabled():
        for name, (record, asked) in found.items():
            print(name, f"{len(asked)} requests", record["seconds_in_all"], record["result"])
    assert [len(asked) for _record, asked in found.values()][1:] == [0, 0]
    commits = {STARLING: STARLING_REVISION, MEDTUNED: MEDTUNED_REVISION}
    assert all(commits[name] in each.path for each in found["first"][1] for name in commits if name in each.path)
    assert {each.token for each in found["first"][1] if each.host == "cdn"} == {False}
    for record, _asked in found.values():
        assert record["state"] == "finished"
        assert record["scores"].keys() == {"ner", "relation", "nli", "classification", "qa"}
        assert record["plan"]["steps"] == record["result"]["steps"]
    first, second, offline = (record["result"] for record, _asked in found.values())
    assert first["train_loss"] == second["train_loss"] == offline["train_loss"]


def as_written(hub, tmp_path, folder, offline):
    """Run the line in a folder of its own, and return the run's record with the seconds it took."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": offline,
        "HF_TOKEN": "hf_member",
        "MEDTUNE_CACHE": str(tmp_path / "cache"),
    }
    (tmp_path / folder).mkdir()
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", AS_WRITTEN],
        cwd=tmp_path / folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = (tmp_path / folder).glob("*/run.json")
    return {**json.loads(record.read_text()), "seconds_in_all": round(time.monotonic() - began, 1)}
