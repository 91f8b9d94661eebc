"""A whole run scores itself on the way, says so in its log, and refuses a figure that it cannot have."""

import pytest

from medtune.errors import SpecError
from medtune.runs.log import RunLog
from medtune.testing.tiny import tiny_base
from medtune.testing.tuned_run import tuned_run

TRAIN = {"num_train_epochs": None, "max_steps": 4, "logging_steps": 4, "save_strategy": "no"}


def test_a_run_logs_its_scores_and_keeps_the_best(tmp_path):
    tiny_base(tmp_path)
    wanted = {"every": 2, "keep_best": "nli", "rows_in_training": 3}
    outcome = tuned_run(tmp_path, {"base": str(tmp_path), "train": TRAIN, "eval": wanted})
    scored = [record for record in outcome["log"] if "evaluation" in record]
    assert [record["step"] for record in scored] == [2, 4]
    for record in scored:
        assert set(record) == {"step", "evaluation", "macro"}  # and the seconds, which differ from run to run
        assert set(record["evaluation"]) == {"ner", "nli"}
        assert record["macro"] == pytest.approx(sum(record["evaluation"].values()) / 2)
    assert (tmp_path / "run" / "checkpoints" / "step-000002" / "MANIFEST.json").is_file()


def test_a_figure_that_no_row_gives_is_refused_before_training(tmp_path):
    tiny_base(tmp_path)
    with pytest.raises(SpecError, match=r"keep_best is 'qa', .* use one of macro, ner, nli"):
        tuned_run(tmp_path, {"base": str(tmp_path), "train": TRAIN, "eval": {"keep_best": "qa", "every": 2}})
    assert RunLog(tmp_path / "run" / "log.jsonl").read() == []


@pytest.mark.parametrize("wanted", [{"every": "never", "patience": 1}, {"enabled": False, "keep_best": "macro"}])
def test_a_choice_without_scores_is_refused(tmp_path, wanted):
    tiny_base(tmp_path)
    with pytest.raises(SpecError, match="need scores during training"):
        tuned_run(tmp_path, {"base": str(tmp_path), "eval": wanted})
