"""One way of asking a model: its prompt, its answer, and what of an unfinished answer is certain."""

from types import ModuleType

import pytest

from medtune import EvalSpec, RunSpec, hookimpl
from medtune.data.answers import completion_of
from medtune.errors import SpecError, UnsafeArtifactError
from medtune.plugins.contracts import AnswerRequest, GenerationRequest
from medtune.plugins.host import create_host
from medtune.specs import DataSpec
from medtune.testing.tiny import tiny_base
from medtune.workflow.answering import Answering


class Echo:
    """A generator that can only answer what is there: it says the prompt's last tokens, at most as many as it may."""

    name = "echo"

    def __init__(self):
        self.batches = []

    def generate(self, loaded, prompts, spec):
        assert spec.batch_size == 3
        self.batches.append(len(prompts))
        ends = [[*p.input_ids[-2:], *loaded.stop_ids][: p.max_new_tokens] for p in prompts]
        return [completion_of(loaded.tokenizer, loaded.stop_ids, ids) for ids in ends]


class Feed:
    def __init__(self, requests):
        self.left, self.answers = dict(enumerate(requests)), {}

    def take(self, most, *, wait):
        assert wait
        return {key: self.left.pop(key) for key in list(self.left)[:most]}

    def finish(self, key, ids):
        self.answers[key] = ids


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def answering(loaded, echo):
    plugin = ModuleType("echo")
    plugin.provide_generators = hookimpl(lambda: [echo])
    spec = RunSpec(eval=EvalSpec(backend="echo", batch_size=3), data=DataSpec(system="Be brief."))
    return Answering(loaded, spec, create_host([plugin], autoload=False))


def test_a_generator_that_takes_none_meanwhile_answers_what_waits_batch_after_batch(answering, loaded, echo):
    requests = [GenerationRequest([9, 10 + n, 20 + n], 1 + n % 3) for n in range(7)]
    feed = Feed(requests)
    answering.answer_from(feed, 64)
    assert echo.batches == [3, 3, 1]
    for key, request in enumerate(requests):
        found, alone = answering.completion(feed.answers[key]), answering.answer([request])[0]
        assert (list(found.token_ids), found.text, found.truncated) == (
            list(alone.token_ids),
            alone.text,
            alone.truncated,
        )


def test_a_generator_without_probabilities_is_refused_where_they_are_asked_for(answering):
    with pytest.raises(SpecError, match="'echo' gives no log-probabilities"):
        answering.token_scores([1], [2], 1)


def test_a_conversation_gets_the_system_turn_of_the_rows_unless_it_has_its_own(answering):
    user = {"role": "user", "content": "Hello"}
    own = [{"role": "system", "content": "Be long."}, user]
    assert answering.prompt_ids([user]) == answering.encoder.prompt_ids(
        [{"role": "system", "content": "Be brief."}, user]
    )
    assert answering.prompt_ids(own) == answering.encoder.prompt_ids(own)


@pytest.mark.parametrize(
    "text",
    [
        "plain words", "  spaced", "fever : B\nhelps : O", "<think>It shrank.</think>yes", "[x] no reasoning", "a",
        "analysisIt is so.assistantfinalyes", "finalyes", "finally healed", "assistant professor", "cat", "famine",
    ],
)  # fmt: skip
def test_what_is_certain_of_an_answer_is_never_taken_back(answering, loaded, text):
    ids = [*loaded.tokenizer(text, add_special_tokens=False)["input_ids"], *loaded.stop_ids]
    whole = answering.text(answering.completion(ids))
    seen = [answering.text_so_far(ids[:count]) for count in range(len(ids) + 1)]
    assert all(whole.startswith(part.rstrip()) for part in seen)
    if whole == text.strip() and text[0] not in "<[ acf":
        assert sum(map(bool, seen)) >= len(ids) - 2  # most of it is told as it comes


def test_a_text_begins_once_with_what_the_tokenizer_puts_before_it(loaded):
    answering = Answering(loaded, RunSpec(), create_host(autoload=False))
    assert answering.text_ids("abc") == loaded.tokenizer("abc")["input_ids"]
    assert answering.token_texts(answering.text_ids("abc")) == ["a", "b", "c"]
    assert answering.vocabulary == 258


def test_probabilities_that_are_no_numbers_are_refused(tmp_path):
    loaded = tiny_base(tmp_path)
    asked = [AnswerRequest([1, 2, 3], [[4]])]
    answering = Answering(loaded, RunSpec(), create_host(autoload=False))
    assert answering.log_probabilities(asked)[0][0][0] < 0
    loaded.model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(UnsafeArtifactError, match="no numbers"):
        answering.log_probabilities(asked)
