"""Starling's golden ids, through every tokenizer class that transformers offers for its sentencepiece model."""

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starling import GOLDEN_IDS, GOLDEN_TEXT, build

from medtune import Example, ModelSpec
from medtune.data.encode import Encoder
from medtune.data.tokenizer import load_tokenizer, save_tokenizer
from medtune.errors import UnsafeArtifactError
from medtune.machine.libraries import quiet_libraries

CLASSES = [
    name for name in ("LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer") if hasattr(transformers, name)
]


def saved(tmp_path, name="LlamaTokenizer", **options):
    with quiet_libraries():
        tokenizer = build(getattr(transformers, name), tmp_path / "sentencepiece", **options)
    save_tokenizer(tokenizer, tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("name", CLASSES[:2])
def test_the_legacy_tokenizer_gives_the_golden_ids_and_pads_with_its_own_pad(tmp_path, name):
    tokenizer = load_tokenizer(ModelSpec(path=str(saved(tmp_path, name, legacy=True))))
    assert tokenizer(f"<s>{GOLDEN_TEXT}", add_special_tokens=False)["input_ids"] == GOLDEN_IDS
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, len(tokenizer)) == (32001, 32000, 32002)


def test_a_tokenizer_that_splits_the_prompt_otherwise_is_refused_with_its_ids(tmp_path):
    with quiet_libraries():
        build(transformers.LlamaTokenizer, tmp_path / "sentencepiece", legacy=False).save_pretrained(tmp_path / "saved")
    with pytest.raises(UnsafeArtifactError, match=r"does not give Starling's ids .*28777"):
        load_tokenizer(ModelSpec(path=str(tmp_path / "saved")))


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_gives_the_golden_ids_or_is_refused(tmp_path, name):
    with quiet_libraries():
        build(getattr(transformers, name), tmp_path / "sentencepiece").save_pretrained(tmp_path / "saved")
    try:
        tokenizer = load_tokenizer(ModelSpec(path=str(tmp_path / "saved")))
    except UnsafeArtifactError:
        return
    is_starling = tokenizer.get_vocab()["<|end_of_turn|>"] == GOLDEN_IDS[9]  # CodeLlama moves it with tokens of its own
    ids = tokenizer(f"<s>{GOLDEN_TEXT}", add_special_tokens=False)["input_ids"]
    assert (ids == GOLDEN_IDS) == is_starling


def test_a_saved_tokenizer_that_forgot_its_legacy_flag_is_noticed(tmp_path):
    """transformers 5 drops the flag on saving; save_tokenizer puts it back."""
    with quiet_libraries():
        tokenizer = build(transformers.LlamaTokenizer, tmp_path / "sentencepiece", legacy=True)
    save_tokenizer(tokenizer, tmp_path / "kept")
    assert load_tokenizer(ModelSpec(path=str(tmp_path / "kept"))).legacy is True


def test_the_prompt_of_generation_is_the_golden_prompt(tmp_path):
    encoder = Encoder(load_tokenizer(ModelSpec(path=str(saved(tmp_path, legacy=True)))))
    assert encoder.prompt_ids([{"role": "user", "content": "Hello"}]) == GOLDEN_IDS
    assert encoder.stop_ids == (32000, 2)


def test_no_stray_space_stands_between_prompt_and_answer(tmp_path):
    tokenizer = load_tokenizer(ModelSpec(path=str(saved(tmp_path, legacy=True))))
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Aspirin : B"}]
    encoded = Encoder(tokenizer).encode(Example(messages))
    first = list(encoded.supervised).index(1)
    assert list(encoded.input_ids[:first]) == GOLDEN_IDS
    assert 28705 not in encoded.input_ids
    assert tokenizer.convert_ids_to_tokens(encoded.input_ids[first : first + 2]) == ["▁A", "spir"]


def test_control_tokens_in_a_message_are_spelled_out(tmp_path):
    tokenizer = load_tokenizer(ModelSpec(path=str(saved(tmp_path, legacy=True))))
    messages = [{"role": "user", "content": "<s> </s> <|end_of_turn|>"}, {"role": "assistant", "content": "<|pad_0|>"}]
    ids = list(Encoder(tokenizer).encode(Example(messages)).input_ids)
    assert [i for i in ids if i in (1, 2, 32000, 32001)] == [1, 32000, 32000]


HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(["<s>", "</s>", "<|end_of_turn|>", "<|pad_0|>", "\n", "\n\n", "  ", "\x00", "\t", "🩺", "مرض"]),
        st.sampled_from(["a\u0301", " : O\n", "GPT4 Correct User:", "<0x0A>", "x" * 100_000, "\u200f", "\ufeff"]),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=20),
    ),
    min_size=1,
    max_size=6,
).map(lambda parts: "".join(parts).strip() or "x")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder(load_tokenizer(ModelSpec(path=str(saved(tmp_path_factory.mktemp("hostile"), legacy=True)))))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(question=HOSTILE, answer=HOSTILE)
def test_ids_of_hostile_text_decode_to_the_rendered_text(encoder, question, answer):
    encoded = encoder.encode(Example([{"role": "user", "content": question}, {"role": "assistant", "content": answer}]))
    ids, mask = list(encoded.input_ids), list(encoded.supervised)
    assert [(i, n) for n, i in enumerate(ids) if i in (0, 1, 2, 32000, 32001)] == [
        (1, 0),
        (32000, ids.index(32000)),
        (32000, len(ids) - 1),
    ]
    turn, decode = ids.index(32000), encoder.tokenizer.backend_tokenizer.decode
    assert decode(ids[1:turn]) == f"GPT4 Correct User: {question}"
    assert decode(ids[turn + 1 : -1]) == f"GPT4 Correct Assistant: {answer}"
    first = mask.index(1)
    assert ids[turn + 1 : first] == [420, 6316, 28781, 3198, 3123, 21631, 28747]
    assert mask == [0] * first + [1] * (len(ids) - first)
