"""The default generator: known models through slots, others through plain generate, both with the same contract."""

import logging

import pytest
import torch
import transformers

from medtune import EvalSpec
from medtune.backends.generate import TransformersGenerator
from medtune.backends.transformers_generate import generate_by_transformers
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import GenerationRequest, Loaded
from medtune.testing.tiny import tiny_base

PROMPTS = [GenerationRequest([5 + n] * (1 + 7 * n % 5), 3 + n) for n in range(7)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def unknown(loaded):
    """A model of no known family."""
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=258, bos_token_id=None, eos_token_id=1)
    torch.manual_seed(0)
    return Loaded(transformers.GPT2LMHeadModel(config).eval(), loaded.tokenizer, "cpu", "fp32", (1,))


def generate(loaded, prompts, **spec):
    return TransformersGenerator().generate(loaded, prompts, EvalSpec(**spec))


@pytest.mark.parametrize("size", ["auto", 1, 3])
def test_known_models_answer_as_plain_generate_does_without_a_word(loaded, caplog, size):
    with caplog.at_level(logging.INFO), quiet_libraries():
        answers = generate(loaded, PROMPTS, batch_size=size)
        assert [list(a.token_ids) for a in answers] == generate_by_transformers(
            loaded, PROMPTS, EvalSpec(batch_size=size)
        )
    assert not caplog.messages
    assert [len(a.token_ids) for a in answers] == [p.max_new_tokens for p in PROMPTS]
    assert all(a.truncated and a.text == loaded.tokenizer.decode(a.token_ids) for a in answers)


@pytest.mark.parametrize("size", ["auto", 3])
def test_other_models_answer_through_plain_generate_and_one_line_says_why(unknown, caplog, size):
    unknown.model.train()
    with caplog.at_level(logging.INFO):
        answers = generate(unknown, PROMPTS, batch_size=size)
    assert [len(a.token_ids) for a in answers] == [p.max_new_tokens for p in PROMPTS]
    assert len(caplog.messages) == 1
    assert "which is slower: its model type is 'gpt2'; known are" in caplog.messages[0]
    assert unknown.model.training


@pytest.mark.parametrize("kind", ["loaded", "unknown"])
def test_an_answer_ends_before_any_stop_id(request, kind):
    model = request.getfixturevalue(kind)
    free = [list(a.token_ids) for a in generate(model, PROMPTS)]
    stops = (free[0][1], free[3][2])
    stopping = Loaded(model.model, model.tokenizer, "cpu", "fp32", stops)
    for answer, ids in zip(generate(stopping, PROMPTS), free, strict=True):
        end = next((i for i, token in enumerate(ids) if token in stops), None)
        assert list(answer.token_ids) == ids[:end]
        assert answer.truncated == (end is None)


def test_no_prompts_have_no_answers(loaded):
    assert generate(loaded, []) == []


def test_a_prompt_without_tokens_is_refused(loaded):
    with pytest.raises(ValueError, match="a prompt has no tokens"):
        generate(loaded, [PROMPTS[0], GenerationRequest([], 3)])


def test_too_little_memory_halves_the_slots_and_keeps_what_is_answered(loaded, monkeypatch):
    from medtune.accel.decode import slots

    run, tried = slots.Decoding.run, []

    def run_small(self, requests, answers):
        tried.append((self._cache.slots, len(requests)))
        if len(tried) == 1:
            run(self, {0: requests[0]}, answers)
        if self._cache.slots > 2:
            raise torch.OutOfMemoryError("full")
        run(self, requests, answers)

    expected = generate(loaded, PROMPTS)
    monkeypatch.setattr(slots.Decoding, "run", run_small)
    assert generate(loaded, PROMPTS, batch_size=7) == expected
    assert tried == [(7, 7), (3, 6), (1, 6)]


def test_memory_for_not_even_one_sequence_is_an_error(loaded, monkeypatch):
    from medtune.accel.decode import slots

    def fail(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(slots.Decoding, "run", fail)
    with pytest.raises(torch.OutOfMemoryError):
        generate(loaded, PROMPTS)


def test_the_memory_limit_reaches_the_plan(loaded, monkeypatch):
    from medtune.accel.decode import plan

    budgets = []
    whole = plan.plan_decoding
    monkeypatch.setattr(plan, "plan_decoding", lambda s, n, b, w: (budgets.append(b), whole(s, n, b, w))[1])
    generate(loaded, PROMPTS, memory_gib=0.25)
    generate(loaded, PROMPTS)
    assert budgets[0] == 2**28
    assert budgets[1] > budgets[0]


def test_a_limit_that_not_one_sequence_keeps_is_named_in_one_line_and_answered_one_by_one(loaded, caplog, monkeypatch):
    from medtune.accel.decode import slots

    sizes, run = [], slots.Decoding.run
    monkeypatch.setattr(slots.Decoding, "run", lambda self, *a: (sizes.append(self._cache.slots), run(self, *a))[1])
    plain = generate(loaded, PROMPTS)
    assert not caplog.messages
    sizes.clear()
    assert generate(loaded, PROMPTS, memory_gib=1e-6) == plain
    assert set(sizes) == {1}
    (line,) = caplog.messages
    assert line.startswith("one answer at a time takes ")
    assert line.endswith(" GiB, and 9.99e-07 GiB may be taken; it is done all the same")


def test_other_models_answer_fewer_prompts_together_where_memory_is_short(unknown, monkeypatch):
    from medtune.backends import transformers_generate as module

    batches, decode = [], module._decode
    monkeypatch.setattr(module, "_decode", lambda model, batch: (batches.append(len(batch)), decode(model, batch))[1])
    for memory_gib, size in ((None, 7), (1e-6, 1), (100.0, 7)):
        batches.clear()
        generate_by_transformers(unknown, PROMPTS, EvalSpec(memory_gib=memory_gib))
        assert max(batches) == size


def test_other_models_go_on_with_half_as_many_prompts_where_memory_runs_out(unknown, monkeypatch, caplog):
    from medtune.backends import transformers_generate as module

    batches, decode, fits = [], module._decode, 3

    def bounded(model, batch):
        batches.append([PROMPTS.index(prompt) for prompt in batch])
        if len(batch) > fits and len(batches) > 1:
            raise torch.OutOfMemoryError("full")
        return decode(model, batch)

    expected = generate_by_transformers(unknown, PROMPTS, EvalSpec())
    monkeypatch.setattr(module, "_decode", bounded)
    unknown.model.train()
    assert generate_by_transformers(unknown, PROMPTS, EvalSpec(batch_size=4)) == expected
    assert [len(batch) for batch in batches] == [4, 3]  # the first four are answered already, three are left
    batches.clear()
    fits = 1
    assert generate_by_transformers(unknown, PROMPTS[:2] * 4, EvalSpec(batch_size=4)) == expected[:2] * 4
    assert [len(batch) for batch in batches] == [4, 4, 2, 1, 1, 1, 1]
    assert caplog.messages == [f"memory is short: {size} requests at a time from here on" for size in (2, 1)]
    fits = 0
    with pytest.raises(torch.OutOfMemoryError):
        generate_by_transformers(unknown, PROMPTS, EvalSpec(batch_size=2))
    assert unknown.model.training
