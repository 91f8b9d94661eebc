"""Specs and run records that were written with a field's former name are still read."""

import pytest

from medtune import RunSpec
from medtune.errors import SpecValidationError
from medtune.specfile import apply_overrides, merge, validate_spec


@pytest.mark.parametrize(
    ("part", "former", "name", "value"),
    [
        ("train", "restored_weights", "dequantized_weights", "keep"),
        ("eval", "closed_answers", "label_likelihood", True),
    ],
)
def test_a_former_name_sets_the_field_and_is_written_no_more(part, former, name, value):
    values = RunSpec.model_validate({part: {former: value}}).model_dump()[part]
    assert values[name] == value
    assert former not in values
    with pytest.raises(SpecValidationError, match=f"{former} is the former name of {name}"):
        RunSpec.model_validate({part: {former: value, name: value}})


@pytest.mark.parametrize(
    ("below", "above"), [("restored_weights", "dequantized_weights"), ("dequantized_weights", "restored_weights")]
)
def test_what_is_laid_over_wins_by_whichever_name(below, above):
    values = {"train": {below: "keep"}}
    assert validate_spec(apply_overrides(values, [f"train.{above}=each_pass"])).train.dequantized_weights == "each_pass"
    assert validate_spec(merge(values, {"train": {above: "auto"}})).train.dequantized_weights == "auto"
    assert values == {"train": {below: "keep"}}
