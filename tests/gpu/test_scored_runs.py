"""Whole runs on a GPU in every storage of the base: the base scored first, then trained over, scored again, and opened."""

import pytest

from medtune import MedTuner, Run


@pytest.mark.parametrize("scheme", ["none", "nf4", "int8", "fp8"])
def test_a_base_that_was_scored_is_trained_and_scored_again(scheme, tmp_path, figures):
    tuner = MedTuner.from_bundle(
        "demo",
        quant={"scheme": scheme},
        train={"max_steps": 20},
        eval={"rows_per_source": 2, "every": 10, "rows_in_training": 2, "max_new_tokens": 24},
        output_dir=str(tmp_path / "run"),
    )
    run = tuner.train()
    assert run.state == "finished"
    scores = run.metrics["scores"]
    assert {"ner", "qa"} <= set(scores)
    figures(scores={task: (score["base"], score["tuned"]) for task, score in scores.items()})
    again = Run.open(run.path).evaluate()
    assert {task: found["metrics"][scores[task]["metric"]] for task, found in again["tasks"].items()} == pytest.approx(
        {task: score["tuned"] for task, score in scores.items()}, abs=0.05
    )
