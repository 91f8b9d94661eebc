"""What a source is is told from all its gold answers, or asked for; never taken for a text in silence."""

import random

import pytest

from medtune.errors import InvalidValueError, SpecError
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import SourceSurvey, UndecidedTaskError, survey
from medtune.evaluation.task_contracts import TaskContract
from medtune.evaluation.tasks import provide_tasks
from medtune.specfile import validate_spec
from medtune.specs import TaskSpec


def examples_of(predict_of, golds, question="Label this text .", source="own", **facts):
    return [predict_of("", gold, question=question, source=source, **facts).example for gold in golds]


def told(predict_of, golds, **facts):
    return survey(examples_of(predict_of, golds, **facts)).members


SENTENCES = [f"The patient number {i} should rest at home and drink enough water." for i in range(20)]
MASKED = "Is there a relation ?\n\n@GENE$ is seen in @DISEASE$ ."
PREMISE = "Premise: the man sleeps\nHypothesis: the man rests"
OPTIONS = "Which one ?\nA. left\nB. right"


@pytest.mark.parametrize(
    ("golds", "question", "kind", "labels", "negative"),
    [
        (["Positive", "Negative", "Neutral"] * 4, "Sentiment ?", "classification", ("Negative", "Neutral", "Positive"), ()),
        (["sick", "well"] * 8, "Which ?", "classification", ("sick", "well"), ()),
        (["true", "false"] * 8, "Which ?", "classification", ("false", "true"), ("false",)),
        (["J18.9", "I10", "E11.9"], "Code this .", "classification", ("E11.9", "I10", "J18.9"), ()),
        (["a; b", "a", "b; c", "c", "a; c", "none"] * 4, "Topics ?", "multi-label", ("None", "a", "b", "c"), ("None",)),
        (["yes", "no"] * 8, MASKED, "relation", ("no", "yes"), ("no",)),
        (["activator", "inhibitor", "none"] * 4, MASKED, "relation", ("activator", "inhibitor", "none"), ("none",)),
        (["entailment", "neutral"] * 6, PREMISE, "inference", ("entailment", "neutral"), ()),
        (["Entailment", "Neutral", "Contradiction"] * 2, "Which ?", "inference", ("Contradiction", "Entailment", "Neutral"), ()),
        (["yes", "no", "maybe"], "Is it so ?", "decision", (), ()),
        (["A", "b", "B. right"], OPTIONS, "choice", (), ()),
        (["yes", "no", "A", "B"], OPTIONS, "question", (), ()),
        (['{"dose": 1}', '["x"]'], "As JSON .", "extraction", (), ()),
        (["pulse : 80\ntemperature : 38", "pulse : 60"] * 3, "Vitals ?", "extraction", (), ()),
        (SENTENCES, "What should the patient do ?", "free-text", (), ()),
        ([SENTENCES[0]] * 12, "What should the patient do ?", "free-text", (), ()),
    ],
)  # fmt: skip
def test_a_source_is_told_by_its_answers(golds, question, kind, labels, negative, predict_of):
    [found] = told(predict_of, golds, question=question)
    assert (found.kind, tuple(found.labels), tuple(found.negative)) == (kind, labels, negative)


def test_lists_copied_from_their_questions_are_entities(predict_of):
    rows = [
        (f"List the drugs .\n\nShe took drug{i}, rest and drug{i + 1} .", f"drug{i}; drug{i + 1}") for i in range(9)
    ]
    found = survey([predict_of("", gold, question=question, source="own").example for question, gold in rows])
    assert [(c.kind, c.separator) for c in found.members] == [("extraction", ";")]


def test_the_name_of_a_known_source_is_a_hint_only(predict_of):
    lists = told(predict_of, ["ataxia; fever"] * 12, question="List them .\n\nfever with ataxia", source="NCBI-disease")
    assert [c.kind for c in lists] == ["extraction"]
    tags = told(predict_of, ["a : B\nb : O", "c : O\nd : B"], question="Tag .\n\na b", source="NCBI-disease")
    assert [(c.kind, c.known) for c in tags] == [("tagging", "known source")]


def test_tokens_out_of_order_are_no_tagging(predict_of):
    [found] = told(predict_of, ["bowel : B\nheart : I"] * 10, question="List : grade B bowel, class I heart")
    assert found.kind == "extraction"


