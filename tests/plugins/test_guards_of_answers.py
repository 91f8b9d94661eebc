"""A generator that answers others than it was asked, and an encoder that gives labels there are not, are refused by name."""

import math

import numpy as np
import pytest
from guarded_things import OF_PLUGIN, guarded_of

from medtune.errors import DataError, PluginContractError
from medtune.plugins.contracts import (
    AnswerRequest,
    Completion,
    EncoderJob,
    EncoderKind,
    EncoderResult,
    EncoderRow,
    GenerationRequest,
    TokenScores,
)
from medtune.specs import EncoderSpec, EvalSpec, ModelSpec
from medtune.testing.tiny import tiny_base

PROMPTS = [GenerationRequest([5, 6], 4), GenerationRequest([7], 4)]
END, VOCABULARY = 1, 258


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def answers(*ids, **parts):
    return lambda *_: [Completion(**{"token_ids": line, "text": "a", "truncated": False, **parts}) for line in ids]


GENERATED = {
    "fewer": (answers([5]), "returned 1 answers to 2 prompts"),
    "more": (answers([5], [5], [5]), "returned 3 answers to 2 prompts"),
    "nothing": (lambda *_: None, "returned a NoneType"),
    "a text": (lambda *_: "answers", "returned a str"),
    "texts": (lambda *_: ["a", "b"], "returned a str"),
    "a mapping": (lambda *_: {0: 1, 1: 2}, "returned a dict"),
    "too long": (answers([5] * 5, [5]), "returned 5 tokens where 4 were asked"),
    "a stop id": (answers([5, END], [5]), "a stop id among the ids"),
    "what follows a stop id": (answers([5, END, 6], [5]), "a stop id among the ids"),
    "an id beyond the vocabulary": (answers([VOCABULARY], [5]), "beyond the 258"),
    "an id below 0": (answers([-1], [5]), "below 0"),
    "an id that is a float": (answers([5.0], [5]), "a float or below 0"),
    "ids as text": (answers("five", [5]), "ids that are no list"),
    "no text": (answers([5], [5], text=None), "whose text is none"),
    "cut off, perhaps": (answers([5], [5], truncated=None), "truncated is neither"),
    "sure beyond 1": (answers([5], [5], confidence=1.5), "confidence beyond 0 and 1"),
    "sure of nothing": (answers([5], [5], confidence=math.nan), "confidence beyond 0 and 1"),
}


