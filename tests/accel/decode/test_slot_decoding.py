"""Decoding in slots answers every prompt as transformers' own greedy ``generate`` does, one prompt at a time."""

import gc
import random
import weakref

import pytest
import torch
import transformers

from medtune import EvalSpec, LoraSpec
from medtune.accel.decode import slots
from medtune.accel.decode.plan import PromptRoom, SlotSize
from medtune.accel.decode.reading import read_decoder, survey
from medtune.backends.bitsandbytes import _keep_differentiable
from medtune.backends.fast_generate import fast_generate
from medtune.backends.peft import PeftAdapter
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import GenerationRequest, Loaded
from medtune.testing.tiny import tiny_base

VOCABULARY = 131
NEVER = (10**6,)
FAMILIES = ("Mistral", "Llama", "Qwen2", "Qwen3")


def build(family, **more):
    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
        "initializer_range": 0.2,
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**options | more)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval().requires_grad_(requires_grad=False)
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            parameter.data += 0.3 * torch.randn_like(parameter)
    return Loaded(model, None, "cpu", "fp32", NEVER)


@quiet_libraries()
def adapted(loaded, **spec):
    """Attach an adapter that matters."""
    torch.manual_seed(1)
    loaded = PeftAdapter().attach(loaded, LoraSpec(**{"r": 4, "dropout": 0.1} | spec))
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3)
    loaded.model.eval()
    return loaded


def ragged(count, seed=0, longest=40, most=24):
    draw = random.Random(seed)
    return [
        GenerationRequest(
            [draw.randrange(2, VOCABULARY) for _ in range(draw.randint(1, longest))], draw.randint(1, most)
        )
        for _ in range(count)
    ]


@quiet_libraries()
def one_by_one(loaded, prompts, stop_ids=None):
    """Return the answers of plain ``generate`` without any padding, stop id included."""
    answers = []
    for prompt in prompts:
        config = transformers.GenerationConfig(
            max_new_tokens=prompt.max_new_tokens,
            do_sample=False,
            eos_token_id=list(stop_ids or loaded.stop_ids),
            pad_token_id=0,
            repetition_penalty=1.0,
        )
        ids = torch.tensor([list(prompt.input_ids)])
        output = loaded.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
        answers.append(output[0, ids.shape[1] :].tolist())
    return answers


def with_stops(loaded, prompts):
    """Return the model with stop ids that some answers meet early, and the answers of plain ``generate``."""
    free = one_by_one(loaded, prompts)
    ids = [i for answer in free for i in answer]
    stop_ids = tuple(sorted(set(ids), key=ids.count)[-3:])
    loaded = Loaded(
        loaded.model, None, "cpu", loaded.compute_dtype, stop_ids, loaded.scheme, base_only=loaded.base_only
    )
    plain = one_by_one(loaded, prompts)
    ended = [answer[-1] in stop_ids for answer in plain]
    assert any(ended)
    assert not all(ended)
    return loaded, plain


@pytest.mark.parametrize("family", FAMILIES)
def test_every_ragged_prompt_is_answered_as_plain_generate_does(family):
    prompts = ragged(24)
    loaded, plain = with_stops(adapted(build(family)), prompts)
    assert len({tuple(answer) for answer in plain}) > 12
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=5)) == plain
    assert fast_generate(loaded, prompts, EvalSpec()) == plain


def test_an_adapter_on_some_layers_only_counts_where_it_is():
    prompts = ragged(12)
    loaded = adapted(build("Llama"), target_modules=("q_proj", "v_proj", "up_proj"), use_rslora=True)
    plain = one_by_one(loaded, prompts)
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=4)) == plain
    with loaded.base_only():
        bare = one_by_one(loaded, prompts)
        assert fast_generate(loaded, prompts, EvalSpec(batch_size=4)) == bare
    assert bare != plain


def test_tied_embeddings_biases_and_one_key_head_are_read():
    prompts = ragged(12)
    more = {"tie_word_embeddings": True, "num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True}
    loaded = adapted(build("Llama", **more))
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=4)) == one_by_one(loaded, prompts)


@pytest.mark.parametrize(
    "rope", [{"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 32, "rope_theta": 1e4},
             {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32, "rope_theta": 1e4}],
    ids=lambda r: r["rope_type"],
)  # fmt: skip
def test_scaled_rotary_angles_are_the_models_own(rope):
    prompts = ragged(12, longest=60)
    loaded = build("Llama", rope_parameters=rope)
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=4)) == one_by_one(loaded, prompts)


@pytest.mark.parametrize("family", ["Mistral", "Qwen2"])
def test_a_sliding_window_hides_what_lies_further_back(family):
    prompts = ragged(12, longest=60)
    more = {} if family == "Mistral" else {"use_sliding_window": True, "max_window_layers": 1}
    narrow, wide = (build(family, sliding_window=window, **more) for window in (9, 500))
    plain = one_by_one(narrow, prompts)
    assert plain != one_by_one(wide, prompts)
    assert fast_generate(narrow, prompts, EvalSpec(batch_size=4)) == plain


@pytest.mark.parametrize("dequantize", [True, False])
def test_a_4_bit_base_answers_alike_dequantized_once_or_for_each_product(tmp_path, dequantize):
    base = tiny_base(tmp_path, "nf4")
    _keep_differentiable(base.model)  # as the loader does; else some CPUs repack the weights
    loaded = adapted(base)
    prompts = ragged(10)
    plain = one_by_one(loaded, prompts)
    found = survey(loaded.model, torch.float32)
    assert found.dequantized_bytes > found.largest_bytes > 0
    decoder = read_decoder(found, torch.float32, dequantize=dequantize)
    answers = {}
    decoding = slots.Decoding(decoder, SlotSize(4, 128), PromptRoom(64, 256), loaded.stop_ids)
    decoding.run(dict(enumerate(prompts)), answers)
    assert [answers[i] for i in range(10)] == plain


