"""Templates chosen by name or file, what they are handed, and what a base without one is told."""

import json

import pytest
from chat_templates import SPECIAL, TEMPLATES, make_tokenizer

from medtune import Example, ModelSpec
from medtune.data.contract import check_contract, write_contract
from medtune.data.encode import Encoder
from medtune.data.shipped_templates import SHIPPED, chosen_template, usable_templates, with_options
from medtune.data.tokenizer import load_tokenizer, save_tokenizer
from medtune.errors import SpecError, UnknownNameError, UnsafeArtifactError, UnusableRowError

ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
    "polite answers to the user's questions."
)
DOCUMENTED = {
    "alpaca": f"<s>{ALPACA}\n\n### Instruction:\nQ\n\n### Response:\nA</s>",
    "chatml": "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n",
    "gemma": "<s><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n",
    "llama-2": "<s>[INST] Q [/INST] A </s>",
    "llama-3": (
        "<s><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
    ),
    "mistral": "<s>[INST] Q [/INST] A</s>",
    "phi": "<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n",
    "vicuna": f"<s>{VICUNA} USER: Q ASSISTANT: A</s>",
    "zephyr": "<|user|>\nQ</s>\n<|assistant|>\nA</s>\n",
}
SYSTEM_FORM = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user",
    "llama-2": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]",
    "llama-3": "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>",
    "zephyr": "<|system|>\nS</s>\n<|user|>",
    "phi": "<|system|>\nS<|end|>\n<|user|>",
    "vicuna": "<s>S USER: Q",
    "alpaca": "<s>S\n\n### Instruction:\nQ",
}
TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
SYSTEM = {"role": "system", "content": "S"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder with a tokenizer that has no template, and every control token."""
    folder = tmp_path_factory.mktemp("bare")
    tokenizer = make_tokenizer(None)
    tokenizer.add_tokens(["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_the_documented_names_are_shipped():
    assert set(SHIPPED) == DOCUMENTED.keys()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_shipped_template_has_its_documented_form(bare, name):
    tokenizer = load_tokenizer(ModelSpec(path=bare, chat_template=name))
    encoded = Encoder(tokenizer).encode(Example(TURNS))
    assert tokenizer.decode(encoded.input_ids, skip_special_tokens=False) == DOCUMENTED[name]
    prompt = Encoder(tokenizer).prompt_ids(TURNS[:1])
    assert list(encoded.input_ids[: encoded.supervised.index(1)]) == prompt


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_system_turn_has_its_place_or_stands_before_the_question(bare, name):
    tokenizer = load_tokenizer(ModelSpec(path=bare, chat_template=name))
    encoded = Encoder(tokenizer).encode(Example([SYSTEM, *TURNS]))
    text = tokenizer.decode(encoded.input_ids, skip_special_tokens=False)
    assert text.startswith(SYSTEM_FORM[name]) if name in SYSTEM_FORM else "S\n\nQ" in text


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED) - {"chatml", "llama-3", "phi", "zephyr"}))
def test_two_questions_in_a_row_are_refused_where_turns_alternate(bare, name):
    tokenizer = load_tokenizer(ModelSpec(path=bare, chat_template=name))
    with pytest.raises(UnusableRowError, match=r"refuses turns of user, user, assistant: .*must alternate"):
        Encoder(tokenizer).encode(Example([TURNS[0], *TURNS], row_id="r-1"))


def test_the_bos_that_llama_2_writes_before_each_question_is_no_doubled_one(bare):
    tokenizer = load_tokenizer(ModelSpec(path=bare, chat_template="llama-2"))
    ids = Encoder(tokenizer).encode(Example([*TURNS, *TURNS])).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == "<s>[INST] Q [/INST] A </s>" * 2


def test_a_base_without_a_template_is_told_which_names_its_tokens_allow():
    tokenizer = make_tokenizer(None)
    assert usable_templates(tokenizer) == [name for name in sorted(DOCUMENTED) if name != "phi"]
    with pytest.raises(
        UnsafeArtifactError, match=r"set model\.chat_template to a Jinja file, or to .*'alpaca', 'chatml'"
    ):
        Encoder(tokenizer).encode(Example(TURNS))


def test_a_template_whose_end_of_turn_the_tokenizer_lacks_is_refused(tmp_path):
    make_tokenizer(None).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(ModelSpec(path=str(tmp_path), chat_template="phi"))
    with pytest.raises(UnsafeArtifactError, match="no end-of-turn token"):
        Encoder(tokenizer).encode(Example(TURNS))


def test_a_template_of_a_file_is_taken(bare, tmp_path):
    file = tmp_path / "own.jinja"
    file.write_text(TEMPLATES["starling"])
    assert load_tokenizer(ModelSpec(path=bare, chat_template=str(file))).chat_template == TEMPLATES["starling"]


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (None, UnknownNameError, "did you mean 'chatml'"),
        (b"", SpecError, "holds no Jinja template"),
        (b"no code at all", SpecError, "holds no Jinja template"),
        (b"\xff\xfe{{ m }}", SpecError, "cannot be read as UTF-8"),
        (b"{{ m }}" * 200_000, SpecError, "longer than a template"),
    ],
)
def test_a_choice_that_is_no_template_is_refused(tmp_path, content, error, sentence):
    file = tmp_path / "own.jinja"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=sentence):
        chosen_template("chatlm" if content is None else str(file))


OPTIONS = "{% if brief is defined and not brief %}long {% endif %}{{ name }} {{ parts[1] }} {{ about.x }}"


def test_options_are_what_the_template_is_handed():
    from jinja2 import Environment

    text = with_options(OPTIONS, {"brief": False, "name": 'a "b" ü', "parts": [1, None], "about": {"x": True}})
    assert Environment(autoescape=False).from_string(text).render(name="other") == 'long a "b" ü None True'  # noqa: S701


@pytest.mark.parametrize("name", ["add_generation_prompt", "bos_token", "messages"])
def test_what_whoever_renders_hands_over_is_no_option(name):
    with pytest.raises(SpecError, match=f"{name} is set by medtune or the tokenizer"):
        with_options(f"{{{{ {name} }}}}", {name: True})


@pytest.mark.parametrize("fault", ["1 / 0", "'a' + 1", "[0] * (10 ** 12)", "messages[99].content.x", "f()"])
def test_a_template_that_fails_in_any_way_is_refused_in_a_sentence(bare, fault):
    tokenizer = load_tokenizer(ModelSpec(path=bare))
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ " + fault + " }}"
    with pytest.raises(UnsafeArtifactError, match="the chat template refuses turns of"):
        Encoder(tokenizer).encode(Example([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]))


def test_an_option_that_the_template_does_not_read_is_refused():
    with pytest.raises(SpecError, match=r"template_options\.breif has no effect: the chat template reads no 'breif'"):
        with_options(OPTIONS, {"breif": True})


THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
).replace("+ m.content", "+ ('<think></think>' if m.role == 'assistant' and not enable_thinking else '') + m.content")


def test_template_and_options_go_with_the_saved_tokenizer_and_the_contract(bare, tmp_path):
    file = tmp_path / "own.jinja"
    file.write_text(THINKING)
    model = ModelSpec(path=bare, chat_template=str(file), template_options={"enable_thinking": True})
    tokenizer = load_tokenizer(model)
    save_tokenizer(tokenizer, tmp_path / "adapter")
    write_contract(tmp_path / "adapter", Encoder(tokenizer))
    again = load_tokenizer(ModelSpec(path=str(tmp_path / "adapter")))
    assert again.chat_template == tokenizer.chat_template == "{% set enable_thinking = true %}" + THINKING
    check_contract(tmp_path / "adapter", Encoder(again))
    kept = json.loads((tmp_path / "adapter" / "prompt_contract.json").read_text())
    assert kept["chat_template"] == again.chat_template
    other = load_tokenizer(model.model_copy_with(template_options={"enable_thinking": False}))
    with pytest.raises(UnsafeArtifactError, match="other prompts"):
        check_contract(tmp_path / "adapter", Encoder(other))


def test_a_pad_token_is_one_of_the_tokenizers_and_no_end(bare):
    assert load_tokenizer(ModelSpec(path=bare, pad_token=SPECIAL[4])).pad_token == SPECIAL[4]
    with pytest.raises(SpecError, match=r"pad_token 'nothing' is no token"):
        load_tokenizer(ModelSpec(path=bare, pad_token="nothing"))
    with pytest.raises(SpecError, match="ends texts"):
        load_tokenizer(ModelSpec(path=bare, pad_token="</s>"))