@pytest.mark.parametrize("fault", GENERATED)
def test_a_generator_that_breaks_its_contract_is_refused_by_name(fault, loaded):
    generate, said = GENERATED[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        guarded_of("generator", generate=generate).generate(loaded, PROMPTS, EvalSpec())
    assert str(caught.value).startswith(f"{OF_PLUGIN}: generator 'ill'.generate ")


@pytest.mark.parametrize(
    "ids",
    [([], []), ([5] * 4, []), (np.array([5, 6]), [7]), ((5, 6), (7,)), ([np.int64(5)], [VOCABULARY - 1])],
    ids=str,
)
def test_answers_that_are_some_are_handed_on_as_a_list(ids, loaded):
    found = guarded_of("generator", generate=lambda *_: iter(answers(*ids)())).generate(loaded, PROMPTS, EvalSpec())
    assert isinstance(found, list)
    assert [list(completion.token_ids) for completion in found] == [list(line) for line in ids]


class Feed:
    """Two requests, and where their answers go."""

    def __init__(self, error=None):
        self.left, self.answered, self.error = {1: PROMPTS[0], 2: PROMPTS[1]}, {}, error

    def take(self, most, *, wait):
        new, self.left = self.left, {}
        return new

    def watches(self, key, /):
        return True

    def progress(self, key, ids, /):
        return key != 2

    def finish(self, key, ids, /):
        if self.error:
            raise self.error
        self.answered[key] = ids


def answering(*finished, progress=()):
    def generate_from(loaded, feed, spec, longest):
        feed.take(9, wait=True)
        for key in progress:
            feed.progress(key, [5])
        for key, ids in finished:
            feed.finish(key, ids)

    return generate_from


FED = {
    "one is left": (answering((1, [5])), "left 1 requests without an answer"),
    "one is answered twice": (answering((1, [5]), (1, [5])), "not taken, or twice"),
    "one that was never taken": (answering((3, [5])), "not taken, or twice"),
    "one that was left off": (answering((2, [5]), progress=[2]), "not taken, or twice"),
    "ids that are none": (answering((1, [VOCABULARY])), "beyond the 258"),
}


@pytest.mark.parametrize("fault", FED)
def test_a_generator_that_loses_or_repeats_requests_is_refused_by_name(fault, loaded):
    generate_from, said = FED[fault]
    found = guarded_of("generator", generate_from=generate_from)
    with pytest.raises(PluginContractError, match=said):
        found.generate_from(loaded, Feed(), EvalSpec(), 99)


def test_a_generator_that_answers_all_it_took_is_taken_at_its_word(loaded):
    feed = Feed()
    generate_from = answering((1, [5, END]), progress=[1, 2])
    guarded_of("generator", generate_from=generate_from).generate_from(loaded, feed, EvalSpec(), 99)
    assert feed.answered == {1: [5, END]}


def test_what_the_feed_itself_raises_is_no_fault_of_the_generator_and_cannot_be_swallowed(loaded):
    def swallowing(loaded, feed, spec, longest):
        for key in feed.take(9, wait=True):
            try:
                feed.finish(key, [5])
            except Exception:  # noqa: S110, BLE001 - the fault
                pass

    for generate_from in (swallowing, answering((1, [5]))):
        found = guarded_of("generator", generate_from=generate_from)
        error = DataError("the connection is gone")
        with pytest.raises(DataError, match="is gone") as caught:
            found.generate_from(loaded, Feed(error), EvalSpec(), 99)
        assert caught.value is error


ASKED = [AnswerRequest([5], [[6, 7], [8]])]
LOGS = {
    "above 0": ([[[-1.0, 0.5], [-1.0]]], "not finite or above 0"),
    "not a number": ([[[-1.0, math.nan], [-1.0]]], "not finite or above 0"),
    "without end": ([[[-1.0, -math.inf], [-1.0]]], "not finite or above 0"),
    "fewer tokens": ([[[-1.0], [-1.0]]], "1 scores of 2 tokens"),
    "fewer answers": ([[[-1.0, -1.0]]], "1 scores of 2 answers"),
    "fewer requests": ([], "0 scores of 1 requests"),
    "one number": ([[-1.0, -1.0]], "returned a float"),
}


@pytest.mark.parametrize("fault", LOGS)
def test_log_probabilities_that_are_none_are_refused_by_name(fault, loaded):
    found, said = LOGS[fault]
    with pytest.raises(PluginContractError, match=rf"generator 'ill'\.log_probabilities .*{said}"):
        guarded_of("generator", log_probabilities=lambda *_: found).log_probabilities(loaded, ASKED, EvalSpec())


def test_log_probabilities_that_are_some_are_handed_on(loaded):
    found = guarded_of("generator", log_probabilities=lambda *_: (([-1.0, 0.0], (-2.0,)),))
    assert found.log_probabilities(loaded, ASKED, EvalSpec()) == [[[-1.0, 0.0], [-2.0]]]


SCORED = {
    "no scores": ([[-1.0, -1.0], [-1.0]], "returned a float"),
    "more than asked": ([[TokenScores(-1.0, [(5, -1.0)] * 3)] * 2, [TokenScores(-1.0)]], "3 tokens of 2 asked"),
    "a log-probability above 0": ([[TokenScores(-1.0, [(5, 1.0)])] * 2, [TokenScores(-1.0)]], "above 0"),
    "an id that is none": ([[TokenScores(-1.0, [(999, -1.0)])] * 2, [TokenScores(-1.0)]], "beyond the 258"),
}


@pytest.mark.parametrize("fault", SCORED)
def test_token_scores_that_are_none_are_refused_by_name(fault, loaded):
    found, said = SCORED[fault]
    with pytest.raises(PluginContractError, match=rf"generator 'ill'\.token_scores .*{said}"):
        guarded_of("generator", token_scores=lambda *_: found).token_scores(loaded, ASKED[0], 2)


def job(kind, may_be_empty=False):
    rows = [EncoderRow(("a", "b")), EncoderRow(("c",))]
    spec = EncoderSpec()
    return EncoderJob(ModelSpec(name="a/b"), spec, kind, ["x", "y"], [], rows, may_be_empty=may_be_empty)


def result(*labels, **parts):
    return lambda _job: EncoderResult(**{"labels": labels, "training_seconds": 1.0, "answering_seconds": 1, **parts})


ENCODED = {
    "a list instead": (EncoderKind.LABEL, lambda _job: [[0], [0]], "returned a list"),
    "fewer rows": (EncoderKind.LABEL, result([0]), "answered 1 rows of 2"),
    "a label beyond": (EncoderKind.LABEL, result([0], [2]), "none of the 2"),
    "a label below": (EncoderKind.LABEL, result([0], [-1]), "none of the 2"),
    "two labels for one": (EncoderKind.LABEL, result([0, 1], [0]), "gave 2 labels where 1"),
    "fewer words": (EncoderKind.TAGS, result([0], [0]), "gave 1 labels where 2"),
    "a label twice": (EncoderKind.LABELS, result([0, 0], [0]), "the same label twice"),
    "no label": (EncoderKind.LABELS, result([], [0]), "gave a row no label"),
    "no time": (EncoderKind.LABEL, result([0], [0], training_seconds=math.nan), "a time that is none"),
    "facts that are no JSON": (EncoderKind.LABEL, result([0], [0], facts={"a": object()}), "no JSON"),
}


@pytest.mark.parametrize("fault", ENCODED)
def test_an_encoder_that_breaks_its_contract_is_refused_by_name(fault):
    kind, answer, said = ENCODED[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        guarded_of("encoder", fit_and_answer=answer).fit_and_answer(job(kind))
    assert str(caught.value).startswith(f"{OF_PLUGIN}: encoder 'ill'.fit_and_answer ")


@pytest.mark.parametrize(
    ("kind", "labels"),
    [(EncoderKind.TAGS, [[0, 1], [1]]), (EncoderKind.LABEL, [[1], [0]]), (EncoderKind.LABELS, [[1, 0], []])],
)
def test_an_encoder_that_keeps_its_contract_is_taken(kind, labels):
    found = guarded_of("encoder", fit_and_answer=result(*labels)).fit_and_answer(job(kind, may_be_empty=True))
    assert list(found.labels) == labels
