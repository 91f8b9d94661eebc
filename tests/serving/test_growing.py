"""The text of an answer as it grows: what is sent never has to be taken back."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.growing import Ended, Growing
from medtune.serving.refusals import Refusal


class Bytes:
    """An answer whose ids are the bytes of its text, ended by 0."""

    def completion(self, ids):
        ids = list(ids)
        kept = ids[: ids.index(0)] if 0 in ids else ids
        return SimpleNamespace(text=bytes(kept).decode(errors="replace"), truncated=0 not in ids, token_ids=kept)

    def text(self, completion):
        return completion.text.strip()

    def text_so_far(self, ids):
        return self.text(self.completion(ids))


TEXTS = st.text(st.sampled_from("ab \nß€𝄞"), max_size=20)


@given(TEXTS, st.lists(st.text("ab \n", min_size=1, max_size=3), max_size=3), st.integers(1, 4), st.booleans())
def test_the_pieces_are_the_whole(text, stops, step, is_chat):
    ids = [*text.encode(), 0]
    growing, sent = Growing(Bytes(), stops, is_chat=is_chat), ""
    seen = 0
    while seen < len(ids) and not growing.is_stopped:
        seen += step
        sent += growing.more(ids[:seen])
    ended = growing.end(ids[:seen])
    whole, finish = ended.text, ended.finish
    assert sent + growing.rest(whole) == whole
    read = text.strip() if is_chat else text
    whole_first = sorted((read.find(stop) + len(stop), read.find(stop)) for stop in stops if stop in read)
    assert whole == (read[: whole_first[0][1]] if whole_first else read)
    assert finish == "stop"


def test_a_limit_is_told_from_an_end():
    assert Growing(Bytes(), (), is_chat=True).end(list(b"ab")) == Ended("ab", "length", list(b"ab"))
    assert Growing(Bytes(), ("b",), is_chat=True).end(list(b"ab")) == Ended("a", "stop", list(b"ab"))


def test_an_answer_that_changed_is_not_passed_off():
    growing = Growing(Bytes(), (), is_chat=True)
    assert growing.more(list(b"thought")) == "thought"
    with pytest.raises(Refusal, match="ask without stream"):
        growing.rest("answer")
