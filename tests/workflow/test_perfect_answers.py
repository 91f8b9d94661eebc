"""The check of perfect answers finds what would make a right answer count as wrong, and lets good rows pass."""

import json
import sys
from pathlib import Path

import pytest
from tokenizers import normalizers

from medtune import DataSpec, EvalSpec, MedTuner, RunSpec, TrainSpec
from medtune.data.encode import Encoder
from medtune.data.prepare import prepare
from medtune.data.samples import Sample
from medtune.errors import DataError
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import Example, TaskScore
from medtune.plugins.host import create_host
from medtune.workflow.perfect_answers import PerfectAnswers

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from chat_templates import TEMPLATES, make_tokenizer

THINKING = TEMPLATES["chatml"].replace(
    "+ m['content']", "+ ('<think>\n\n</think>\n\n' if m['role'] == 'assistant' else '') + m['content']"
)
CHANNELS = TEMPLATES["chatml"].replace(
    "+ m['content']", "+ ('<|channel|>final<|message|>' if m['role'] == 'assistant' else '') + m['content']"
)
IOB2 = "Aspirin : B\nhelps : O\nWard : B\nSeven : I"
IOB1 = "Aspirin : I\nhelps : O\nWard : I\nSeven : I"


def example(answer, task=None, source="", question="Label.\n\nAspirin helps Ward Seven"):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Example(turns, source=source, task=task, row_id="r")


GOOD = [
    example(IOB2),
    example("Aspirin : O\nhelps : O\nWard : O\nSeven : O"),
    example("Entailment", question="Sentence 1: a\nSentence 2: b"),
    example("No Relations", task="relation"),
    example("TrAP", task="relation"),
    example("None", task="classification"),
    example("Resisting cell death (CD), Inducing angiogenesis (A)", task="classification"),
    example("###Answer: OPTION B IS CORRECT."),
    example("Because.\n\n###Answer: maybe"),
    example("Take it twice a day."),
    example("每天两次。"),
    example("<think>It shrank.</think>yes"),
    example("— !", task="qa"),
]


@pytest.fixture(scope="module")
def encoder():
    return Encoder(make_tokenizer(TEMPLATES["starling"]))


def faults(encoder, *examples, checker=None):
    samples = [Sample(e, *next(encoder.encode_spans([e]))) for e in examples]
    return (checker or PerfectAnswers(provide_tasks())).faults(samples, encoder, every=True)


def test_good_rows_of_every_task_pass(encoder):
    assert faults(encoder, *GOOD) == [""] * len(GOOD)


@pytest.mark.parametrize("template", [THINKING, CHANNELS], ids=["think", "channels"])
def test_what_a_template_puts_before_an_answer_is_taken_off_and_found_where_it_is_not(template):
    tokenizer = make_tokenizer(template)
    tokenizer.add_tokens(["<|channel|>", "<|message|>"], special_tokens=True)
    row = example("Final diagnosis", task="qa")
    encoder = Encoder(tokenizer)
    assert encoder.lead.text
    assert faults(encoder, row) == [""]
    encoder.read = lambda completion, gold: completion  # what no reader takes off
    assert "does not score 1.0 as 'qa': tokenizer or chat template change it" in faults(encoder, row)[0]


def test_stop_ids_that_end_no_answer_or_occur_in_one_are_found(encoder):
    other = Encoder(encoder.tokenizer)
    other.stop_ids = (encoder.tokenizer.convert_tokens_to_ids("</s>"),)
    assert "no end that generation would stop at" in faults(other, GOOD[0])[0]
    other.stop_ids = (*encoder.stop_ids, *encoder.tokenizer("\n", add_special_tokens=False)["input_ids"])
    assert "tokenizer or chat template change it" in faults(other, GOOD[0])[0]
    assert faults(other, example("Take it twice a day.")) == [""]


