"""Drafts on a GPU: passes over several tokens, captured as graphs, change no answer."""

import dataclasses
import random

import pytest
import torch
from test_generate import VOCABULARY, adapted, one_by_one, ragged

from medtune import EvalSpec
from medtune.accel.decode.verified import Verifier
from medtune.backends.fast_generate import fast_generate
from medtune.plugins.contracts import Draft


def drafted(prompts, answers):
    """Return the requests with drafts of which nine in ten tokens are right."""
    draw = random.Random(1)
    return [
        dataclasses.replace(
            prompt,
            draft=Draft([[token if draw.random() < 0.9 else draw.randrange(6, VOCABULARY) for token in answer]]),
        )
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


@pytest.mark.parametrize(
    ("family", "window"), [("Mistral", None), ("Mistral", 9), ("Llama", None), ("Qwen2", None), ("Qwen3", None)]
)
def test_in_fp32_drafted_answers_are_those_of_plain_generate(family, window, monkeypatch, caplog):
    passes = []
    gain = Verifier.gain
    monkeypatch.setattr(Verifier, "gain", lambda self, *given: (passes.append(given[0]), gain(self, *given))[1])
    loaded = adapted(family, **({"sliding_window": window} if window else {}))
    prompts = ragged(48)
    plain = one_by_one(loaded, prompts)
    assert 0 < sum(answer[-1] in loaded.stop_ids for answer in plain) < len(prompts)
    for slots in (7, 16, "auto"):
        counts = {}
        passes.clear()
        assert fast_generate(loaded, drafted(prompts, plain), EvalSpec(batch_size=slots, drafts=True), counts) == plain
        total, accepted = (sum(each) for each in zip(*counts.values(), strict=True))
        assert passes
        assert sum(map(len, plain)) / 4 < accepted < total
    assert fast_generate(loaded, drafted(prompts, plain), EvalSpec(drafts=False)) == plain
    assert not caplog.messages


@pytest.mark.proof
@pytest.mark.parametrize("family", ["Mistral", "Llama", "Qwen2", "Qwen3"])
def test_in_fp32_drafts_change_none_of_many_answers(family):
    loaded, prompts = adapted(family), ragged(200)
    plain = fast_generate(loaded, prompts, EvalSpec(drafts=False))
    assert fast_generate(loaded, drafted(prompts, plain), EvalSpec(drafts=True)) == plain


def test_in_bf16_drafts_change_no_more_answers_than_another_batch_size_does(figures):
    loaded, prompts = adapted("Mistral", torch.bfloat16), ragged(64)
    plain, smaller = (fast_generate(loaded, prompts, EvalSpec(batch_size=size, drafts=False)) for size in (64, 16))
    fast = fast_generate(loaded, drafted(prompts, plain), EvalSpec(batch_size=64, drafts=True))
    differing = [sum(a != b for a, b in zip(plain, other, strict=True)) for other in (fast, smaller)]
    figures(by_drafts=differing[0], by_batch_size=differing[1])
    assert differing[0] <= differing[1] + len(prompts) // 8
