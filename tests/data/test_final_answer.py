"""What of a generated text is the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.final_answer import FinalAnswer, final_answer

ANSWERS = {
    "<think>\n\n</think>\n\nNeutral": "Neutral",
    "<think>\nOption A? No.\n</think>\n\nB": "B",
    " \n<THINK>a</think>yes": "yes",
    "<thinking>a</thinking>\nyes": "yes",
    "<reasoning>a</reasoning><answer>yes</answer>": "yes",
    "<seed:think>a</seed:think>yes": "yes",
    "[THINK]a[/THINK]yes": "yes",
    "<|begin_of_thought|>a<|end_of_thought|>yes": "yes",
    "<think>a</think><think>b</think>yes": "yes",
    "It shrank.\n</think>\n\nyes": "yes",
    "finalNeutral": "Neutral",
    "finalyes": "yes",
    "final###Answer: B": "###Answer: B",
    "analysisThe user asks.assistantfinalNeutral": "Neutral",
    "analysisThe user.assistantcommentaryA call.assistantfinalB": "B",
    "assistantfinalyes": "yes",
    "<|channel|>final<|message|>Neutral<|return|>": "Neutral",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Neutral": "Neutral",
    "<|channel|>final <|constrain|>json<|message|>{}": "{}",
}


@pytest.mark.parametrize("text", ANSWERS)
def test_what_follows_the_reasoning_is_the_answer(text):
    assert final_answer(text) == FinalAnswer(ANSWERS[text])


@pytest.mark.parametrize(
    "text",
    ["<think>It shrank, but", "<think>", "[THINK]a", "analysisThe user asks", "<|channel|>analysis<|message|>Hm."],
)
def test_a_text_that_ends_within_its_reasoning_is_unfinished(text):
    assert final_answer(text) == FinalAnswer("", unfinished=True)


def test_a_prompt_that_opens_a_block_makes_a_text_without_its_end_unfinished():
    assert final_answer("It shrank, but", opened=True).unfinished
    assert final_answer("It shrank.</think>yes", opened=True) == FinalAnswer("yes")


@pytest.mark.parametrize(
    "text",
    [
        "Neutral", "", "finally it shrank", "final : O\nstage : B", "final-stage : B", "finalise it", "Final diagnosis: flu",
        "analysis of the blood", "analysis : O", "a < b and c > d", "3 <think> 4", "p<0.05", "The final answer is B.",
    ],
)  # fmt: skip
def test_a_text_without_reasoning_is_the_answer_as_it_is(text):
    assert final_answer(text) == FinalAnswer(text)


def test_a_word_with_which_the_gold_answer_begins_is_no_channel():
    assert final_answer("finalX : O", gold="finalX : B").text == "finalX : O"
    assert final_answer("finalX : O", gold="B").text == "X : O"


@given(st.text(st.sampled_from("ab <>/\n:"), max_size=30), st.text(st.sampled_from("xyz :\n"), min_size=1, max_size=20))
def test_any_block_is_taken_off_and_taking_off_twice_changes_nothing(reasoning, answer):
    found = final_answer(f"<think>{reasoning}</think>\n{answer}")
    assert found.text == answer.strip()
    assert final_answer(found.text) == found
