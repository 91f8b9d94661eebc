"""Requests that come while others are answered are answered as if they had been asked alone."""

import pytest
import torch
import transformers

from medtune import EvalSpec
from medtune.backends.generate import TransformersGenerator
from medtune.plugins.contracts import AnswerRequest, ContinuousGenerator, GenerationRequest, Loaded, TokenScorer
from medtune.testing.tiny import tiny_base

PROMPTS = [GenerationRequest([5 + n, 9, 40 + n] * (1 + 5 * n % 9), 2 + 7 * n % 30) for n in range(24)]
LONGEST = 96


class Feed:
    """Gives requests by and by, and keeps what comes back.

    Args:
        requests: in order.
        most: given at a look.
        leave: key -> length from which its answer is not wanted any more.
    """

    def __init__(self, requests, most, leave=()):
        self.left, self.most, self.leave = dict(enumerate(requests)), most, dict(leave)
        self.answers, self.seen, self.inside = {}, {}, set()

    def take(self, most, *, wait):
        keys = list(self.left)[: min(most, self.most)]
        self.inside |= set(keys)
        assert keys or not wait or not self.left
        return {key: self.left.pop(key) for key in keys}

    def watches(self, key):
        return key in self.leave or key % 3 == 0

    def progress(self, key, ids):
        assert key in self.inside
        assert list(ids)[: len(self.seen.get(key, []))] == self.seen.get(key, [])  # it only grows
        self.seen[key] = list(ids)
        if len(ids) < self.leave.get(key, 10**6):
            return True
        self.inside.remove(key)
        return False

    def finish(self, key, ids):
        self.inside.remove(key)
        self.answers[key] = list(ids)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def theirs(own):
    """A model that medtune's own decoder does not take."""
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=258, bos_token_id=None, eos_token_id=1)
    torch.manual_seed(0)
    return Loaded(transformers.GPT2LMHeadModel(config).eval(), own.tokenizer, "cpu", "fp32", (1, 77, 130))


@pytest.mark.parametrize("kind", ["own", "theirs"])
@pytest.mark.parametrize(("slots", "most"), [(8, 1), (8, 5), (4, 99), (64, 99), (1, 3)])
def test_answers_are_those_that_all_requests_get_together(request, kind, slots, most):
    loaded, generator, spec = request.getfixturevalue(kind), TransformersGenerator(), EvalSpec(batch_size=slots)
    expected = [list(found.token_ids) for found in generator.generate(loaded, PROMPTS, spec)]
    feed = Feed(PROMPTS, most)
    generator.generate_from(loaded, feed, spec, LONGEST)
    assert sorted(feed.answers) == list(range(len(PROMPTS)))
    for key, ids in feed.answers.items():
        cut = next((i for i, token in enumerate(ids) if token in loaded.stop_ids), len(ids))
        assert ids[:cut] == expected[key]
    assert not feed.inside
    assert any(feed.seen.values()) or slots == 1


@pytest.mark.parametrize("kind", ["own", "theirs"])
def test_an_answer_that_is_left_gives_its_place_to_the_next_and_changes_no_other(request, kind):
    loaded, generator, spec = request.getfixturevalue(kind), TransformersGenerator(), EvalSpec(batch_size=3)
    free = Feed(PROMPTS, 99)
    generator.generate_from(loaded, free, spec, LONGEST)
    leave = {key: 3 for key, ids in free.answers.items() if len(ids) > 12 and key % 2}
    assert len(leave) > 2
    feed = Feed(PROMPTS, 99, leave)
    generator.generate_from(loaded, feed, spec, LONGEST)
    assert not feed.inside
    assert set(feed.answers) == set(range(len(PROMPTS))) - set(leave)
    assert all(ids == free.answers[key] for key, ids in feed.answers.items())


def test_the_generator_has_what_serving_asks_for():
    assert isinstance(TransformersGenerator(), ContinuousGenerator)
    assert isinstance(TransformersGenerator(), TokenScorer)


def test_scores_of_tokens_are_those_of_a_plain_pass(theirs):
    prompt, answers = [5, 9, 40, 7], [[11, 12, 13], [20]]
    found = TransformersGenerator().token_scores(theirs, AnswerRequest(prompt, answers), 4)
    for answer, scores in zip(answers, found, strict=True):
        with torch.no_grad():
            logits = theirs.model(input_ids=torch.tensor([prompt + answer])).logits[0].float().log_softmax(-1)
        for place, score in enumerate(scores, len(prompt) - 1):
            assert score.log_probability == pytest.approx(float(logits[place, answer[place - len(prompt) + 1]]))
            best = logits[place].topk(4)
            assert [token for token, _ in score.top] == best.indices.tolist()
            assert [value for _, value in score.top] == pytest.approx(best.values.tolist())
