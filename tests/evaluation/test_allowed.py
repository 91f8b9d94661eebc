"""A question allows the labels of its source, its options, or yes, no and maybe, each written as its gold answer is."""

import pytest

from demo_base.generator import generate_rows
from medtune.evaluation.allowed import MOST_ALLOWED, allowed_answers
from medtune.evaluation.scoring import find_task
from medtune.evaluation.source_survey import survey
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import Example
from medtune.specs import TaskSpec

OPTIONS = "###Question: Pick one .\n###Options: A . iron B . zinc C . lead D . gold ."
LINES = "Which is it?\nA. iron\nB. zinc\nC. lead"


def generated():
    for row in generate_rows("validation", 40, 0):
        question = f"{row['instruction']}\n\n{row['input']}"
        yield Example(
            [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}], row["source"]
        )


@pytest.mark.parametrize("is_told", [False, True], ids=["by itself", "by its contract"])
def test_every_such_row_allows_its_gold_answer(is_told):
    tasks, seen, examples = provide_tasks(), set(), list(generated())
    contracts = survey(examples) if is_told else None
    for example in examples:
        task = find_task(example, tasks).name
        allowed = allowed_answers(Example(example.messages, example.source, task), contracts)
        gold = example.messages[-1]["content"]
        if task in ("nli", "relation", "qa"):
            seen.add(task)
            assert len(set(allowed)) == len(allowed) > 1
            assert any(gold.endswith(answer) for answer in allowed)
        else:
            assert allowed == ()
    assert seen == {"nli", "relation", "qa"}


def test_options_are_those_of_the_question(predict_of):
    gold = "###Answer: OPTION B IS CORRECT."
    for question in (OPTIONS, "###Question: Pick A. one\n###Options:\nA. iron\nB. zinc\nC. lead\nD. gold"):
        example = predict_of("", gold, question=question, task="qa").example
        assert allowed_answers(example) == tuple(f"###Answer: OPTION {letter} IS CORRECT." for letter in "ABCD")


@pytest.mark.parametrize(
    ("gold", "written"),
    [
        ("B", ("A", "B", "C")),
        ("(b)", ("(a)", "(b)", "(c)")),
        ("B. zinc", ("A. iron", "B. zinc", "C. lead")),
        ("Answer: (C) lead", ("Answer: (A) iron", "Answer: (B) zinc", "Answer: (C) lead")),
        ("zinc", ("iron", "zinc", "lead")),
        ("B, because it rusts not", ()),
    ],
)
def test_options_are_written_as_the_gold_answer_is(predict_of, gold, written):
    contracts = Contracts([TaskContract("s", "choice", "declared")])
    assert allowed_answers(predict_of("", gold, question=LINES, task="qa", source="s").example, contracts) == written


@pytest.mark.parametrize(
    ("gold", "written"),
    [
        ("###Answer: yes", ("###Answer: yes", "###Answer: no", "###Answer: maybe")),
        ("No", ("Yes", "No", "Maybe")),
        ("It rusts.\n### Answer: no", ("### Answer: yes", "### Answer: no", "### Answer: maybe")),
    ],
)
def test_decisions_are_written_as_the_gold_answer_is(predict_of, gold, written):
    assert allowed_answers(predict_of("", gold, task="qa").example) == written


def test_labels_are_those_that_the_source_was_declared_to_have(predict_of):
    declared = TaskSpec(
        source="notes", kind="relation", labels=("causes", "treats", "none"), aliases={"is caused by": "causes"}
    )
    rows = [predict_of("", gold, source="notes", task="relation") for gold in ("causes", "none", "is caused by")]
    contracts = survey([row.example for row in rows], [declared])
    assert [set(allowed_answers(row.example, contracts)) for row in rows] == [
        {"causes", "treats", "none"},
        {"causes", "treats", "none"},
        {"is caused by", "treats", "none"},
    ]
    assert allowed_answers(rows[0].example) == ()  # without a contract the labels are MedTuned's


def test_labels_of_any_source_are_told_from_its_gold_answers(predict_of):
    golds = [f"Label: {label}" for label in ("acute", "chronic", "acute", "unclear") * 5]
    rows = [predict_of("", gold, source="kinds", task="classification").example for gold in golds]
    contracts = survey([Example(row.messages, row.source) for row in rows])
    assert set(allowed_answers(rows[0], contracts)) == {"Label: acute", "Label: chronic", "Label: unclear"}


def test_open_questions_and_several_labels_allow_anything(predict_of):
    assert allowed_answers(predict_of("", "drink tea", task="qa").example) == ()
    several = Contracts([TaskContract("s", "multi-label", "declared", ("a", "b"))])
    assert allowed_answers(predict_of("", "a, b", task="classification", source="s").example, several) == ()
    codes = Contracts([TaskContract("s", "classification", "declared", tuple(map(str, range(MOST_ALLOWED + 1))))])
    assert allowed_answers(predict_of("", "7", task="classification", source="s").example, codes) == ()
