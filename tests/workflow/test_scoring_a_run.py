"""Label likelihood, other paraphrases and the memory of scores on the way: what a run lets its model answer."""

import json
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from medtune import Example, MedTuner, RunSpec, hookimpl
from medtune.errors import SpecError
from medtune.machine.hardware import free_below_peak
from medtune.plugins.contracts import Completion, GenerationRequest
from medtune.plugins.host import create_host
from medtune.runs.manifest import file_digest
from medtune.testing.tiny import tiny_base
from medtune.workflow.run import Run
from medtune.workflow.scoring import score_briefly


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("likelihood") / "run"
    options = {"rows_per_source": 2, "label_likelihood": True, "max_new_tokens": 8}
    MedTuner.from_bundle("demo", train={"max_steps": 1}, eval=options, output_dir=str(folder)).train()
    return folder


def test_the_scores_hold_label_likelihood_beside_the_free_answers(folder):
    for name in ("base", "tuned"):
        scores = json.loads((folder / "evaluation" / f"{name}.json").read_text())
        assert set(scores["closed"]) == {"nli", "qa", "relation"}
        for task, found in scores["closed"].items():
            assert 0 < found["rows"] <= scores["tasks"][task]["rows"]
            assert found["constrained"]["failures"]
            assert not any(found["constrained"]["failures"].values())
            assert 0 <= found["calibration"]["ece"] <= 1
        assert scores["closed"]["nli"]["free"]["metrics"] == scores["tasks"]["nli"]["metrics"]


def test_every_answer_has_the_probability_that_the_model_gives_to_it_as_a_whole(folder):
    """Held against the model's own forward pass over prompt and answer."""
    run, path = Run.open(folder), folder / "evaluation" / "predictions-tuned.jsonl"
    end = run.loaded.stop_ids[0]
    for record in map(json.loads, path.read_text().splitlines()):
        prompt = run.answering.prompt_ids([{"role": "user", "content": record["input"]}])
        found = run.answering.answer([GenerationRequest(prompt, 8)])[0]
        ids = [*found.token_ids, *(() if found.truncated else (end,))]
        with torch.inference_mode():
            logits = run.loaded.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
        places = torch.arange(len(prompt) - 1, len(prompt) + len(ids) - 1)
        expected = float(logits[places, torch.tensor(ids)].sum().exp())
        assert record["confidence"] == pytest.approx(expected, rel=1e-3)
    for name in ("base", "tuned"):
        scores = json.loads((folder / "evaluation" / f"{name}.json").read_text())
        assert scores["trust"]["alpha"] == 0.1
        assert scores["trust"]["tasks"]["nli"]["rows"] == scores["tasks"]["nli"]["rows"]
        assert "too few rows" in scores["trust"]["tasks"]["nli"]["abstention"]["reason"]
        assert scores["closed"]["nli"]["sets"]["reason"].startswith("too few rows: ")


def test_without_alpha_no_confidence_is_measured(folder):
    run = Run.open(folder)
    run.spec = run.spec.model_copy_with(eval=run.spec.eval.model_copy_with(alpha=None, label_likelihood=False))
    assert "trust" not in run.evaluate(rows_per_source=1)


def test_a_generator_without_probabilities_is_told_to_say_nothing_of_trust(folder, monkeypatch):
    from medtune.backends.generate import TransformersGenerator

    monkeypatch.delattr(TransformersGenerator, "log_probabilities")
    run = Run.open(folder)
    run.spec = run.spec.model_copy_with(eval=run.spec.eval.model_copy_with(label_likelihood=False))
    found = run.evaluate(rows_per_source=1)
    assert "trust" not in found
    assert (
        "when to trust an answer is not known: eval.backend 'transformers' gives no log-probabilities"
        in found["warnings"]
    )


def test_the_report_shows_them_side_by_side(folder):
    report = (folder / "report.html").read_text()
    assert '<section id="label-likelihood"><h2>Label likelihood</h2>' in report
    assert all(f">{head}</th>" in report for head in ("free", "constrained", "most probable", "calibration error"))


def test_a_generator_without_probabilities_is_refused(folder, monkeypatch):
    from medtune.backends.generate import TransformersGenerator

    monkeypatch.delattr(TransformersGenerator, "log_probabilities")
    with pytest.raises(SpecError, match=r"which eval\.backend 'transformers' cannot give"):
        Run.open(folder).evaluate()