def test_sets_in_few_combinations_are_asked_for_and_names_with_commas_are_labels(predict_of):
    sets = ["cough; fever", "cough; fever; rash", "fever", "fever; nausea", "fever; pain; rash", "rash"]
    with pytest.raises(UndecidedTaskError, match=r'joined by .*kind = "multi-label"'):
        told(predict_of, sets * 4)
    names = ["diabetes, type 1", "diabetes, type 2", "hypertension, essential", "hypertension, secondary"]
    assert [contract.kind for contract in told(predict_of, names * 5)] == ["classification"]


@pytest.mark.parametrize(
    "golds",
    [["aspirin", "warfarin"], [f"drug {i // 2}" for i in range(20)], [f"name {i}" for i in range(30)], ["flu"] * 12],
)
def test_what_cannot_be_told_is_asked_for_with_the_setting(golds, predict_of):
    with pytest.raises(UndecidedTaskError, match=r'tasks = \[\{ source = "own", kind = ') as caught:
        told(predict_of, golds)
    assert not any(gold in str(caught.value) for gold in golds)
    found = survey(examples_of(predict_of, golds), strict=False).members
    assert [(c.kind, c.known.startswith("not told")) for c in found] == [("question", True)]


def test_rows_of_no_source_are_told_by_shape(predict_of):
    rows = examples_of(predict_of, ["yes", "no"] * 8, question=MASKED, source="")
    rows += examples_of(predict_of, ['{"a": 1}'] * 8, source="") + examples_of(predict_of, SENTENCES, source="")
    found = survey(rows)
    assert {(c.kind, c.shape) for c in found.members} == {
        ("relation", "relation"),
        ("extraction", "json"),
        ("free-text", "rest"),
    }
    assert [found.task_of(row) for row in (rows[0], rows[16], rows[-1])] == ["relation", "extraction", "qa"]


def test_what_the_user_says_goes_before_what_the_answers_show(tasks, predict_of):
    spec = TaskSpec(
        source="own", kind="relation", labels=("up", "down", "same"), negative=("same",), aliases={"rises": "up"}
    )
    rows = [
        predict_of(*pair, source="own") for pair in (("rises", "up"), ("Same", "same"), ("same", "down"), ("?", "up"))
    ]
    contracts = survey([row.example for row in rows], [spec])
    score = score_predictions(rows, bind(tasks, contracts)).tasks["relation"]
    assert (score.metrics["accuracy"], score.metrics["micro_f1"]) == (0.5, pytest.approx(2 / 4))
    assert score.failures["invalid_answer"] == 0.25


def test_a_table_for_every_source_stands_behind_one_of_its_own(predict_of):
    survey_of = SourceSurvey([TaskSpec(kind="free-text"), TaskSpec(source="a", kind="decision")])
    survey_of.take(examples_of(predict_of, ["yes", "no"], source="a") + examples_of(predict_of, ["x", "y"], source="b"))
    assert {"a": "decision", "b": "free-text"}.items() <= {
        c.source: c.kind for c in survey_of.contracts().members
    }.items()


def test_a_metric_of_ones_own_stands_for_the_source(tasks, predict_of):
    rows = [predict_of("yes", "yes", source="s") for _ in range(12)]
    asked = survey([row.example for row in rows], [TaskSpec(source="s", metric="decision_macro_f1")])
    assert score_predictions(rows, bind(tasks, asked)).tasks["qa"].primary == "decision_macro_f1"
    wrong = survey([row.example for row in rows], [TaskSpec(source="s", metric="bleu")])
    with pytest.raises(SpecError, match=r"'bleu' is no figure of these rows; they have accuracy"):
        score_predictions(rows, bind(tasks, wrong))


def test_contracts_are_json_values_and_back(predict_of):
    [found] = told(predict_of, ["true", "false"] * 8)
    again = TaskContract.from_json(found.to_json())
    assert again.to_json() == found.to_json()


def test_settings_that_would_do_nothing_are_refused():
    with pytest.raises(InvalidValueError, match="labels is for kinds with labels"):
        validate_spec({"tasks": [{"source": "s", "kind": "free-text", "labels": ["a"]}]})
    with pytest.raises(InvalidValueError, match="tasks names source 's' twice"):
        validate_spec({"tasks": [{"source": "s"}, {"source": "s"}]})
    assert validate_spec({"tasks": [{"source": "s", "kind": "relation", "labels": "infer"}]}).tasks[0].labels == ()