def test_a_layer_that_dequantizes_itself_is_read():
    class Halved(torch.nn.Linear):
        def dequantized(self, dtype):
            return (2 * self.weight).to(dtype)

        def forward(self, x):
            return torch.nn.functional.linear(x, self.dequantized(x.dtype))

    loaded = build("Llama")
    for layer in loaded.model.model.layers:
        for name in ("gate_proj", "up_proj"):
            plain = getattr(layer.mlp, name)
            small = Halved(plain.in_features, plain.out_features, bias=False)
            small.weight = torch.nn.Parameter(plain.weight / 2, requires_grad=False)
            setattr(layer.mlp, name, small)
    prompts = ragged(8)
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=4)) == one_by_one(loaded, prompts)


@pytest.mark.parametrize("looks", [1, 7])
def test_answers_do_not_depend_on_how_often_the_host_looks(monkeypatch, looks):
    prompts = ragged(14)
    loaded, plain = with_stops(build("Mistral"), prompts)
    monkeypatch.setattr(slots, "_STEPS_BETWEEN_LOOKS", looks)
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=3)) == plain


def test_the_last_sequences_move_together_and_a_step_gets_smaller(monkeypatch):
    prompts = [GenerationRequest(p.input_ids, 40 if n in (2, 9) else 3) for n, p in enumerate(ragged(16))]
    loaded = build("Mistral")
    rows, moved = [], []
    step, move = slots.Decoding._run_step, slots.SlotCache.move
    monkeypatch.setattr(slots.Decoding, "_run_step", lambda self, n: (rows.append(n), step(self, n))[1])
    monkeypatch.setattr(slots.SlotCache, "move", lambda self, *a: (moved.append(a), move(self, *a))[1])
    # The longest answers begin first; taking the last slots, they have to move to the front in the end.
    monkeypatch.setattr(slots.heapq, "heappop", lambda free: free.pop())
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=16)) == one_by_one(loaded, prompts)
    assert moved
    assert rows[0] == 16
    assert rows[-1] == 4


def test_prompts_run_in_pieces_that_bound_the_padded_tokens(monkeypatch):
    seen = []
    read = slots.PromptReader.read

    def note(self, places, keys, requests):
        seen.append(len(keys) * max(self.own_tokens(key, requests[key]) for key in keys))
        return read(self, places, keys, requests)

    monkeypatch.setattr(slots.PromptReader, "read", note)
    loaded, prompts = build("Llama"), ragged(12)
    answers = {}
    decoder = read_decoder(survey(loaded.model, torch.float32), torch.float32, dequantize=True)
    slots.Decoding(decoder, SlotSize(12, 64), PromptRoom(50, 256), NEVER).run(dict(enumerate(prompts)), answers)
    assert [answers[i] for i in range(12)] == one_by_one(loaded, prompts)
    assert len(seen) > 1
    assert max(seen) <= 50


def with_prefixes(count):
    """Return prompts of which most begin with one of two paraphrases, one ends with it, and two are the same."""
    draw = random.Random(3)
    paraphrases = [[draw.randrange(2, VOCABULARY) for _ in range(n)] for n in (40, 21)]
    prompts = [
        GenerationRequest([*((*paraphrases, []))[n % 3], *p.input_ids], p.max_new_tokens)
        for n, p in enumerate(ragged(count, longest=20, most=12))
    ]
    return [*prompts, GenerationRequest(paraphrases[0], 5), prompts[0]]


@pytest.mark.parametrize(
    ("family", "more"), [*((f, {}) for f in FAMILIES), ("Mistral", {"sliding_window": 25})], ids=str
)
def test_what_prompts_begin_with_runs_once_and_changes_no_answer(family, more, monkeypatch):
    prompts = with_prefixes(21)
    loaded, plain = with_stops(adapted(build(family, **more)), prompts)
    computed = []
    run = slots.Decoder.next_ids

    def note(self, ids, angles, attend, rows=None):
        if rows is not None:
            computed.append(len(ids))
        return run(self, ids, angles, attend, rows)

    monkeypatch.setattr(slots.Decoder, "next_ids", note)
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=6)) == plain
    whole = sum(len(p.input_ids) for p in prompts)
    assert sum(computed) <= whole - 8 * 39 - 6 * 21  # the longest is one that two prompts share whole
    computed.clear()
    answers = {}
    decoder = read_decoder(survey(loaded.model, torch.float32), torch.float32, dequantize=True)
    slots.Decoding(decoder, SlotSize(6, 128), PromptRoom(64, 30), loaded.stop_ids).run(
        dict(enumerate(prompts)), answers
    )
    assert [answers[i] for i in range(len(prompts))] == plain  # there is no room for both paraphrases
    assert sum(computed) > whole - 8 * 39


def test_the_cache_is_gone_with_the_answers(monkeypatch):
    kept = []
    begin = slots.SlotCache.__init__
    monkeypatch.setattr(
        slots.SlotCache, "__init__", lambda self, *a: (kept.append(weakref.ref(self)), begin(self, *a))[1]
    )
    gc.disable()
    try:
        fast_generate(build("Llama"), ragged(3), EvalSpec())
        assert [cache() for cache in kept] == [None]
    finally:
        gc.enable()
