"""Predictions find their one task, and scores say what they are about."""

import json
import random
import resource
import subprocess
import sys

import pytest

from demo_base.generator import generate_rows, source_names_of
from medtune.errors import PluginError
from medtune.evaluation.scoring import find_task, score_predictions
from medtune.plugins.contracts import Example, TaskScore

EXPECTED = {
    "ner": {"demo-ner-disease", "demo-ner-chemical", "NCBI-disease", "BC5CDR-disease", "BC5CDR-chem", "BC2GM", "JNLPBA",
            "i2b2-2012"},
    "relation": {"demo-relation", "i2b2-2010"},
    "nli": {"demo-nli", "MedNLI"},
    "classification": {"demo-hallmarks", "hoc"},
    "qa": {"demo-qa", "chatdoctor", "pmc_llama"},
}  # fmt: skip
TASK_OF = {source: task for task, sources in EXPECTED.items() for source in sources}


class Letters:
    """A task of another package, without counts per row."""

    name = "letters"

    def matches(self, example):
        return example.source == "letters"

    def max_new_tokens(self, example, prompt_tokens):
        return 1

    def parse(self, text, example):
        return text

    def score(self, predictions):
        right = sum(p.text == p.example.messages[-1]["content"] for p in predictions)
        return TaskScore(len(predictions), "accuracy", {"accuracy": right / len(predictions)})


def examples_of(names, rows, *, with_source):
    for row in generate_rows("validation", rows, 0, names):
        question = f"{row['instruction']}\n\n{row['input']}"
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]
        yield row["source"], Example(messages, source=row["source"] if with_source else "")


@pytest.mark.parametrize("names", ["demo", "medtuned"])
@pytest.mark.parametrize("with_source", [True, False])
def test_every_row_belongs_to_exactly_one_task_by_its_source_or_its_shape(names, with_source, tasks):
    seen = set()
    for source, example in examples_of(names, 60, with_source=with_source):
        assert [task.name for task in tasks if task.matches(example)] == [TASK_OF[source]], source
        seen.add(source)
    assert seen == set(source_names_of(names))


def test_a_known_source_decides_whatever_its_case_and_shape(tasks, predict_of):
    assert find_task(predict_of("", "whatever", source="mednli").example, tasks).name == "nli"
    assert find_task(predict_of("", "x : O", source="BC2GM").example, tasks).name == "ner"


def test_a_short_answer_with_a_colon_is_no_tagging(tasks, predict_of):
    example = predict_of("", "Answer : B", question="Which option is right ?").example
    assert find_task(example, tasks).name == "qa"


def test_the_task_of_the_example_decides_first(tasks, predict_of):
    assert find_task(predict_of("", "Neutral", task="qa", source="MedNLI").example, tasks).name == "qa"
    assert find_task(predict_of("", "Neutral", task="unheard-of").example, tasks) is None


def test_a_task_of_a_plugin_goes_before_medtunes_own(tasks, predict_of):
    assert find_task(predict_of("", "x", source="letters").example, [*tasks, Letters()]).name == "letters"


def test_two_plugins_that_claim_a_row_are_named(tasks, predict_of):
    class Others(Letters):
        name = "others"

    example = predict_of("", "secret", source="letters", row_id="file.jsonl:7").example
    with pytest.raises(PluginError, match=r"'letters' and 'others' both claim row 'file.jsonl:7'") as caught:
        find_task(example, [*tasks, Letters(), Others()])
    assert "secret" not in str(caught.value)


def test_an_example_without_an_answer_is_not_scored(tasks):
    example = Example([{"role": "user", "content": "hello"}])
    assert find_task(example, tasks) is None


def test_figures_come_per_task_and_per_source(tasks, predict_of):
    rows = [predict_of("Neutral", "Neutral", source="one", task="nli") for _ in range(6)]
    rows += [predict_of("Neutral", "Entailment", source="two", task="nli") for _ in range(6)]
    rows += [predict_of("a : B", "a : B", task="ner")]
    evaluation = score_predictions(rows, tasks)
    assert evaluation.tasks["nli"].metrics["accuracy"] == 0.5
    assert evaluation.sources["one"]["nli"].metrics["accuracy"] == 1
    assert evaluation.sources["two"]["nli"].metrics["accuracy"] == 0
    assert set(evaluation.sources) == {"one", "two"}
    assert evaluation.macro_score == pytest.approx((0.5 + 1) / 2)
    low, high = evaluation.tasks["nli"].intervals["accuracy"]
    assert 0 < low < 0.5 < high < 1


