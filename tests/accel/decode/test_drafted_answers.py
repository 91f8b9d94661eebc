"""Answers with drafts are those of transformers' greedy ``generate``, whatever was drafted."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import transformers

from families import attach, build_base
from medtune import EvalSpec
from medtune.backends.fast_generate import fast_generate
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Draft, GenerationRequest

FAMILIES = ["llama", "mistral", "mistral window", "qwen2", "qwen3"]
VOCABULARY = 97
MOST = 40


def loaded_of(family):
    """Return a tiny model with an adapter that matters and a few ids that end answers."""
    loaded = attach(build_base(family))
    torch.manual_seed(1)
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3)
    loaded.model.eval()
    return replace(loaded, stop_ids=(VOCABULARY,))


def prompts_of(count):
    """Return prompts of many lengths; every third repeats itself, so that there is something to copy."""
    draw = random.Random(0)
    found = []
    for number in range(count):
        ids = [draw.randrange(3, VOCABULARY) for _ in range(draw.randint(1, 20))]
        found.append(GenerationRequest(ids * 3 if number % 3 == 0 else ids, draw.randint(1, MOST)))
    return found


@quiet_libraries()
def by_transformers(loaded, prompts):
    answers = []
    for prompt in prompts:
        config = transformers.GenerationConfig(
            max_new_tokens=prompt.max_new_tokens,
            do_sample=False,
            eos_token_id=list(loaded.stop_ids),
            pad_token_id=0,
            repetition_penalty=1.0,
        )
        ids = torch.tensor([list(prompt.input_ids)])
        output = loaded.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
        answers.append(output[0, ids.shape[1] :].tolist())
    return answers


def form_of(answer, draw):
    """Return a form that an answer keeps in part: some of its tokens are choices, some fixed ones are wrong or missing."""
    cuts = sorted({0, len(answer), *(draw.randint(0, len(answer)) for _ in range(len(answer) // 5))})
    fixed = [
        [token if draw.random() > 0.05 else draw.randrange(VOCABULARY) for token in answer[a + (a > 0) : b]]
        for a, b in pairwise(cuts)
    ]
    choices = [[token] for token in draw.sample(answer, min(2, len(answer)))]
    return Draft([ids for ids in fixed if ids] or [[5]], choices)


def with_drafts(prompts, answers):
    draw = random.Random(1)
    return [
        GenerationRequest(prompt.input_ids, prompt.max_new_tokens, form_of(answer, draw))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def hold_equal(family, count):
    loaded, prompts = loaded_of(family), prompts_of(count)
    said = [token for answer in by_transformers(loaded, prompts) for token in answer]
    loaded = replace(loaded, stop_ids=tuple(sorted(set(said), key=said.count)[-3:-1]))
    plain = by_transformers(loaded, prompts)
    assert 0 < sum(answer[-1] in loaded.stop_ids for answer in plain) < count
    given = with_drafts(prompts, plain)
    for slots in (3, "auto"):
        counts = {}
        assert fast_generate(loaded, given, EvalSpec(batch_size=slots), counts) == plain
        drafted, accepted = (sum(each) for each in zip(*counts.values(), strict=True))
        assert set(counts) == set(range(count))
        assert 0 < accepted < drafted
        assert accepted > sum(map(len, plain)) / 4


@pytest.mark.parametrize("family", FAMILIES)
def test_drafts_that_are_right_in_part_change_no_answer(family):
    hold_equal(family, 20)


@pytest.mark.proof
@pytest.mark.parametrize("family", FAMILIES)
def test_drafts_change_none_of_many_answers(family):
    hold_equal(family, 200)


def test_constrained_answers_are_the_likeliest_choices_of_their_form_one_token_after_another():
    """Held against the model's own forward pass over the answer so far, with all other tokens ruled out."""
    loaded, draw = loaded_of("llama"), random.Random(2)
    choices = [[10], [20], [20, 21], [20, 22, 23], [30, 31]]
    requests = []
    for prompt in prompts_of(12):
        fixed = [[draw.randrange(40, 90) for _ in range(draw.randint(1, 4))] for _ in range(draw.randint(2, 7))]
        requests.append(GenerationRequest(prompt.input_ids, 60, Draft([*fixed, [96]], choices)))
    loaded = replace(loaded, stop_ids=(96,))
    expected = [spelled_out(loaded, request) for request in requests]
    for slots in (3, "auto"):
        assert fast_generate(loaded, requests, EvalSpec(batch_size=slots), constrained=True) == expected
    said = {token for answer in expected for token in answer}
    assert {10, 21, 30} & said
    assert len({len(answer) for answer in expected}) > 3


def spelled_out(loaded, request):
    """Return the answer that keeps to a form: in a choice the likeliest of the tokens that go on with it or end it."""
    answer = []
    for fixed, following in pairwise(request.draft.fixed):
        answer += fixed
        begun = []
        while True:
            open_ids = {
                c[len(begun)] for c in request.draft.choices if c[: len(begun)] == begun and len(c) > len(begun)
            }
            if begun in request.draft.choices:
                open_ids.add(following[0])
            with torch.inference_mode():
                logits = loaded.model(input_ids=torch.tensor([[*request.input_ids, *answer]])).logits[0, -1]
            best = max(sorted(open_ids), key=lambda token: float(logits[token]))
            if begun in request.draft.choices and best == following[0]:
                break
            begun = [*begun, best]
            answer.append(best)
    return answer + list(request.draft.fixed[-1])