@pytest.mark.parametrize(
    ("normalizer", "answer"),
    [(normalizers.NFKC(), "m\u00b2 : B\nhelps : O"), (normalizers.Replace("\t", ""), "ab\tcd : B\nhelps : O")],
    ids=["NFKC", "tabs"],
)
def test_a_tokenizer_that_changes_text_is_found(normalizer, answer):
    tokenizer = make_tokenizer(TEMPLATES["starling"])
    tokenizer.backend_tokenizer.normalizer = normalizer
    row = example(answer, task="ner")
    assert "tokenizer or chat template change it" in faults(Encoder(tokenizer), row)[0]
    assert faults(Encoder(make_tokenizer(TEMPLATES["starling"])), row) == [""]


def test_accents_in_the_normal_form_of_the_tokenizer_are_the_same_accents():
    tokenizer = make_tokenizer(TEMPLATES["starling"])
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    assert faults(Encoder(tokenizer), example("a\u0301gua : B\nhelps : O", task="ner")) == [""]


@pytest.mark.parametrize(
    ("answer", "task"),
    [
        ("Aspirin = DRUG\nhelps = none", "ner"),
        ("Aspirin : DRUG\nhelps : O", "ner"),
        ("Resisting cell death (CD); Inducing angiogenesis (A), None", "classification"),
        ("OPTION A IS CORRECT or OPTION B IS CORRECT", "qa"),
    ],
)
def test_a_gold_answer_that_its_task_cannot_read_is_found(encoder, answer, task):
    assert f"its gold answer does not score 1.0 as '{task}'" in faults(encoder, example(answer, task))[0]


def test_a_source_in_iob1_passes_and_a_row_in_another_scheme_than_its_source_does_not(encoder):
    checker = PerfectAnswers(provide_tasks())
    old, new = example(IOB1, source="old"), example(IOB2, source="new")
    assert faults(encoder, *[old] * 4, *[new] * 4, checker=checker) == [""] * 8
    assert checker.found()["iob1_sources"] == ["old"]
    swapped = example(IOB2, source="old"), example(IOB1, source="new")
    assert all("in another scheme" in fault for fault in faults(encoder, *swapped, checker=checker))


def test_a_task_of_a_plugin_is_asked_itself(encoder):
    class Own:
        name = "own"

        def matches(self, _example):
            return True

        def score(self, predictions):
            return TaskScore(1, "hits", {"hits": float(predictions[0].text == "Bravo")})

    checker = PerfectAnswers([Own()])
    changed = Encoder(encoder.tokenizer)
    assert faults(changed, example("Alpha"), example("Bravo"), checker=checker) == ["", ""]  # gold as it is
    changed.read = lambda completion, gold: type(completion)(
        completion.token_ids, completion.text + "!", truncated=False
    )
    assert "as 'own'" in faults(changed, example("Alpha"), checker=checker)[0]


def spec_of(**data):
    return RunSpec(
        data=DataSpec(source="rows", validation_fraction=0.1, **data), train=TrainSpec(max_length=128),
        eval=EvalSpec(rows_per_source=50),
    )  # fmt: skip


def rows_of(good, bad):
    tagged = {"instruction": "Label.", "input": "Aspirin helps", "source": "ward"}
    rows = [
        {**tagged, "input": f"Aspirin helps {n}", "output": f"Aspirin : B\nhelps : O\n{n} : O"} for n in range(good)
    ]
    broken = [
        {**tagged, "source": "NCBI-disease", "input": f"Fever {n}", "output": f"Fever = B\n{n} = O"} for n in range(bad)
    ]
    return rows + broken


def test_training_does_not_start_above_the_limit_and_says_why_by_source():
    tokenizer, host = make_tokenizer(TEMPLATES["starling"]), create_host(autoload=False)
    with pytest.raises(DataError, match=r"9 of 9 training rows of source 'NCBI-disease': its gold answer") as caught:
        prepare(spec_of(), host, tokenizer, rows=rows_of(60, 10), checker=PerfectAnswers(host.all("task")))
    assert "Fever" not in str(caught.value)


