"""A run is held against an encoder, the base with examples and simple systems: on its rows, by its scorer, kept beside its scores."""

import json
import shutil
from dataclasses import replace

import pytest

from medtune import MedTuner, Run
from medtune.cli.app import run as command
from medtune.errors import DataError, SpecError
from medtune.evaluation.comparison import unlike_row
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import score_predictions
from medtune.specs import EncoderSpec
from medtune.workflow.baselines.published import published_beside
from medtune.workflow.baselines.request import BaselineRequest
from tiny_encoder import tiny_bert

ILLS = ("turgaemia", "lurbisosis", "kelomia")
TAGGED = {"instruction": "Label each token.", "source": "ward"}
JUDGED = {"instruction": "Relation?", "source": "MedNLI"}


def rows():
    found = []
    for n in range(30):
        ill = ILLS[n % 3]
        found.append(TAGGED | {"input": f"case {n} has {ill}", "output": f"case : O\n{n} : O\nhas : O\n{ill} : B-ILL"})
        verdict = ("Entailment", "Neutral")[n % 2]
        text = f"Sentence 1: case {n} is ill.\nSentence 2: case {n} is {'ill' if n % 2 == 0 else 'old'}."
        found.append(JUDGED | {"input": text, "output": verdict})
    return found


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("baseline")
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    MedTuner.from_defaults(
        model=str(base),
        data={"source": str(data), "validation_fraction": 0.3},
        quant={"scheme": "none"},
        train={"max_length": 192, "num_train_epochs": None, "max_steps": 1},
        eval={"rows_per_source": 9, "max_new_tokens": 4, "every": "never"},
        output_dir=str(folder / "run"),
    ).train()
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), [row["input"] for row in rows()], width=32, words=300)


@pytest.fixture(scope="module")
def found(trained, bert):
    settings = EncoderSpec(learning_rate=5e-3, epochs=12, batch_size=4)
    run = Run.open(trained / "run")
    run.baseline(simple=True)  # kept beside what follows
    return run.baseline(str(bert), few_shot=2, settings=settings, price_per_hour=3.6)


@pytest.fixture
def copied(trained, tmp_path):
    return Run.open(shutil.copytree(trained / "run", tmp_path / "run"))


def test_every_system_answers_the_rows_that_the_adapter_answered(found, trained):
    name = next(name for name in found["systems"] if name.startswith("encoder:"))
    assert list(found["systems"]) == ["dictionary", "majority", "prior", name, "few-shot:2"]
    folder = trained / "run" / "evaluation"
    tuned = read_predictions(folder / "predictions-tuned.jsonl")
    for system in (name, "few-shot:2"):
        answers = read_predictions(folder / f"predictions-{system.replace(':', '-')}.jsonl")
        assert unlike_row(answers, tuned) is None
    assert {n: system["rows"] for n, system in found["systems"].items()} == {
        "dictionary": 9, "majority": 9, "prior": 9, name: 18, "few-shot:2": 18,
    }  # fmt: skip
    assert json.loads((folder / "baselines.json").read_text()) == found


def test_the_record_of_the_run_has_them(found, trained):
    checked = Run.open(trained / "run").verify()
    assert (checked.state, checked.record.chain.lines[-1].change.command) == ("whole", "baseline")


def test_their_scores_are_those_that_the_scorer_gives_to_their_files(found, trained):
    host = Run.open(trained / "run")._host
    for name, system in found["systems"].items():
        file = trained / "run" / "evaluation" / f"predictions-{name.replace(':', '-')}.jsonl"
        scored = score_predictions(read_predictions(file, host.all("task")), host.all("task")).to_json()
        assert {task: of["metrics"] for task, of in system["tasks"].items()} == {
            task: of["metrics"] for task, of in scored["tasks"].items()
        }
    encoder = next(system for name, system in found["systems"].items() if name.startswith("encoder:"))
    assert encoder["tasks"]["ner"]["metrics"]["span_f1_strict"] == 1.0
    assert found["systems"]["dictionary"]["tasks"]["ner"]["metrics"]["span_f1_strict"] == 1.0
    compared = encoder["comparison"]["tasks"]["ner"]
    assert (compared["base"], compared["tuned"], compared["rows"]) == (1.0, 0.0, 9)
    assert compared["verdict"].startswith("worse than encoder:")


def test_seconds_and_cost_are_told_of_each_and_of_the_adapter(found):
    for system in [found["tuned"], *found["systems"].values()]:
        each = system["per_1000_rows"]
        assert each["seconds"] > 0
        if system.get("kind") != "simple":  # asked for without a price
            assert each["cost"] == pytest.approx(each["seconds"] / 3600 * 3.6)
    assert found["tuned"]["training_cost"] == pytest.approx(found["tuned"]["seconds"]["training"] / 1000)


def test_nothing_of_the_encoder_stays_in_the_run(found, trained):
    names = [path.relative_to(trained / "run").as_posix() for path in (trained / "run").rglob("*")]
    assert [name for name in names if name.endswith((".bin", ".pt", ".pkl")) and "checkpoints" not in name] == []
    weights = [name for name in names if name.endswith(".safetensors") and "checkpoints" not in name]
    assert weights == ["adapter/adapter_model.safetensors"]


