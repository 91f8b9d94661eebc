"""Tests for a repository that tunes a model: quick, offline, without a GPU. Run with `pytest test_tuning.py`."""

import pytest

from medtune import MedTuner
from medtune.errors import SpecError


@pytest.fixture(scope="module")
def tuner() -> MedTuner:
    """Yours would be `MedTuner.from_file("run.toml")`."""
    return MedTuner.from_bundle("demo")


def test_the_spec_is_sound(tuner: MedTuner) -> None:
    tuner.check()


def test_the_answers_carry_the_loss(tuner: MedTuner) -> None:
    for row in tuner.preview(5):
        assert 0 < sum(row.supervised) < len(row.supervised)


def test_nothing_is_cut_or_set_aside(tuner: MedTuner) -> None:
    assert tuner.inspect(1).report.to_json()["quarantined"] == 0


def test_a_typing_mistake_is_found_before_the_night() -> None:
    with pytest.raises(SpecError, match="did you mean 'lora'"):
        MedTuner.from_bundle("demo", loora={"r": 4})
