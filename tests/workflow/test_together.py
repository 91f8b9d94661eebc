"""Several processes answer what one would, each a share, and one of them writes it down."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from medtune.runs.folder import RunFolder
from medtune.testing.faults import FaultLab
from medtune.testing.tiny import tiny_base

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="the laboratory that starts processes needs Linux and a C compiler",
)
OPTIONS = {
    "train": {"num_train_epochs": 1, "logging_steps": 1, "gradient_accumulation_steps": 6},
    "eval": {"loss": True, "every": 2, "rows_in_training": 3, "alpha": 0.2},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


@pytest.fixture(scope="module")
def lab():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        with FaultLab("company_ranks:act") as lab:
            yield lab


@pytest.fixture
def train(lab, base, tmp_path):
    def train(name, processes, **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return lab.run(folder, options={"base": str(base), **OPTIONS, **options}, ranks=processes, launched=False)

    return train


def asked_of(folder, process):
    file = folder / f"asked-{process}"
    return [int(count) for count in file.read_text().split()] if file.exists() else []


def scores_in(folder):
    """Return all that is kept of the answers of a run, without what time took."""
    place = folder / "run" / "evaluation"
    found = {
        path.name: list(map(json.loads, path.read_text().splitlines())) for path in place.glob("predictions-*.jsonl")
    }
    for name in ("base", "tuned"):
        found[name] = json.loads((place / f"{name}.json").read_bytes())
        del found[name]["answering_seconds"]
    return found


def close(found, wanted):
    """Whether two values are equal, numbers up to rounding."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(close(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    return found == (pytest.approx(wanted, rel=1e-5) if isinstance(wanted, float) else wanted)


def test_answers_figures_and_losses_are_those_of_one_process_and_each_answers_a_share(train, tmp_path):
    wanted, found = train("one", 1), train("two", 2)
    assert (wanted.status, found.status) == ((0,), (0, 0)), (wanted.error, found.error)
    alone, shares = asked_of(tmp_path / "one", 0), [asked_of(tmp_path / "two", process) for process in (0, 1)]
    assert [sum(both) for both in zip(*shares, strict=True)] == alone
    assert all(abs(one - other) <= 1 for one, other in zip(*shares, strict=True))
    assert len(alone) >= 3  # before, while and after training
    logs = [[{key: r[key] for key in r if key != "epoch"} for r in run.result["log"]] for run in (found, wanted)]
    assert close(*logs)  # within an epoch it counts passes
    assert sum("held_out_loss" in record for record in found.result["log"]) > 0
    assert found.result["scores"] == wanted.result["scores"]
    assert close(scores_in(tmp_path / "two"), scores_in(tmp_path / "one"))


@pytest.mark.proof
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_process_that_is_lost_while_it_answers_ends_the_run_resumably(train, tmp_path, number):
    """Before, while and after training."""
    broken = train("run", 2, trouble=(1, number, "SIGKILL"))
    assert broken.status == (75, -9)
    assert "process 1 of 2 was lost or hangs" in broken.error["message"]
    folder = RunFolder(tmp_path / "run" / "run")
    assert folder.state == folder.read()["state"] == "interrupted"
    assert train("run", 1).status == (0,)


@pytest.mark.proof
@pytest.mark.parametrize("process", [0, 1])
def test_an_error_of_one_process_ends_the_others_too(train, process):
    failed = train("run", 2, trouble=(process, 1, "error"))
    assert failed.status[1 - process] == 75
    assert failed.status[process] not in (0, 75)
