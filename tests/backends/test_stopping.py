"""A model that is trained to end its turns in a token of the chat template stops there, whatever its tokenizer's end is."""

import logging

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.fast_generate import fast_generate
from medtune.backends.generate import completion
from medtune.backends.random_base import random_base
from medtune.backends.transformers_generate import generate_by_transformers
from medtune.data.encode import Encoder
from medtune.data.tokenizer import load_tokenizer
from medtune.plugins.contracts import Example, GenerationRequest
from medtune.specs import EvalSpec, ModelSpec, QuantSpec

ASKED = [{"role": "user", "content": "Which drug?"}]
ANSWER = "Aspirin"
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FURTHER = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base that learned one answer and its end of turn, with ``<|endoftext|>`` as the end of tokenizer and model."""
    folder = tmp_path_factory.mktemp("chatml")
    chatml().save_pretrained(folder)
    tokenizer = load_tokenizer(ModelSpec(path=str(folder)))
    encoded = Encoder(tokenizer).encode(Example([*ASKED, {"role": "assistant", "content": ANSWER}]))
    ids = torch.tensor([encoded.input_ids])
    labels = ids.masked_fill(torch.tensor([encoded.supervised]) == 0, -100)
    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _step in range(60):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, FURTHER]
    model.save_pretrained(folder)
    return folder


def chatml():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"]
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<pad>")
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture(scope="module", params=["none", "nf4"])
def loaded(folder, request):
    spec = QuantSpec(scheme=request.param, compute_dtype="fp32")
    return BitsAndBytesQuantizer().load(ModelSpec(path=str(folder)), spec)


@pytest.mark.parametrize("generate", [generate_by_transformers, fast_generate])
def test_an_answer_ends_with_its_turn(loaded, generate, caplog):
    prompt = Encoder(loaded.tokenizer).prompt_ids(ASKED)
    with caplog.at_level(logging.WARNING):
        (ids,) = generate(loaded, [GenerationRequest(prompt, 64)], EvalSpec())
    answer = completion(loaded, ids)
    assert (answer.text, answer.truncated, len(ids)) == (ANSWER, False, len(ANSWER) + 1)
    assert ids[-1] == loaded.tokenizer.convert_tokens_to_ids("<|im_end|>") != loaded.tokenizer.eos_token_id
    assert not caplog.messages


def test_every_quantizer_stops_at_the_encoders_ids_and_those_of_the_generation_config_are_among_them(loaded, folder):
    encoder = Encoder(loaded.tokenizer, model=ModelSpec(path=str(folder)))
    assert loaded.stop_ids == encoder.stop_ids
    assert set(loaded.stop_ids) == {0, 2, FURTHER}


@pytest.mark.parametrize("generate", [generate_by_transformers, fast_generate])
def test_an_end_that_only_the_generation_config_names_ends_an_answer(loaded, generate):
    prompt, head = Encoder(loaded.tokenizer).prompt_ids(ASKED), loaded.model.lm_head.weight
    kept = head.detach().clone()
    with torch.no_grad():
        head[FURTHER] = 2 * head[loaded.tokenizer.encode(ANSWER)[0]]  # so that it is written first
    (ids,) = generate(loaded, [GenerationRequest(prompt, 4)], EvalSpec())
    with torch.no_grad():
        head.copy_(kept)
    assert ids == [FURTHER]


def test_a_random_base_stops_at_its_tokenizers_end_and_that_of_its_config():
    config = MistralConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=[7],
    )
    assert random_base(config.to_dict(), ModelSpec(), QuantSpec(scheme="none")).stop_ids == (1, 7)
