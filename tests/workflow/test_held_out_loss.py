"""A run measures the loss of its validation rows, tells it everywhere, and keeps the checkpoint where it was lowest."""

import hashlib
import json
import os
import signal
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from medtune import Example, RunSpec, hookimpl
from medtune.cli.console import print_evaluation, print_scores
from medtune.errors import DataError, PluginError, RunInterruptedError, SpecError
from medtune.plugins.contracts import Completion
from medtune.runs.log import RunLog
from medtune.testing.tiny import tiny_base
from medtune.workflow.held_out import rows_of, told
from medtune.workflow.run import Run
from medtune.workflow.stages.prepare import prepare
from medtune.workflow.training import train

WANTED = {"loss": True, "every": 1, "keep_best": "loss", "rows_in_training": 2}


def notes(count=16):
    """Rows whose answers are free text."""
    text = "Discharged on day {} with advice."
    return [
        {"instruction": "Summarise.", "input": f"Note {n}.", "output": text.format(n), "source": "notes"}
        for n in range(count)
    ]


class Silent:
    """A generator that answers nothing, and may do something before."""

    name = "silent"

    def __init__(self, act=lambda: None):
        self.act = act

    def generate(self, loaded, prompts, spec):
        self.act()
        return [Completion([], "", truncated=False) for _ in prompts]


def providing(kind, *things):
    plugin = ModuleType(f"providing_{kind}")
    setattr(plugin, f"provide_{kind}", hookimpl(lambda: list(things), specname=f"provide_{kind}"))
    return plugin


def digest(run):
    return hashlib.sha256((run.adapter_dir / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_a_run_of_free_text_tells_its_loss_everywhere_and_keeps_the_best(asked, files, capsys):
    request = asked(
        given=notes(),
        tasks=[{"source": "notes", "kind": "free-text"}],
        eval=WANTED,
        train={"max_steps": 3, "learning_rate": 0.05},
    )
    run = train(request)
    base, tuned = (files(f"evaluation/{name}.json")["held_out_loss"] for name in ("base", "tuned"))
    assert base["rows"] == tuned["rows"] == 2
    assert base["sources"]["notes"] == {"loss": base["loss"], "tokens": base["tokens"]}
    assert (
        files("run.json")["held_out_loss"]
        == run.metrics["held_out_loss"]
        == {"base": base["loss"], "tuned": tuned["loss"]}
    )
    logged = {r["step"]: r for r in RunLog(run.path / "log.jsonl").read() if "held_out_loss" in r}
    assert sorted(logged) == [1, 2, 3]
    best = min(logged, key=lambda step: logged[step]["held_out_loss"])
    result = files("run.json")["result"]
    assert (result["best_step"], result["adapter_step"]) == (best, best)
    assert tuned["loss"] == pytest.approx(logged[best]["held_out_loss"], rel=1e-5)  # of the same two rows
    assert logged[1]["held_out_loss_by_source"] == {"notes": logged[1]["held_out_loss"]}
    report = (run.path / "report.html").read_text()
    assert '<section id="held-out-loss"><h2>Loss of the validation rows</h2>' in report
    assert f">{tuned['loss']:.4f}<" in report
    print_scores(run.metrics)
    assert f"loss of the validation rows: base {base['loss']:.4f}, tuned {tuned['loss']:.4f}" in capsys.readouterr().out
    again = Run.open(run.path, plugins=request.host).evaluate(baseline=True)
    for found, wanted in ((again, tuned), (again["base"], base)):
        assert found["held_out_loss"]["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    print_evaluation(again)
    assert f"{tuned['loss']:.4f}" in capsys.readouterr().out


def test_an_interrupted_run_chooses_by_its_loss_as_an_uninterrupted_one(asked, tmp_path):
    calls = []

    def act():
        calls.append(1)
        if len(calls) == 3:  # the base, the first update, the second
            os.kill(os.getpid(), signal.SIGTERM)

    given = {"eval": {**WANTED, "backend": "silent", "patience": 2}, "train": {"max_steps": 4, "learning_rate": 0.05}}
    cut = asked(plugin=providing("generators", Silent(act)), **given)
    with pytest.raises(RunInterruptedError):
        train(cut)
    resumed = train(cut)
    whole = asked(plugin=providing("generators", Silent()), **given)
    spec = whole.spec.model_copy_with(output_dir=str(tmp_path / "whole"))
    uninterrupted = train(replace(whole, spec=spec))
    told = [
        [(r["step"], r["held_out_loss"]) for r in RunLog(run.path / "log.jsonl").read() if "held_out_loss" in r]
        for run in (resumed, uninterrupted)
    ]
    assert told[0] == told[1]
    results = [json.loads((run.path / "run.json").read_text())["result"] for run in (resumed, uninterrupted)]
    assert len({(r["best_step"], r["adapter_step"], r["stopped_early"]) for r in results}) == 1
    assert digest(resumed) == digest(uninterrupted)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"keep_best": "loss", "every": 2}, "needs the loss of the validation rows: set eval.loss = true"),
        ({"keep_best": "loss", "loss": True, "every": "never"}, "need scores during training"),
        ({"keep_best": "loss", "loss": True, "enabled": False}, "need scores during training"),
    ],
)
def test_a_choice_that_could_not_be_made_is_refused_with_the_spec(wanted, sentence):
    with pytest.raises(ValueError, match=sentence):
        RunSpec.model_validate({"eval": wanted})


