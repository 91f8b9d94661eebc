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


def test_a_tuned_run_goes_on_after_kills_and_write_errors(tmp_path):
    tiny_base(tmp_path)
    with FaultLab("medtune.testing.tuned_run:tuned_run") as lab:
        series = Series(lab, {"base": str(tmp_path), "train": {"num_train_epochs": 1}})
        assert set(series.reference.result["scores"]) == {"ner", "nli"}
        assert series.kill_everywhere(every=3, offset=18, until=25).failures == []  # the base's answers and scores
        assert series.kill_everywhere(every=80, offset=60).failures == []
        assert series.fail_writes(every=110, offset=20).failures == []
