"""Drafts follow the form of an answer, learn from answers, and end where they do not pay."""

import pytest

from medtune.accel.decode.drafting import Drafter, DraftMemory
from medtune.plugins.contracts import Draft, GenerationRequest

COLON, END, LINE, OUTSIDE, BEGINS, OF_A_KIND = 1, 2, 3, 4, 5, 6
FORM = Draft([[10, COLON], [LINE, 11, COLON], [LINE, 12, COLON], [END]], [[OUTSIDE]])


def drafter(memory=None, prompt=(20, 21), limit=100, draft=FORM):
    return Drafter(GenerationRequest(prompt, limit, draft), memory or DraftMemory())


def test_a_draft_is_what_is_left_of_the_form_with_the_first_choice_in_its_places():
    found = drafter()
    whole = [10, COLON, OUTSIDE, LINE, 11, COLON, OUTSIDE, LINE, 12, COLON, OUTSIDE, END]
    assert found.propose(20) == whole
    for token, left in zip(whole, range(len(whole) - 1, -1, -1), strict=True):
        found.take([token])
        assert found.propose(20) == whole[len(whole) - left :]


def test_a_draft_is_no_longer_than_the_pass_nor_than_the_answer_may_be():
    assert drafter().propose(2) == [10, COLON]
    assert drafter(limit=4).propose(20) == [10, COLON, OUTSIDE]  # the pass itself gives the fourth
    assert drafter(limit=1).propose(20) == []


def test_a_choice_that_no_answer_had_before_is_taken_to_be_whole():
    found = drafter()
    found.take([10, COLON, BEGINS])
    assert found.propose(4) == [LINE, 11, COLON, OUTSIDE]


def test_answers_teach_which_choice_a_word_has_and_which_follows_which():
    memory = DraftMemory()
    drafter(memory).take([10, COLON, OUTSIDE, LINE, 11, COLON, BEGINS, OF_A_KIND, LINE, 12, COLON, OUTSIDE, END])
    assert drafter(memory).propose(8) == [10, COLON, OUTSIDE, LINE, 11, COLON, BEGINS, OF_A_KIND]
    other = drafter(memory, draft=Draft([[30, COLON], [LINE, 31, COLON], [END]], [[OUTSIDE]]))
    other.take([30, COLON, BEGINS, OF_A_KIND, LINE, 31, COLON])
    assert other.propose(8) == [OUTSIDE, END]


@pytest.mark.parametrize("said", [[99, 10, COLON], [10, 10, COLON], [10, COLON, OUTSIDE, LINE, 99, 11, COLON]])
def test_an_answer_that_left_its_form_is_found_again_at_the_next_token_that_fits(said):
    found = drafter()
    found.take(said)
    assert found.propose(2) == [OUTSIDE, LINE]


def test_without_a_form_what_followed_the_same_three_tokens_before_is_drafted():
    found = drafter(prompt=(7, 300, 9, 65_536, 11, 12), draft=None)
    assert found.propose(2) == []
    found.take([7, 300, 9])
    assert found.propose(2) == [65_536, 11]
    found.take([65_536])
    assert found.propose(2) == [11, 12]
    assert drafter(prompt=(), draft=None).propose(2) == []


def test_bytes_of_two_tokens_are_no_token():
    # little-endian 0x00010000 and 0x00000100 hold each other's bytes in another place
    found = drafter(prompt=(256, 256, 256, 256, 5, 65_536, 65_536, 65_536), draft=None)
    found.take([1])
    assert found.propose(2) == []


def test_drafts_that_fail_are_left_off_for_longer_each_time():
    found, waits = drafter(limit=1000, draft=Draft([[77] * 500])), []
    for _ in range(400):
        if found.is_awake and found.propose(4):
            found.judge(4, 0)
        else:
            waits.append(found.known)
        found.take([77])
    assert len(waits) > 360


def test_where_other_sequences_drafts_fail_a_new_one_waits_and_drafts_that_are_right_bring_it_back():
    memory = DraftMemory()
    for _ in range(100):
        memory.judge("form", 0.0)
    assert drafter(memory).propose(4) == []
    for _ in range(100):
        memory.judge("form", 1.0)
    assert drafter(memory).propose(4)


def test_drafted_and_accepted_tokens_are_counted():
    found = drafter()
    found.propose(4)
    found.judge(4, 3)
    found.propose(4)
    found.judge(2, 2)
    assert found.counts == (6, 5)