def test_the_rows_are_asked_again_in_other_words(folder):
    run = Run.open(folder)
    asked = []
    result = run.evaluate(rows_per_source=1, paraphrases=2)
    for task, found in result["paraphrases"].items():
        assert len(found["values"]) == 2
        assert found["values"][0] == result["tasks"][task]["metrics"][found["metric"]]
        assert found["lowest"] <= found["mean"] <= found["highest"]
        asked.append(task)
    assert sorted(asked) == sorted(
        task for task, score in result["tasks"].items() if score["primary"] in score["metrics"]
    )
    kept = json.loads((run.path / "evaluation" / "paraphrases.json").read_text())
    answers = file_digest(run.path / "evaluation" / "predictions-tuned.jsonl")
    assert kept == {"rows": kept["rows"], "tuned_predictions": answers, "tasks": result["paraphrases"]}
    assert kept["rows"] == sum(task["rows"] for task in result["tasks"].values())
    assert "paraphrases" not in run.evaluate(rows_per_source=1)


class Recorder:
    """A generator that only remembers how much memory it may take."""

    name = "recorder"

    def __init__(self):
        self.bounds = []

    def generate(self, loaded, prompts, spec):
        self.bounds.append(spec.memory_gib)
        return [Completion([], "", truncated=False) for _ in prompts]


@pytest.mark.parametrize(
    ("device", "given", "own_base", "bound"),
    [
        ("cuda:0", None, False, 0.9 * 3.0),
        ("cuda:0", 0.5, False, 0.5),
        ("cuda:0", None, True, None),
        ("cpu", None, False, None),
    ],
)
def test_scores_on_the_way_may_take_what_the_peak_of_training_leaves(
    monkeypatch, tmp_path, device, given, own_base, bound
):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: 8 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 5 * 2**30)
    recorder = Recorder()
    recorder.loads_own_base = own_base
    plugin = ModuleType("recording")
    plugin.provide_generators = hookimpl(lambda: [recorder], specname="provide_generators")
    loaded = replace(tiny_base(tmp_path), device=device)
    spec = RunSpec.model_validate({"eval": {"backend": "recorder", "memory_gib": given}})
    example = Example(
        [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "Entailment"}], "MedNLI", row_id="1"
    )
    score_briefly(loaded, [example], spec, create_host([plugin], autoload=False))
    assert recorder.bounds == [bound]


def test_a_peak_that_leaves_nothing_still_gives_a_bound(monkeypatch, tmp_path):
    for meter in ("max_memory_allocated", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, meter, lambda _device: 2**30)
    assert free_below_peak("cuda:0") == 0
    recorder = Recorder()
    plugin = ModuleType("recording")
    plugin.provide_generators = hookimpl(lambda: [recorder], specname="provide_generators")
    spec = RunSpec.model_validate({"eval": {"backend": "recorder"}})
    example = Example(
        [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "Entailment"}], "MedNLI", row_id="1"
    )
    host = create_host([plugin], autoload=False)
    score_briefly(replace(tiny_base(tmp_path), device="cuda:0"), [example], spec, host)
    assert recorder.bounds == [0.001]


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory):
    """A run whose validation rows of one task stand in the training rows by half."""
    from demo_base.generator import generate_rows

    folder = tmp_path_factory.mktemp("overlap")
    rows = [row for row in generate_rows("train", 24, 0) if row["source"] == "demo-nli"]
    for name, chosen in (("train", rows[:16]), ("validation", rows[12:20])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    data = {"source": str(folder / "train.jsonl"), "validation": str(folder / "validation.jsonl")}
    options = {"rows_per_source": 6, "max_new_tokens": 8}
    more = {"train": {"max_steps": 1}, "eval": options, "output_dir": str(folder / "run")}
    MedTuner.from_bundle("demo", data=data, **more).train()
    return folder / "run"


def test_an_evaluation_of_a_run_tells_the_rows_without_overlap_as_training_did(overlapping):
    run = Run.open(overlapping)
    ids = set(json.loads((overlapping / "run.json").read_text())["preparation"]["overlapping"])
    trained = {
        name: json.loads((overlapping / "evaluation" / f"{name}.json").read_text()) for name in ("base", "tuned")
    }
    again = run.evaluate(baseline=True)
    apart = again["without_overlap"]["nli"]
    assert 0 < len(ids) < 6
    assert apart["rows"] == 6 - len(ids)
    assert apart == trained["tuned"]["without_overlap"]["nli"]
    assert again["base"]["without_overlap"] == trained["base"]["without_overlap"]


def test_rows_that_training_never_compared_are_left_out_of_that_figure(overlapping):
    found = Run.open(overlapping).evaluate(rows_per_source=8)
    ids = json.loads((overlapping / "run.json").read_text())["preparation"]["overlapping"]
    assert found["tasks"]["nli"]["rows"] == 8
    assert found["without_overlap"]["nli"]["rows"] == 6 - len(ids)
