"""Decoding in slots on a GPU: kernels and captured graphs answer every prompt as plain ``generate`` does."""

import copy
import random

import pytest
import torch
import transformers

from medtune import EvalSpec, LoraSpec
from medtune.accel.decode.capture import CapturedSteps
from medtune.backends.fast_generate import fast_generate
from medtune.backends.peft import PeftAdapter
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import GenerationRequest, Loaded

VOCABULARY = 131


@quiet_libraries()
def adapted(family, dtype=torch.float32, **more):
    """Return a small random model with an adapter that matters."""
    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
        "initializer_range": 0.2,
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**options | more)
    model = getattr(transformers, f"{family}ForCausalLM")(config).to("cuda", dtype).eval()
    model.requires_grad_(requires_grad=False)
    name = {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
    loaded = PeftAdapter().attach(Loaded(model, None, "cuda:0", name, (2, 3, 5)), LoraSpec(r=4))
    for parameter in loaded.model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0, 0.2)
    loaded.model.eval()
    return loaded


def ragged(count):
    draw = random.Random(0)
    return [
        GenerationRequest([draw.randrange(6, VOCABULARY) for _ in range(draw.randint(1, 90))], draw.randint(1, 40))
        for _ in range(count)
    ]


@quiet_libraries()
def one_by_one(loaded, prompts):
    """Return the answers of plain ``generate`` without any padding, stop id included."""
    answers = []
    for prompt in prompts:
        config = transformers.GenerationConfig(
            max_new_tokens=prompt.max_new_tokens,
            do_sample=False,
            eos_token_id=list(loaded.stop_ids),
            pad_token_id=0,
            repetition_penalty=1.0,
        )
        ids = torch.tensor([list(prompt.input_ids)], device="cuda")
        output = loaded.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
        answers.append(output[0, ids.shape[1] :].tolist())
    return answers


@pytest.mark.parametrize("family", ["Mistral", "Llama", "Qwen2", "Qwen3"])
def test_in_fp32_every_prompt_is_answered_as_plain_generate_does(family, monkeypatch, caplog):
    captured = []
    capture = CapturedSteps._capture
    monkeypatch.setattr(CapturedSteps, "_capture", lambda self, rows: (captured.append(rows), capture(self, rows))[1])
    prompts = ragged(32)
    loaded = adapted(family)
    plain = one_by_one(loaded, prompts)
    assert 0 < sum(answer[-1] in loaded.stop_ids for answer in plain) < len(prompts)
    for slots in (7, "auto"):
        assert fast_generate(loaded, prompts, EvalSpec(batch_size=slots)) == plain
    with loaded.base_only():
        assert fast_generate(loaded, prompts, EvalSpec(batch_size=7)) == one_by_one(loaded, prompts)
    assert captured
    assert not caplog.messages


def test_a_sliding_window_hides_what_lies_further_back():
    prompts = ragged(16)
    loaded = adapted("Mistral", sliding_window=9)
    assert fast_generate(loaded, prompts, EvalSpec(batch_size=5)) == one_by_one(loaded, prompts)


def test_in_bf16_tokens_are_chosen_as_well_as_plain_generate_does(figures):
    """Random weights leave the best tokens close together, so whole answers differ; how good each choice is must not."""
    prompts = ragged(64)
    loaded = adapted("Mistral", torch.bfloat16)
    exact = copy.deepcopy(loaded.model).float()
    fast, plain = fast_generate(loaded, prompts, EvalSpec()), one_by_one(loaded, prompts)
    lost, lost_by_plain, lost_at_random = (
        sum(map(sum, (regrets(exact, prompt, answer) for prompt, answer in zip(prompts, answers, strict=True))))
        / sum(map(len, answers))
        for answers in (fast, plain, [[9] * len(answer) for answer in plain])
    )
    figures(
        differing=sum(a != b for a, b in zip(fast, plain, strict=True)),
        lost=lost,
        by_plain=lost_by_plain,
        at_random=lost_at_random,
    )
    assert lost < 1.25 * lost_by_plain
    assert lost < lost_at_random / 20


def regrets(exact, prompt, answer):
    """Return by how much the logit of each token of an answer lies below the best one, in fp32, the answer so far given."""
    ids = torch.tensor([[*prompt.input_ids, *answer]], device="cuda")
    with torch.inference_mode():
        logits = exact(input_ids=ids).logits[0, len(prompt.input_ids) - 1 : -1]
    return (logits.amax(-1) - logits.gather(1, ids[0, len(prompt.input_ids) :, None])[:, 0]).tolist()


def test_4_bit_weights_answer_alike_dequantized_once_or_for_each_product(tmp_path, monkeypatch):
    from medtune.accel.decode import reading
    from medtune.testing.tiny import tiny_base

    loaded = PeftAdapter().attach(tiny_base(tmp_path, "nf4", "cuda:0"), LoraSpec(r=4))
    prompts = ragged(32)
    once = fast_generate(loaded, prompts, EvalSpec())
    read = reading.read_decoder
    monkeypatch.setattr(reading, "read_decoder", lambda found, dtype, dequantize: read(found, dtype, dequantize=False))
    assert fast_generate(loaded, prompts, EvalSpec()) == once