def test_the_report_shows_them_beside_the_adapter(found, trained):
    page = Run.open(trained / "run").report().read_text()
    assert '<section id="baselines"><h2>Beside other systems</h2>' in page
    assert all(f">{name}</td>" in page for name in found["systems"])
    assert "Published figures" not in page


def test_shots_are_training_rows_of_the_same_source(found, trained):
    facts = found["systems"]["few-shot:2"]["facts"]
    asked = {p.example.row_id for p in read_predictions(trained / "run" / "evaluation" / "predictions-tuned.jsonl")}
    assert {source: len(ids) for source, ids in facts["row_ids"].items()} == {"ward": 2, "MedNLI": 2}
    assert not asked & {row_id for ids in facts["row_ids"].values() for row_id in ids}
    assert 0 < facts["mean_examples"] <= 2


def test_answers_to_other_rows_are_not_taken_for_the_adapters(copied):
    file = copied.path / "evaluation" / "predictions-tuned.jsonl"
    first, *others = file.read_text().splitlines()
    changed = json.loads(first) | {"gold": "case : O\n7 : O\nhas : O\nkelomia : B-ILL"}
    file.write_text("\n".join([json.dumps(changed), *others]) + "\n")
    told = []
    copied.baseline(simple=True, on_stage=told.append)
    assert "letting the tuned model answer, whose kept answers are to other rows" in told
    assert file.read_text().splitlines()[0] == first


def test_rows_that_are_no_longer_those_of_the_run_are_refused(trained, copied):
    data = trained / "rows.jsonl"
    before = data.read_text()
    try:
        data.write_text(before.replace("case 3 has", "ward 3 has").replace("case : O\\n3 :", "ward : O\\n3 :"))
        with pytest.raises(DataError, match="the training rows are no longer those of run"):
            copied.baseline(simple=True)
    finally:
        data.write_text(before)


def test_an_adopted_adapter_has_no_rows_to_learn_from(copied):
    copied._record = {**copied._record, "adopted": {}}
    with pytest.raises(DataError, match="trained elsewhere, on rows that are not known"):
        copied.baseline(simple=True)


def test_options_that_nothing_reads_are_refused(trained):
    run = Run.open(trained / "run")
    with pytest.raises(SpecError, match="no baseline is asked for"):
        run.baseline()
    with pytest.raises(SpecError, match=r"settings \(--set\) needs an encoder"):
        run.baseline(simple=True, settings=EncoderSpec(epochs=1))
    with pytest.raises(SpecError, match=r"max_length \(--max-length\) needs few_shot"):
        run.baseline(simple=True, max_length=64)
    with pytest.raises(SpecError, match="is no folder"):
        run.baseline("./nowhere")


def test_the_command_prints_one_object_and_refuses_unknown_settings(copied, capsys):
    assert command(["baseline", str(copied.path), "--simple", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["systems"]) >= {"dictionary", "majority", "prior"}
    assert command(["baseline", str(copied.path), "--simple"]) == 0
    shown = capsys.readouterr().out
    assert "dictionary: 9 rows left out that the dictionary system has no answer for" in shown
    assert command(["baseline", str(copied.path), "--encoder", "x/y", "--set", "epoch=3"]) == 2
    assert "--set epoch is no setting of an encoder" in capsys.readouterr().err
    assert command(["baseline", str(copied.path), "--encoder", "x/y", "--set", "epochs=-1"]) == 2


def test_published_figures_stand_only_beside_rows_of_the_size_of_one_official_split(trained):
    run = Run.open(trained / "run")
    kept = read_predictions(trained / "run" / "evaluation" / "predictions-tuned.jsonl", run._host.all("task"))
    first = next(p for p in kept if p.example.task == "ner")

    def beside(count, documents, source="anything"):
        names = [f"d{n % documents}" if documents else "" for n in range(count)]
        many = [replace(first.example, source=source, document=name) for name in names]
        scored = score_predictions([replace(first, example=e) for e in many], run._host.all("task"), intervals=False)
        return published_beside(many, {"tuned": scored, "other": scored})

    test = beside(940, 0)
    assert {(one["set"], one["split"]) for one in test} == {("NCBI disease corpus", "test")}
    assert {one["system"] for one in test} >= {"BioBERT", "BioSelectTune"}
    for one in test:
        assert one["metric"] in ("paper_compatible", "span_f1_strict")
        assert one["own"]["tuned"] == one["own"]["other"] is not None
    assert len(beside(940, 100)) == len(test)
    assert beside(940, 99) == []  # as many rows, other documents
    assert beside(923, 100) == []  # the development rows, of which nothing is published
    assert beside(939, 0, source="NCBI-disease") == []  # a name proves nothing
    assert beside(4797, 500) == []  # no figure of both types together


def test_a_request_without_a_system_says_what_to_give(trained):
    run = Run.open(trained / "run")
    with pytest.raises(SpecError, match="--encoder, --few-shot, --simple"):
        BaselineRequest(run._folder, run._record, run.spec, run._host, lambda: run.loaded)