def test_a_source_is_scored_as_if_it_were_alone(tasks):
    rng, rows = random.Random(1), []
    from medtune.plugins.contracts import Prediction

    for source, example in examples_of("medtuned", 20, with_source=True):
        gold = example.messages[-1]["content"]
        text = (
            gold if rng.random() < 0.5 else gold.replace(" : B", " : O").replace("TrAP", "PIP")[: rng.randint(0, 200)]
        )
        rows.append((source, Prediction(example, text)))
    together = score_predictions([p for _s, p in rows], tasks)
    for source in source_names_of("medtuned"):
        alone = score_predictions([p for s, p in rows if s == source], tasks, intervals=False)
        task = TASK_OF[source]
        assert together.sources[source][task].metrics == pytest.approx(alone.tasks[task].metrics)
        assert together.sources[source][task].failures == pytest.approx(alone.tasks[task].failures)


def test_rows_that_also_stand_in_training_are_left_out_of_a_second_score(tasks, predict_of):
    rows = [predict_of("Neutral" if i < 5 else "no", "Neutral", task="nli", row_id=f"r{i}") for i in range(10)]
    evaluation = score_predictions(rows, tasks, overlapping=[f"r{i}" for i in range(5)])
    assert evaluation.tasks["nli"].metrics["accuracy"] == 0.5
    assert evaluation.without_overlap["nli"].metrics["accuracy"] == 0
    assert evaluation.without_overlap["nli"].rows == 5
    assert evaluation.to_json()["without_overlap"]["nli"]["rows"] == 5
    assert not score_predictions(rows, tasks, overlapping=["elsewhere"]).without_overlap


def test_documents_widen_intervals(tasks, predict_of):
    rows = [
        predict_of("Neutral" if (i // 10) % 2 else "no", "Neutral", task="nli", document=f"note {i // 10}")
        for i in range(200)
    ]
    alone = [predict_of(p.text, "Neutral", task="nli") for p in rows]
    widths = [
        high - low
        for low, high in (score_predictions(r, tasks).tasks["nli"].intervals["accuracy"] for r in (rows, alone))
    ]
    assert widths[0] > 2 * widths[1]


def test_what_belongs_to_no_task_is_counted_and_shown(tasks, predict_of):
    unknown = predict_of("x", "y", task="unheard-of")
    seen = []
    evaluation = score_predictions([unknown, predict_of("a", "b")], tasks, on_unmatched=seen.append)
    assert evaluation.unmatched == 1
    assert seen == [unknown]


def test_a_task_without_counts_per_row_is_scored_without_intervals(tasks, predict_of):
    evaluation = score_predictions([predict_of("a", "a", source="letters")], [*tasks, Letters()])
    assert evaluation.tasks["letters"].metrics == {"accuracy": 1}
    assert evaluation.tasks["letters"].intervals == {}
    assert evaluation.sources["letters"]["letters"].rows == 1


def test_scores_are_json_values(tasks, predict_of):
    rows = [predict_of("", "yes", task="qa"), predict_of("tea", "drink tea", task="qa", source="s")]
    values = score_predictions(rows, tasks).to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values["tasks"]["qa"]) >= {"rows", "metrics", "intervals", "failures"}
    assert set(values) == {
        "tasks", "sources", "unmatched", "macro_score", "over_sources", "contracts", "warnings"
    }  # fmt: skip
    assert values["sources"]["s"]["qa"]["rows"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_scoring_seven_thousand_predictions_takes_a_tenth_of_the_budget(tmp_path):
    """The budget is 20 s of CPU and 500 MB for 70,000; this is a tenth, plus what starting Python and a busy machine take."""
    rng, path = random.Random(0), tmp_path / "predictions.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in generate_rows("validation", 637, 0, "medtuned", "medtuned"):
            gold = row["output"]
            cut = gold if rng.random() < 0.5 else gold[: rng.randrange(len(gold))]
            record = {"task": TASK_OF[row["source"]], "source": row["source"], "input": row["input"]}
            file.write(json.dumps({**record, "gold": gold, "prediction": cut.replace(": I", ": O")}) + "\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    code = (
        "import re, sys; from medtune.cli.app import run; code = run(['score', sys.argv[1], '--json']);"
        "loaded = sorted({'torch', 'transformers', 'datasets', 'pandas', 'sklearn'} & set(sys.modules));"
        "status = open('/proc/self/status').read();"  # ru_maxrss would hold the peak of the process that started us
        "print(code, re.search(r'VmHWM:\\s+(\\d+)', status)[1], *loaded, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    code, peak_kib, *heavy = done.stderr.split()[-10:]
    assert (code, heavy) == ("0", [])
    assert sum(task["rows"] for task in json.loads(done.stdout)["tasks"].values()) == 7007
    assert int(peak_kib) < 200 * 1024
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 9  # 3 to 4 on an idle machine