@pytest.mark.parametrize("wanted", [{"loss": True}, {"every": 1, "keep_best": "macro"}, {"every": 1, "patience": 2}])
def test_without_validation_rows_it_is_refused_before_the_base_is_loaded(asked, wanted):
    request = asked(eval=wanted, data={"validation_fraction": 0.0})
    with pytest.raises(
        DataError, match=r"eval\.(loss|keep_best|patience): there are no validation rows; set data\.validation"
    ):
        prepare(request)


@pytest.mark.parametrize(("overlong", "left_out"), [("drop", 4), ("truncate_input", 0)])
def test_rows_that_are_too_long_are_treated_as_in_training(tmp_path, overlong, left_out):
    loaded = tiny_base(tmp_path)
    spec = RunSpec.model_validate({"data": {"overlong": overlong}, "train": {"max_length": 160}})
    turns = [
        (
            {"role": "user", "content": "Summarise.\n\n" + "word " * (50 if n < 4 else 5)},
            {"role": "assistant", "content": f"A {n}."},
        )
        for n in range(6)
    ]
    held = rows_of(
        spec, loaded.tokenizer, [Example(list(pair), "notes", row_id=str(n)) for n, pair in enumerate(turns)]
    )
    assert (held.used, held.left_out) == (6 - left_out, left_out)
    assert max(len(held.rows[n].input_ids) for n in range(len(held.rows))) <= 160
    found = told({"notes": (12.0, 6)}, held)
    assert (found["loss"], found["rows"], found["left_out"]) == (2.0, held.used, left_out)


def test_rows_that_are_all_too_long_are_refused_and_a_loss_that_is_not_finite_is_none(tmp_path):
    loaded = tiny_base(tmp_path)
    example = Example(
        [{"role": "user", "content": "w " * 50}, {"role": "assistant", "content": "A."}], "notes", row_id="1"
    )
    with pytest.raises(DataError, match=r"each of 1 validation rows is longer than train\.max_length \(16\)"):
        rows_of(RunSpec.model_validate({"train": {"max_length": 16}}), loaded.tokenizer, [example])
    held = rows_of(RunSpec(), loaded.tokenizer, [example])
    assert told({"notes": (float("inf"), 6)}, held)["loss"] is None


def test_a_finished_run_is_scored_again_once_its_loss_is_asked_for(asked, files, told):
    request = asked(plugin=providing("generators", Silent()), eval={"backend": "silent"}, train={"max_steps": 1})
    train(request)
    assert "held_out_loss" not in files("evaluation/tuned.json")
    spec = request.spec.model_copy_with(eval=request.spec.eval.model_copy_with(loss=True))
    found = train(replace(request, spec=spec)).metrics["held_out_loss"]
    assert found == {name: files(f"evaluation/{name}.json")["held_out_loss"]["loss"] for name in ("base", "tuned")}
    train(replace(request, spec=spec))
    assert told[-1] == "this run is finished; nothing to do"


def test_a_trainer_that_measures_no_loss_is_refused_before_the_base_is_loaded(asked):
    trainer = SimpleNamespace(name="other", fit=lambda _job: None)
    request = asked(plugin=providing("trainers", trainer), eval={"loss": True}, train={"backend": "other"})
    with pytest.raises(SpecError, match="trainer 'other' measures no loss of other rows"):
        prepare(request)


def test_a_trainer_that_leaves_a_loss_untold_is_not_taken_to_tell_the_one_before(asked):
    def fit(job):
        job.on_held_out({"MedNLI": (3.0, 2)})
        assert job.on_evaluate(1) == -1.5
        job.on_evaluate(2)

    trainer = SimpleNamespace(name="other", fit=fit, held_out_losses=lambda _loaded, _rows, _spec: {"MedNLI": (4.0, 2)})
    plugin = providing("trainers", trainer)
    plugin.provide_generators = hookimpl(lambda: [Silent()], specname="provide_generators")
    request = asked(plugin=plugin, eval={**WANTED, "backend": "silent"}, train={"backend": "other"})
    with pytest.raises(PluginError, match="trainer 'other' told no loss at step 2"):
        train(request)


def test_a_figure_that_no_row_gives_is_refused_before_the_base_is_loaded(asked):
    with pytest.raises(SpecError, match=r"keep_best is 'qa', .* use one of macro, nli"):
        prepare(asked(eval={"keep_best": "qa", "every": 1}))
