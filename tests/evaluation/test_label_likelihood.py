"""Questions with allowed answers are scored by free, constrained and most probable ones, over the same rows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.allowed import allowed_answers
from medtune.evaluation.label_likelihood import greedy_choice, score_label_likelihood
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import EncodedExample

END = 99


def encode(examples):
    """Spell a question as its length and an answer as its characters, an unsupervised id, and an end."""
    rows = []
    for example in examples:
        answer = [ord(c) for c in example.messages[-1]["content"]]
        prompt = prompt_ids(example.messages[:-1])
        rows.append(EncodedExample([*prompt, *answer, END, 7], [1, *[0] * (len(prompt) - 1), *[1] * len(answer), 1, 0]))
    return rows


def prompt_ids(messages):
    return [1, len(messages), 2]


def scored(predictions, favourite, seen=None):
    """Score with a model that gives each token of its favourite answer 0.9, and every other one 0.1."""

    def log_probabilities(requests):
        if seen is not None:
            seen.extend(requests)
        return [
            [[math.log(0.9 if bytes(ids[:-1]).decode() == favourite else 0.1)] * len(ids) for ids in request.answers]
            for request in requests
        ]

    return score_label_likelihood(
        predictions, prompt_ids=prompt_ids, encode=encode, log_probabilities=log_probabilities, tasks=provide_tasks()
    )


def test_the_three_ways_stand_side_by_side_over_the_same_rows(predict_of):
    predictions = [
        predict_of("Neutral", "Entailment", task="nli"),
        predict_of("I cannot say", "Entailment", task="nli"),
        predict_of("Neutral", "Neutral", task="nli"),
    ]
    found = scored(predictions, "Entailment")["nli"]
    assert found["rows"] == 3
    ways = [found[way]["metrics"]["accuracy"] for way in ("free", "constrained", "most_probable")]
    assert ways == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert found["calibration"]["accuracy"] == pytest.approx(2 / 3)
    assert found["calibration"]["confidence"] > 0.99


def test_an_answer_s_tokens_are_those_after_the_prompt_up_to_its_end(predict_of):
    seen = []
    prediction = predict_of("Neutral", "Entailment", task="nli")
    scored([prediction], "Neutral", seen)
    assert seen[0].input_ids == [1, 1, 2]
    assert [bytes(ids[:-1]).decode() for ids in seen[0].answers] == list(allowed_answers(prediction.example))
    assert all(ids[-1] == END for ids in seen[0].answers)


def test_questions_without_allowed_answers_are_passed_over(predict_of):
    assert scored([predict_of("tea", "drink tea", task="qa")], "tea") == {}


def test_a_gold_answer_that_is_not_allowed_counts_as_wrong_but_not_for_calibration(predict_of):
    predictions = [predict_of("Neutral", "Neutral", task="nli"), predict_of("Neutral", "Unclear", task="nli")]
    found = scored(predictions, "Neutral")["nli"]
    assert found["rows"] == 2
    assert sum(each["rows"] for each in found["calibration"]["bins"]) == 1


def test_constrained_decoding_chooses_token_by_token_and_not_the_whole():
    answers = [[1, 2, 9], [1, 3, 9], [4, 9]]
    scores = [[-0.5, -3.0, -0.1], [-0.5, -2.0, -0.1], [-1.0, -0.1]]
    assert greedy_choice(answers, scores) == 1


@given(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=8, unique_by=tuple), st.randoms())
def test_constrained_decoding_always_spells_an_allowed_answer(stems, draw):
    answers = [[*stem, END] for stem in stems]
    after = {}
    for ids in answers:
        for place in range(len(ids)):
            after.setdefault(tuple(ids[:place]), {})[ids[place]] = None
    for tokens in after.values():
        tokens.update((token, draw.uniform(-9, 0)) for token in tokens)
    scores = [[after[tuple(ids[:place])][ids[place]] for place in range(len(ids))] for ids in answers]
    spelled = []
    while tuple(spelled) in after:
        options = after[tuple(spelled)]
        spelled.append(max(options, key=options.get))
    assert answers[greedy_choice(answers, scores)] == spelled
