"""A way of answering is tried on two short prompts against a plain loop before its answers are believed."""

import logging

import pytest
import torch

from families import attach, build_base
from medtune import EvalSpec
from medtune.backends import decode_proof, fast_generate, transformers_generate
from medtune.backends.decode_proof import disagreement
from medtune.backends.generate import TransformersGenerator
from medtune.errors import UnprovenAnswersError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import GenerationRequest

PROMPTS = [GenerationRequest([5, 6, 7], 4), GenerationRequest([8, 9], 4)]


@pytest.fixture
def loaded():
    return attach(build_base("mistral"))


def off(answers):
    return [[token + 1 for token in answer] for answer in answers]


def spoil(monkeypatch, module, name):
    kept = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given, **named: off(kept(*given, **named)))


@quiet_libraries()
def test_a_decoder_that_answers_otherwise_gives_way_to_plain_generate(loaded, monkeypatch, caplog):
    right = TransformersGenerator().generate(loaded, PROMPTS, EvalSpec())
    decode_proof._found.clear()
    spoil(monkeypatch, fast_generate, "fast_generate")
    with caplog.at_level(logging.WARNING, "medtune.backends.generate"):
        found = TransformersGenerator().generate(loaded, PROMPTS, EvalSpec())
    assert [answer.token_ids for answer in found] == [answer.token_ids for answer in right]
    assert "is not the most probable one" in caplog.text


@quiet_libraries()
def test_where_no_way_answers_as_the_model_does_nothing_is_scored(loaded, monkeypatch):
    spoil(monkeypatch, fast_generate, "fast_generate")
    spoil(monkeypatch, transformers_generate, "generate_by_transformers")
    with pytest.raises(UnprovenAnswersError, match="token 1 of an answer") as caught:
        TransformersGenerator().generate(loaded, PROMPTS, EvalSpec())
    assert caught.value.exit_code == 4


def test_a_way_is_tried_once_with_the_adapter_and_once_without(loaded):
    calls = []

    def decode(_loaded, prompts):
        calls.append(len(prompts))
        return [[1] for _ in prompts]

    for _ in range(2):
        first = disagreement(loaded, PROMPTS, "wrong", decode)
        with loaded.base_only():
            disagreement(loaded, PROMPTS, "wrong", decode)
    assert calls == [2, 2]
    assert "is not the most probable one" in first


def test_tokens_that_are_as_probable_are_no_disagreement(loaded):
    head = loaded.model.get_base_model().lm_head.weight
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1]
        best = int(logits.argmax())
        head[best - 1] = head[best]
    assert not disagreement(loaded, PROMPTS[:1], "last of equal ones", lambda _l, p: [[best]] * len(p))
    assert disagreement(loaded, PROMPTS[:1], "another one", lambda _l, p: [[best - 2]] * len(p))
