import re

import pytest

from demo_base.comparisons import check, compare
from demo_base.draw import Draw
from demo_base.inference import Fact, say

SEEDS = range(300)
ENTITY = re.compile(r"(?:What of|And) (.+) \?$|^(.+) :$", re.MULTILINE)
PRESENT, DENIED, OPEN = {"present", "there", "plus"}, {"denied", "gone", "minus"}, {"unknown", "untold", "nothing"}


def said(draw, entity, holds):
    """Every way to say that the entity holds, or does not."""
    return {say(draw, Fact(kind, entity, holds)) for kind in ("disease", "chemical") for _ in range(40)}


@pytest.mark.parametrize("make", [check, compare])
def test_comparisons_alternate_contexts_and_verdicts(make):
    for seed in SEEDS:
        document = make(Draw(f"test/{seed}", "train"))
        assert len(document) % 2 == 0
        assert all(part.strip() for part in document)


def test_a_lookup_answers_what_the_note_says_of_each_entity():
    looked_up = 0
    for seed in SEEDS:
        document = check(Draw(f"test/{seed}", "train"))
        note = " ".join(document[0].split())
        draw = Draw("paraphrases", "train")
        for question, answer in zip(document[::2], document[1::2], strict=True):
            verdict = re.sub(r"<.*?>", "", answer).strip()
            if verdict not in PRESENT | DENIED | OPEN:
                continue
            found = ENTITY.findall(question.replace("<|end_of_turn|>GPT4 Correct Assistant:", ""))
            entity = next(part for part in found[-1] if part).removeprefix("GPT4 Correct User: ")
            looked_up += 1
            affirmed = any(f"{words} and" in note or f"{words} ." in note for words in said(draw, entity, True))
            denied = any(f"{words} and" in note or f"{words} ." in note for words in said(draw, entity, False))
            assert (verdict in PRESENT, verdict in DENIED) == (affirmed, denied)
    assert looked_up > 100


def test_no_check_asks_about_the_same_entity_twice_with_a_verdict():
    for seed in SEEDS:
        document = check(Draw(f"test/{seed}", "train"))
        asked = list(document[2::2])
        assert len(set(asked)) == len(asked)