def test_a_few_such_rows_go_to_the_quarantine_and_are_counted(tmp_path):
    tokenizer, host = make_tokenizer(TEMPLATES["starling"]), create_host(autoload=False)
    spec = spec_of(max_quarantined=0.2)
    place = tmp_path / "quarantine.jsonl"
    checker = PerfectAnswers(host.all("task"))
    found = prepare(spec, host, tokenizer, rows=rows_of(60, 10), checker=checker, quarantine_path=place)
    report = found.report
    assert (report.quarantined, report.perfect_answers["failed"], report.perfect_answers["checked"]) == (10, 10, 70)
    assert set(report.perfect_answers["kinds"]) == {"NCBI-disease"}
    assert report.rows + len(found.validation) == 60
    assert all(e.source == "ward" for e in found.validation)
    assert len(place.read_text().splitlines()) == 10
    assert "Fever" not in place.read_text()


def test_the_first_rows_of_a_source_are_looked_at_then_some_and_all_once_one_has_failed(encoder):
    checker = PerfectAnswers(provide_tasks())
    good, bad = example("Take it."), example("Aspirin = B", task="ner")
    for count, e in ((1000, good), (150, bad)):
        sample = Sample(e, *next(encoder.encode_spans([e])))
        checker.faults([sample] * count, encoder, every=False)
    assert checker.found()["checked"] == 200 + 8 + 1


def test_preparing_with_a_check_is_not_found_as_prepared_without(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "a?", "answer": "b"}\n' * 20)
    host, tokenizer = create_host(autoload=False), make_tokenizer(TEMPLATES["starling"])
    spec = RunSpec(data=DataSpec(source=str(file)), train=TrainSpec(max_length=128))
    prepare(spec, host, tokenizer)
    checked = [prepare(spec, host, tokenizer, checker=PerfectAnswers(host.all("task"))).report for _ in range(2)]
    assert [report.from_cache for report in checked] == [False, True]
    assert checked[0].perfect_answers == checked[1].perfect_answers != {}


def test_plan_preview_and_training_prepare_with_the_same_check(tmp_path, base):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "a?", "answer": "b"}\n' * 20)
    tuner = MedTuner.from_defaults(
        model=str(base), data=str(file), quant={"scheme": "none"}, output_dir=str(tmp_path / "run")
    )
    assert tuner.plan().data["perfect_answers"]["checked"] == 20
    assert tuner.inspect(1).report.from_cache


def tagged(scheme, first, count):
    tags = {"IOB1": "OIIO", "IOB2": "OBIO"}[scheme]
    for n in range(first, first + count):
        words = ["took", "aspirin", "tablets", f"{n}"]
        lines = "\n".join(f"{word} : {tag}" for word, tag in zip(words, tags, strict=True))
        yield {"instruction": "Tag the drugs.", "input": " ".join(words), "output": lines}


@pytest.mark.parametrize("limit", [0.01, 0.9])
@pytest.mark.parametrize("learned", ["IOB1", "IOB2"])
def test_the_split_whose_tags_are_in_the_other_scheme_is_named_whatever_is_tolerated(tmp_path, learned, limit):
    scored = {"IOB1": "IOB2", "IOB2": "IOB1"}[learned]
    for name, scheme, first, count in (("learned", learned, 0, 250), ("scored", scored, 900, 30)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, tagged(scheme, first, count))), "utf-8")
    data = DataSpec(
        source=str(tmp_path / "learned.jsonl"),
        validation=str(tmp_path / "scored.jsonl"),
        max_quarantined=limit,
        cache=False,
    )
    host, tokenizer = create_host(autoload=False), make_tokenizer(TEMPLATES["starling"])
    inside, begun = ("training", "validation") if learned == "IOB1" else ("validation", "training")
    with pytest.raises(DataError, match=rf"the {inside} rows are tagged in IOB1 .* and the {begun} rows in IOB2"):
        prepare(RunSpec(data=data), host, tokenizer, checker=PerfectAnswers(host.all("task")))