def test_closed_sets_are_told_whatever_their_labels(predict_of):
    rng = random.Random(2)
    for _ in range(60):
        labels = [f"{rng.choice(['low', 'mid', 'high'])} {rng.randrange(10**5)}" for _ in range(rng.randint(2, 8))]
        golds = [rng.choice(labels) for _ in range(40)] + labels * 3
        [found] = told(predict_of, golds)
        assert (found.kind, set(found.labels)) == ("classification", set(labels))


@pytest.mark.parametrize("sign", ["\u3001", "\uff0c", "\uff1b", ";", "|", "\n"])
def test_labels_are_parted_by_chinese_marks_too(sign, predict_of):
    golds = [
        f"\u53d1\u70ed{sign}\u54b3\u55fd",
        "\u54b3\u55fd",
        "\u53d1\u70ed",
        f"\u54b3\u55fd{sign}\u76ae\u75b9",
        f"\u76ae\u75b9{sign}\u53d1\u70ed",
    ] * 6
    [found] = told(predict_of, golds)
    assert (found.kind, found.separator, {*found.labels}) == (
        "multi-label",
        sign,
        {"None", "\u53d1\u70ed", "\u54b3\u55fd", "\u76ae\u75b9"},
    )
    [declared] = survey(examples_of(predict_of, golds), [TaskSpec(source="own", kind="multi-label")]).members
    assert (declared.separator, declared.labels) == (sign, found.labels)
    turned = [predict_of(sign.join(reversed(g.split(sign))), g, question="Which ?", source="own") for g in golds]
    [score] = score_predictions(turned, bind(provide_tasks(), survey(row.example for row in turned))).tasks.values()
    assert (score.metrics["accuracy"], score.metrics["set_f1"]) == (1, 1)


@pytest.mark.parametrize("sign", ["\u3001", "\uff0c", "\uff1b", ";", "|", "\n", ", ", ","])
def test_declared_lists_are_parted_by_chinese_marks_too(sign, predict_of):
    golds = [f"\u963f\u53f8\u5339\u6797{sign}\u809d\u7d20", "\u809d\u7d20", "\u65e0"] * 4
    rows = [predict_of(sign.join(reversed(g.split(sign))), g, question="List .", source="own") for g in golds]
    found = survey([row.example for row in rows], [TaskSpec(source="own", kind="extraction")])
    [score] = score_predictions(rows, bind(provide_tasks(), found)).tasks.values()
    assert (score.metrics["item_f1"], score.metrics["accuracy"]) == (1, 1)


def test_a_chinese_text_that_quotes_its_question_is_no_list(predict_of):
    text = "\u60a3\u8005\u53d1\u70ed\u4e09\u5929\uff0c\u54b3\u55fd\u4e24\u5929\uff0c\u65e0\u8179\u75db"
    rows = [predict_of("", f"{text}{i}", question=f"\u6458\u8981 {text}{i}", source="own").example for i in range(12)]
    assert [found.kind for found in survey(rows).members] == ["free-text"]


@pytest.mark.parametrize(
    ("golds", "asked"),
    [
        (["fever; cough", "cough", "rash", "none"], True),
        (["fever | cough", "cough | rash", "pain"], True),
        (["\u53d1\u70ed\u3001\u54b3\u55fd", "\u54b3\u55fd", "\u76ae\u75b9"], True),
        (["fever, cough", "cough", "rash"], True),
        (["carcinoma, squamous", "carcinoma, small cell", "adenoma"], False),
        (["T1; N0", "benign", "none"], False),
    ],
)
def test_few_combinations_that_may_be_sets_are_asked_for(golds, asked, predict_of):
    if asked:
        with pytest.raises(UndecidedTaskError, match=r"kind = \"multi-label\""):
            told(predict_of, golds * 8)
    else:
        assert [found.kind for found in told(predict_of, golds * 8)] == ["classification"]


def test_one_answer_to_every_question_is_asked_for(predict_of):
    with pytest.raises(
        UndecidedTaskError, match=r"from 20 of them: all of them are the same, which may be a label or a text; say it"
    ):
        told(predict_of, ["disease"] * 20)
