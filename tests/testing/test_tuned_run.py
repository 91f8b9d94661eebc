"""All of medtune survives a kill: while it keeps the base's answers, while it saves, and while it ends."""

import shutil
import sys

import pytest

from medtune.testing.faults import FaultLab
from medtune.testing.tiny import tiny_base
from medtune.testing.trials import Series

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="faults are injected on Linux with a C compiler",
)


@pytest.mark.parametrize("all_of_it", [False, pytest.param(True, marks=pytest.mark.proof)])
def test_a_tuned_run_goes_on_after_kills_and_write_errors(tmp_path, all_of_it):
    tiny_base(tmp_path)
    with FaultLab("medtune.testing.tuned_run:tuned_run") as lab:
        series = Series(lab, {"base": str(tmp_path), "train": {"num_train_epochs": 1}})
        assert set(series.reference.result["scores"]) == {"ner", "nli"}
        finished, recorded = (series.reference.events.rindex(kind) for kind in "rs")
        assert series.kill_everywhere(offset=60, until=61).failures == []  # the base's answers
        assert series.fail_writes(offset=58, until=59).failures == []
        if all_of_it:
            assert (
                series.kill_everywhere(offset=finished, until=finished + 1).failures == []
            )  # run.json says "finished"
            assert series.kill_everywhere(offset=recorded, until=recorded + 1).failures == []  # the record's last line
