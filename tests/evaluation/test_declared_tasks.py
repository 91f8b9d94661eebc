"""What a user says of sources is held against their rows: refused, told or honoured, and never passed over."""

import pytest

from medtune.errors import SpecValidationError
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import SourceSurvey
from medtune.evaluation.tasks import provide_tasks
from medtune.specs import TaskSpec

MASKED = "Is there a relation ?\n\n@GENE$ is seen in @DISEASE$ ."


def surveyed(predict_of, golds, *declared, question=MASKED, **facts):
    found = SourceSurvey(declared)
    found.take(predict_of("", gold, question=question, source="rel", **facts).example for gold in golds)
    return found


@pytest.mark.parametrize(
    "facts", [{"negative": ["non"]}, {"aliases": {"is caused by": "cause"}}], ids=["negative", "aliases"]
)
def test_a_negative_label_or_an_alias_of_no_declared_label_is_refused(facts):
    with pytest.raises(SpecValidationError, match=r"which is none of labels; those are 'causes', 'none'"):
        TaskSpec(source="rel", kind="relation", labels=["causes", "none"], **facts)
    TaskSpec(source="rel", kind="relation", labels=["causes", "None"], negative=["none"])


def test_labels_of_gold_answers_that_are_not_declared_are_told_with_their_rows(predict_of):
    spec = TaskSpec(source="rel", kind="relation", labels=["CPR:3", "CPR:4", "none"], negative=["none"])
    found = surveyed(predict_of, ["CPR:3", "CPR:4", "none"] * 6 + ["CPR:33"], spec)
    [finding] = found.findings()
    assert (finding.kind, finding.rows, finding.of) == ("undeclared_label", 1, 19)
    assert "CPR:33" not in finding.sentence  # one row's text
    assert found.contracts().members[0].known == "declared; its answers have 1 more"
    often = surveyed(predict_of, ["CPR:3", "none"] * 6 + ["CPR:33"] * 5, spec).findings()
    assert "'CPR:33'" in often[0].sentence
    assert surveyed(predict_of, ["CPR:3", "none"] * 6, spec).findings() == []


def test_a_set_with_a_label_that_is_not_declared_counts_as_one_row(predict_of):
    spec = TaskSpec(source="rel", kind="multi-label", labels=["fever", "rash"])
    found = surveyed(predict_of, ["fever; rash", "fever", "fever; nausea", "none"] * 3, spec, question="Symptoms ?")
    assert [(f.kind, f.rows, f.of) for f in found.findings()] == [("undeclared_label", 3, 12)]


def test_a_source_that_no_row_is_of_is_told(predict_of):
    found = surveyed(predict_of, ["yes", "no"] * 6, TaskSpec(source="rell", kind="relation"), TaskSpec())
    [finding] = found.findings()
    assert (finding.kind, finding.source) == ("declared_source", "rell")
    assert "'rel'" in finding.sentence


def test_a_task_that_a_formatter_gives_to_rows_of_another_kind_is_told(predict_of):
    found = surveyed(predict_of, ["yes", "no"] * 6, TaskSpec(source="rel", kind="classification"), task="relation")
    [finding] = found.findings()
    assert (finding.kind, finding.rows) == ("declared_kind", 12)
    assert surveyed(predict_of, ["yes"] * 6, TaskSpec(source="rel", kind="relation"), task="relation").findings() == []


def test_negative_labels_and_aliases_that_no_gold_answer_is_are_told(predict_of):
    spec = TaskSpec(source="rel", kind="relation", negative=["nein"], aliases={"caused by": "causes"})
    kinds = [f.sentence.split(",")[0] for f in surveyed(predict_of, ["yes", "no"] * 6, spec).findings()]
    assert kinds == ["tasks.negative names 'nein'", "tasks.aliases names 'causes'"]


@pytest.mark.parametrize(
    ("kind", "question"), [("relation", MASKED), ("classification", "Which ?"), ("multi-label", "Which ?")]
)
def test_a_user_may_say_that_no_label_is_negative(kind, question, predict_of):
    golds = ["causes", "none"] * 6

    def micro_f1(negative):
        spec = TaskSpec(source="rel", kind=kind, negative=negative)
        rows = [
            predict_of(gold if gold == "causes" else "causes", gold, question=question, source="rel") for gold in golds
        ]
        found = SourceSurvey([spec])
        found.take(row.example for row in rows)
        [contract] = found.contracts().members
        return contract.negative, score_predictions(rows, bind(provide_tasks(), found.contracts()))

    inferred, some = micro_f1(None)
    said, without = micro_f1([])
    assert inferred
    assert tuple(said) == ()
    task = kind if kind == "relation" else "classification"
    assert some.tasks[task].metrics["micro_f1"] == pytest.approx(
        2 / 3
    )  # the six of "causes" are found, and six too many
    assert without.tasks[task].metrics.get("micro_f1", 0.5) == pytest.approx(0.5)
    assert "macro_f1_positive" not in without.tasks[task].metrics


@pytest.mark.parametrize(
    ("kind", "golds", "answers", "known"),
    [
        ("relation", ["is caused by", "treats", "none"], ["causes", "treats", "None"], ("causes", "none", "treats")),
        ("classification", ["Is caused  by", "treats"], ["causes", "treats"], ("causes", "treats")),
        ("multi-label", ["is caused by; treats", "treats"], ["treats; causes", "treats"], ("causes", "treats")),
        ("inference", ["is caused by", "treats"], ["causes", "treats"], ("causes", "treats")),
    ],
)
@pytest.mark.parametrize("labels", [(), ("causes", "treats", "none")], ids=["told", "declared"])
def test_an_alias_stands_for_its_label_in_gold_answers_too(kind, golds, answers, known, labels, predict_of):
    spec = TaskSpec(source="rel", kind=kind, labels=labels, aliases={"is caused by": "causes"})
    rows = [predict_of(a, g, question=MASKED, source="rel") for a, g in zip(answers * 6, golds * 6, strict=True)]
    found = SourceSurvey([spec])
    found.take(row.example for row in rows)
    [contract] = found.contracts().members
    assert {*contract.labels} - {"None"} == {*known, *labels}
    assert found.findings() == []
    [score] = score_predictions(rows, bind(provide_tasks(), found.contracts())).tasks.values()
    assert (score.metrics["accuracy"], score.failures["invalid_answer"]) == (1, 0)


@pytest.mark.parametrize("labels", [["a", "b"], []], ids=["declared", "told"])
def test_an_alias_that_is_a_label_itself_is_refused(labels):
    with pytest.raises(SpecValidationError, match=r"aliases says that 'b' stands for 'a', but it is a label itself"):
        TaskSpec(source="rel", kind="relation", labels=labels, aliases={"b": "a", "c": "B"})
    TaskSpec(source="rel", kind="relation", labels=["None", "a"], aliases={"none": "None"})
