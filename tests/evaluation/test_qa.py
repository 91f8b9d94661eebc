"""Answers to questions: options and decisions by accuracy, texts by ROUGE-L and token F1."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from medtune.evaluation.overlap import rouge_l, token_f1
from medtune.evaluation.source_survey import survey
from medtune.evaluation.tasks.qa import QaTask

CHOICE = "###Rationale: Iron is low, so A is out.\n\n###Answer: OPTION D IS CORRECT."
DECISION = "The trial was small.\n\n###Answer: yes"


@pytest.mark.parametrize(
    ("text", "option"),
    [("###Answer: OPTION D IS CORRECT.", "D"), (CHOICE, "D"), ("option d is correct", "D"), ("D", "D"), ("(D)", "D"),
     ("D.", "D"), ("D. aspirin", "D"), ("The answer is D.", "D"), ("Answer: (D)", "D"), ("**D**", "D"),
     ("###Rationale: OPTION A IS CORRECT would be rash.\n###Answer: OPTION D IS CORRECT.", "D"),
     ("###Answer: OPTION B IS CORRECT.", "B"), ("OPTION A IS CORRECT. OPTION D IS CORRECT.", None), ("", None),
     ("A patient with D should wait.", None), ("I do not know", None), ("d", "D"), ("Z", None)],
)  # fmt: skip
def test_the_one_option_that_is_named_counts(text, option, predict_of):
    prediction = predict_of(text, CHOICE)
    assert QaTask().parse(text, prediction.example).value == option
    score = QaTask().score([prediction])
    assert score.metrics["accuracy"] == score.metrics["choice_accuracy"] == (option == "D")
    assert score.failures["invalid_answer"] == (option is None)


@pytest.mark.parametrize(
    ("text", "decision"),
    [("###Answer: yes", "yes"), ("Yes.", "yes"), ("YES, because it helps", "yes"), ("It helps.\n\n###Answer: No", "no"),
     ("maybe", "maybe"), ("nobody knows", None), ("not at all", None), ("", None), ("It helps.", None)],
)  # fmt: skip
def test_the_decision_stands_first_behind_the_mark(text, decision, predict_of):
    prediction = predict_of(text, DECISION)
    assert QaTask().parse(text, prediction.example).value == decision
    assert QaTask().score([prediction]).metrics["decision_accuracy"] == (decision == "yes")


def test_an_answer_that_only_begins_with_a_letter_is_a_text(predict_of):
    gold = "###Answer: A interprets: B"
    answer = QaTask().parse(gold, predict_of("", gold).example)
    assert (answer.kind, answer.value) == ("text", "A interprets: B")


@pytest.mark.parametrize(
    ("gold", "kind"),
    [("D", "choice"), ("(C).", "choice"), ("d", "text"), ("K", "text"), ("Maybe.", "decision"), ("yes it is", "text")],
)
def test_a_gold_answer_says_what_kind_of_answer_is_asked_for(gold, kind, predict_of):
    answer = QaTask().parse(gold, predict_of("", gold).example)
    assert answer.kind == kind
    assert QaTask().score([predict_of(gold, gold)]).details["kinds"][kind] == 1


def test_the_figure_is_accuracy_where_any_question_has_one(predict_of):
    assert QaTask().tally([predict_of("D", CHOICE), predict_of("tea", "tea")]).primary == "accuracy"
    assert QaTask().tally([predict_of("tea", "tea")]).primary == "rouge_l"


def test_closed_and_open_questions_are_averaged_apart(predict_of):
    rows = [predict_of("D", CHOICE), predict_of("no", DECISION), predict_of("rest and drink", "rest and drink tea")]
    score = QaTask().score(rows)
    assert score.primary == "accuracy"
    assert score.metrics["accuracy"] == 0.5
    assert score.metrics["rouge_l"] == pytest.approx(6 / 7)
    assert score.details["kinds"] == {"choice": 1, "decision": 1, "text": 1}


def test_open_questions_alone_have_no_accuracy(predict_of):
    score = QaTask().score([predict_of("rest", "rest"), predict_of("", "rest")])
    assert score.primary == "rouge_l"
    assert score.metrics == {"rouge_l": 0.5, "token_f1": 0.5}
    assert score.failures["empty"] == score.failures["invalid_answer"] == 0.5


def test_rouge_l_agrees_with_the_rouge_score_package():
    scorer, rng = RougeScorer(["rougeL"], use_stemmer=False), random.Random(11)
    text = "The a patient, has (mild) fever of 38.5 C; give 500-mg aspirin and wait!"
    words = text.split()
    for _ in range(500):
        text, reference = (" ".join(rng.choices(words, k=rng.randint(0, 40))) for _ in range(2))
        expected = scorer.score(reference, text)["rougeL"].fmeasure
        assert rouge_l(text, reference) == pytest.approx(expected, abs=1e-12)


def test_token_f1_counts_shared_words_without_articles():
    assert token_f1("the fever and the cough", "A cough and fever, fever") == pytest.approx(2 * 3 / 7)
    assert token_f1("the", "an") == 1


@given(st.text(), st.text())
def test_overlap_is_symmetric_and_bounded(text, reference):
    for measure in (rouge_l, token_f1):
        assert measure(text, reference) == measure(reference, text)
        assert 0 <= measure(text, reference) <= 1


def test_words_of_any_script_count():
    assert rouge_l("жар и кашель", "кашель и жар") == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "text", ["yes or no", "Yes/no", "no or yes?", "Yes. No.", "yes and no", "Answer: yes or no", "either yes or no"]
)
@pytest.mark.parametrize("gold", ["yes", "no"])
def test_two_decisions_side_by_side_are_none(text, gold, predict_of):
    metrics = QaTask().score([predict_of(text, gold)]).metrics
    assert (metrics["decision_accuracy"], metrics["accuracy_lenient"]) == (0, 0)


@pytest.mark.parametrize("text", ["Yes, no fracture is seen", "Yes.", "yes, yes", "YES: it does, or so it seems"])
def test_one_decision_with_its_reason_is_read_strictly(text, predict_of):
    assert QaTask().score([predict_of(text, "yes")]).metrics["decision_accuracy"] == 1


@pytest.mark.parametrize("text", ["The answer is not yes", "I would not say yes", "yes is wrong", "a casino"])
@pytest.mark.parametrize("gold", ["yes", "no"])
def test_a_decision_that_is_denied_or_part_of_a_word_is_not_taken(text, gold, predict_of):
    metrics = QaTask().score([predict_of(text, gold)]).metrics
    assert metrics["accuracy_lenient"] == metrics["decision_accuracy"] == 0


def test_letters_joined_in_gold_answers_tell_a_choice(predict_of):
    golds = ["AC", "B", "BD", "A, C"] * 4
    rows = [
        predict_of(gold.replace(", ", ""), gold, question="Which ?\nA. w\nB. x\nC. y\nD. z", source="s")
        for gold in golds
    ]
    [found] = survey([row.example for row in rows]).members
    assert found.kind == "choice"
    assert QaTask().score(rows).metrics["choice_accuracy"] == 1
