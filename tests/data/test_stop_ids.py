"""The ids that end an answer: the template's end of turn, the tokenizer's end, the model's own, and those of base models."""

import json

import pytest
from chat_templates import END_OF_TURN, TEMPLATES, make_tokenizer

from medtune.data.contract import check_contract, write_contract
from medtune.data.encode import Encoder
from medtune.data.stop_ids import configured_ends, stop_ids
from medtune.errors import SpecError, UnsafeArtifactError
from medtune.plugins.contracts import Example
from medtune.specs import ModelSpec

ANSWERED = [{"role": "user", "content": "Label."}, {"role": "assistant", "content": "Aspirin"}]


def written(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return ModelSpec(path=str(folder))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_first_is_the_last_supervised_token_of_an_answer(tokenizers, name):
    tokenizer = tokenizers[name]
    encoded = Encoder(tokenizer).encode(Example(ANSWERED))
    last = [i for i, is_supervised in zip(encoded.input_ids, encoded.supervised, strict=True) if is_supervised][-1]
    assert stop_ids(tokenizer)[0] == last == tokenizer.convert_tokens_to_ids(END_OF_TURN[name])
    assert set(stop_ids(tokenizer)) == {last, tokenizer.eos_token_id}


def test_an_end_of_turn_that_is_not_the_tokenizers_end_is_one_of_them():
    tokenizer = make_tokenizer(TEMPLATES["chatml"])
    tokenizer.eos_token = "<|endoftext|>"
    turn, text, classic = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>", "</s>"])
    assert stop_ids(tokenizer, (text, 7)) == (turn, text, classic, 7)


def test_a_classic_end_that_is_plain_text_is_none(tokenizers):
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer.from_str(tokenizers["chatml"].backend_tokenizer.to_str())
    values = json.loads(plain.to_str())
    values["added_tokens"] = [token for token in values["added_tokens"] if token["content"] != "</s>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(values)), eos_token=AddedToken("<|im_end|>", special=True)
    )
    tokenizer.chat_template = TEMPLATES["chatml"]
    assert "</s>" in tokenizer.get_vocab()
    assert stop_ids(tokenizer) == (tokenizer.eos_token_id,)


def test_a_tokenizer_without_a_template_has_its_own_end(tokenizers):
    tokenizer = make_tokenizer(None)
    assert stop_ids(tokenizer, (9,)) == (tokenizer.eos_token_id, 9)


@pytest.mark.parametrize(("ends", "expected"), [(5, (5,)), ([5, 8], (5, 8)), (None, ())])
def test_the_models_own_ends_are_those_of_its_generation_config(tmp_path, ends, expected):
    config = {"model_type": "mistral", "eos_token_id": 3}
    assert configured_ends(written(tmp_path, config=config, generation_config={"eos_token_id": ends})) == expected


@pytest.mark.parametrize(
    "text", ["[1]", '{"eos_token_id": "</s>"}', '{"eos_token_id": [1, -2]}', '{"eos_token_id": true}']
)
def test_ends_that_are_no_ids_are_refused(tmp_path, text):
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(SpecError, match=r"generation_config\.json"):
        configured_ends(ModelSpec(path=str(tmp_path)))


@pytest.mark.parametrize(("ends", "expected"), [(3, (3,)), ([3, 4], (3, 4)), (None, ())])
def test_without_one_they_are_those_of_its_config(tmp_path, ends, expected):
    assert configured_ends(written(tmp_path, config={"model_type": "mistral", "eos_token_id": ends})) == expected


def test_a_folder_without_configuration_names_none(tmp_path):
    assert configured_ends(ModelSpec(path=str(tmp_path))) == ()


def test_the_contract_keeps_all_of_them_and_others_break_it(tmp_path, tokenizers):
    model = written(tmp_path, generation_config={"eos_token_id": [5, 8]})
    encoder = Encoder(tokenizers["chatml"], model=model)
    write_contract(tmp_path, encoder)
    kept = json.loads((tmp_path / "prompt_contract.json").read_text())
    assert kept["stop_ids"] == list(encoder.stop_ids)
    assert {5, 8} < set(encoder.stop_ids)
    check_contract(tmp_path, encoder)
    with pytest.raises(UnsafeArtifactError, match="stop_ids differ"):
        check_contract(tmp_path, Encoder(tokenizers["chatml"]))
    write_contract(tmp_path, Encoder(tokenizers["chatml"]))
    with pytest.raises(UnsafeArtifactError, match="stop_ids differ"):
        check_contract(tmp_path, encoder)
    former = json.loads((tmp_path / "prompt_contract.json").read_text()) | {"format": 1}
    del former["special_tokens"]  # an earlier medtune knew fewer, which changes no prompt
    (tmp_path / "prompt_contract.json").write_text(json.dumps(former))
    assert check_contract(tmp_path, encoder) == ["its special tokens"]
    (tmp_path / "prompt_contract.json").write_text(json.dumps({k: v for k, v in kept.items() if k != "stop_ids"}))
    with pytest.raises(UnsafeArtifactError, match="stop_ids differ"):
        check_contract(tmp_path, encoder)
