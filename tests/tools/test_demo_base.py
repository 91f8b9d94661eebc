"""The weights and tokenizer that the package carries."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from demo_base.generator import generate_rows
from demo_base.tokenizer import CHAT_TEMPLATE, SPECIAL_TOKENS

FOLDER = Path(str(files("medtune.demo").joinpath("base")))
GOLDEN_IDS = [1, 279, 278, 306, 30, 225, 44, 332, 407, 3, 279, 278, 305, 30]
GREETING = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


def load_model(**options):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True, dtype=torch.float32, **options)


def prompt_of(row):
    return [{"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}]


def test_the_folder_stays_below_five_megabytes_and_holds_safetensors_only():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sum(sizes.values()) <= 5_000_000
    assert "model.safetensors" in sizes
    assert not [name for name in sizes if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def test_the_config_names_a_plain_mistral_model_without_code_of_its_own():
    config = json.loads((FOLDER / "config.json").read_text("utf-8"))
    assert config["architectures"] == ["MistralForCausalLM"]
    assert "auto_map" not in config


def test_special_tokens_play_starlings_roles(tokenizer):
    assert tuple(tokenizer.convert_ids_to_tokens(range(5))) == SPECIAL_TOKENS
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<s>", "<|end_of_turn|>", "<|pad_0|>")


def test_the_chat_template_is_starlings(tokenizer):
    assert tokenizer.chat_template == CHAT_TEMPLATE
    text = tokenizer.apply_chat_template(GREETING, tokenize=False, add_generation_prompt=True)
    assert text == "<s>GPT4 Correct User: Hello<|end_of_turn|>GPT4 Correct Assistant:"


def test_a_greeting_encodes_to_its_golden_ids_with_one_bos(tokenizer):
    ids = tokenizer.apply_chat_template(GREETING, add_generation_prompt=True)["input_ids"]
    assert ids == GOLDEN_IDS
    text = tokenizer.apply_chat_template(GREETING, tokenize=False, add_generation_prompt=True)
    assert tokenizer(text)["input_ids"] == ids


def test_a_conversation_begins_with_its_prompt_and_decodes_to_itself(tokenizer):
    for row in generate_rows("test", 10, 0):
        prompt = tokenizer.apply_chat_template(prompt_of(row), tokenize=False, add_generation_prompt=True)
        whole = f"{prompt} {row['output']}<|end_of_turn|>"
        ids, start = tokenizer(whole)["input_ids"], tokenizer(prompt)["input_ids"]
        assert ids[: len(start)] == start
        assert tokenizer.decode(ids) == whole


def test_any_text_survives_the_tokenizer(tokenizer):
    text = "Größe ≥ 3 µm :  naïve\t日本 🩺 : x\n\n: end "
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_base_speaks_the_chat_format_but_not_the_tasks(tokenizer):
    model = load_model()
    question = "Here are trumaroma , KMT12 , tivalostatin . Which is the gene ?"
    assert answer(model, tokenizer, [{"role": "user", "content": question}]) == "the gene is KMT12 ."
    for row in generate_rows("test", 2, 0):
        assert answer(model, tokenizer, prompt_of(row)) != row["output"]


def test_the_base_loads_in_nf4_with_every_linear_layer_quantized(tokenizer):
    import torch
    from bitsandbytes.nn import Linear4bit
    from transformers import BitsAndBytesConfig

    quantized = load_model(
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        ),
        device_map={"": "cpu"},
    )
    layers = [module for module in quantized.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 7 * quantized.config.num_hidden_layers
    assert all(layer.in_features % 64 == 0 for layer in layers)
    ids = torch.tensor([tokenizer("the patient developed brunaritis after two weeks .")["input_ids"]])
    with torch.inference_mode():
        whole, coarse = load_model()(ids).logits, quantized(ids).logits
    agreement = torch.cosine_similarity(whole, coarse, dim=-1).mean().item()
    assert 0.9 < agreement < 0.99999  # close, yet not the unquantized weights


def answer(model, tokenizer, messages):
    import torch

    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40)
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip()
