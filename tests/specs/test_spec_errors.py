"""A spec that cannot be made is refused by an error of medtune, which is a ValueError as pydantic's is."""

import pickle
from pathlib import Path

import pytest

from medtune import DataSpec, LoraSpec, ModelSpec, RunSpec, TrainSpec
from medtune.errors import InvalidValueError, MedtuneError, SpecError, SpecValidationError
from medtune.specfile import validate_spec


@pytest.mark.parametrize("make", [lambda: LoraSpec(r=-1), lambda: LoraSpec.model_validate({"r": -1})])
def test_a_value_outside_its_range_is_a_spec_error_and_a_value_error(make):
    for kind in (SpecError, MedtuneError, ValueError):
        with pytest.raises(kind, match="'r' of LoraSpec cannot be used: Input should be greater than or equal to 1"):
            make()
    with pytest.raises(SpecValidationError) as caught:
        make()
    assert caught.value.exit_code == 2
    assert [mistake.location for mistake in caught.value.mistakes] == [("r",)]


def test_an_unknown_field_is_named_with_the_nearest_one():
    with pytest.raises(SpecValidationError, match="unknown key 'dropuot' of LoraSpec; did you mean 'dropout'"):
        LoraSpec(dropuot=0.1)


def test_mistakes_inside_parts_are_all_named_by_their_place():
    with pytest.raises(SpecValidationError) as caught:
        RunSpec.model_validate({"lora": {"r": -1}, "train": {"max_lenght": 3}})
    assert [mistake.location for mistake in caught.value.mistakes] == [("lora", "r"), ("train", "max_lenght")]
    assert [mistake.is_unknown for mistake in caught.value.mistakes] == [False, True]


def test_a_rule_between_fields_says_its_own_sentence():
    with pytest.raises(SpecError, match=r"^TrainSpec: max_steps and num_train_epochs exclude each other"):
        TrainSpec(max_steps=3, num_train_epochs=1)
    with pytest.raises(SpecError, match="exclude each other"):
        TrainSpec(max_steps=3).model_copy_with(num_train_epochs=1)


def test_what_was_written_is_not_repeated():
    with pytest.raises(SpecValidationError) as caught:
        LoraSpec(r="Mr Smith has a fever")
    assert "Smith" not in str(caught.value)
    assert b"Smith" not in pickle.dumps(caught.value)


def test_a_file_s_mistakes_are_still_named_by_key():
    with pytest.raises(InvalidValueError, match=r"'lora.r' at 'lora.r' cannot be used"):
        validate_spec({"lora": {"r": -1}})


def test_specs_are_made_by_pydantic_s_ways_too():
    assert RunSpec.model_validate_json('{"lora": {"r": 3}}').lora.r == 3
    assert isinstance(RunSpec(lora=LoraSpec(r=3)), RunSpec)


def test_a_path_may_stand_wherever_a_spec_takes_text():
    spec = RunSpec(
        model=ModelSpec(path=Path("a/base"), chat_template=Path("a/template.jinja")),
        data=DataSpec(source=Path("a/rows.jsonl"), validation=Path("a/held.jsonl")),
        output_dir=Path("a/run"),
    )
    assert spec.model.path == spec.model.name == "a/base"
    assert spec.model.chat_template == "a/template.jinja"
    assert (spec.data.source, spec.data.validation) == ("a/rows.jsonl", "a/held.jsonl")
    assert spec.output_dir == "a/run"
    mixed = DataSpec(mix=[{"source": Path("a.jsonl")}, {"source": "b.jsonl"}])
    assert [member.source for member in mixed.mix] == ["a.jsonl", "b.jsonl"]
