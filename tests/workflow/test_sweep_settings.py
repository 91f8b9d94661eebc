"""What a grid stands for, which rows choose, and where settings are compared."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune import Example
from medtune.errors import InvalidValueError, SpecError, UnknownKeyError
from medtune.workflow.leg import halves
from medtune.workflow.sweep.halving import ranked, shares_of
from medtune.workflow.sweep.settings import read_grid, settings_of

OUT = Path("out")


def test_a_grid_is_read_as_overrides_are():
    found = read_grid(
        ["lora.r=8,16", "lora.target_modules=all-linear,['q_proj','k_proj']", "train.learning_rate=1e-5..1e-3"]
    )
    assert found == {
        "lora.r": [8, 16],
        "lora.target_modules": ["all-linear", ["q_proj", "k_proj"]],
        "train.learning_rate": "1e-5..1e-3",
    }


@pytest.mark.parametrize("wrong", [["lora.r"], ["=8"], ["lora.r="], ["lora.r=8", "lora.r=16"]])
def test_a_grid_of_another_form_is_refused(wrong):
    with pytest.raises(SpecError):
        read_grid(wrong)


def test_a_grid_stands_for_every_combination_each_in_a_folder_of_its_own():
    settings = settings_of({}, {"lora.r": [8, 16], "train.max_steps": [5, 6]}, OUT, None, 0)
    assert [(one.spec.lora.r, one.spec.train.max_steps) for one in settings] == [(8, 5), (8, 6), (16, 5), (16, 6)]
    assert [one.name for one in settings] == [
        "1-r=8,max_steps=5",
        "2-r=8,max_steps=6",
        "3-r=16,max_steps=5",
        "4-r=16,max_steps=6",
    ]
    assert settings[3].spec.output_dir == str(OUT / "runs" / settings[3].name)


def test_names_of_folders_lead_nowhere_else():
    [one, _] = settings_of({}, {"model.name": ["../../x/y", "a/b"]}, OUT, None, 0)
    assert one.name == "1-name=.._.._x_y"


@pytest.mark.parametrize("key", ["seed", "eval.rows_per_source", "tasks", "output_dir", "data.validation", "locked"])
def test_what_would_make_settings_incomparable_cannot_be_tried(key):
    with pytest.raises(SpecError, match=f"{key} cannot be tried by a sweep"):
        settings_of({}, {key: [1, 2]}, OUT, None, 0)


@pytest.mark.parametrize("grid", [{}, {"lora.r": [8]}, {"lora.r": list(range(1, 300))}])
def test_one_setting_or_hundreds_are_no_sweep(grid):
    with pytest.raises(SpecError, match="a sweep takes from 2 to 200"):
        settings_of({}, grid, OUT, None, 0)


def test_a_mistake_in_one_setting_is_told_before_anything_begins():
    with pytest.raises(UnknownKeyError):
        settings_of({}, {"lora.rank": [8, 16]}, OUT, None, 0)
    with pytest.raises(InvalidValueError):
        settings_of({}, {"lora.r": [8, -1]}, OUT, None, 0)


def test_settings_are_drawn_by_the_seed_without_repetition_and_ranges_by_their_logarithm():
    grid = {"lora.r": "4..64", "train.learning_rate": "1e-5..1e-3", "lora.init": ["default", "orthogonal"]}
    drawn = [one.values for one in settings_of({}, grid, OUT, 20, 1)]
    assert drawn == [one.values for one in settings_of({}, grid, OUT, 20, 1)]
    assert drawn != [one.values for one in settings_of({}, grid, OUT, 20, 2)]
    assert all(drawn.count(one) == 1 for one in drawn)
    assert all(isinstance(one["lora.r"], int) and 4 <= one["lora.r"] <= 64 for one in drawn)
    assert 4 < sum(one["train.learning_rate"] < 1e-4 for one in drawn) < 16
    assert len(settings_of({}, {"lora.r": [1, 2, 3]}, OUT, 8, 0)) == 3


@pytest.mark.parametrize("wrong", ["1e-3..1e-5", "0..1", "1..", "a..b"])
def test_a_range_that_is_none_is_refused(wrong):
    with pytest.raises(SpecError):
        settings_of({}, {"lora.dropout": wrong}, OUT, 3, 0)


def test_a_range_needs_a_number_of_draws():
    with pytest.raises(SpecError, match="--random 8"):
        settings_of({}, {"lora.r": "8..64"}, OUT, None, 0)


def test_eight_settings_are_compared_after_an_eighth_a_quarter_and_half():
    assert shares_of(8, halving=True) == [0.125, 0.25, 0.5, 1.0]
    assert shares_of(5, halving=True) == [0.125, 0.25, 0.5, 1.0]
    assert shares_of(2, halving=True) == [0.5, 1.0]
    assert shares_of(8, halving=False) == [1.0]


def test_a_setting_without_a_figure_is_behind_all_others():
    settings = [{"name": str(n), "parts": [{"share": 0.5, "figure": f}]} for n, f in enumerate((None, -2.0, 0.0, 0.0))]
    assert [one["name"] for one in ranked(settings, 0.5)] == ["2", "3", "1", "0"]


ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), min_size=2, max_size=60)


@given(ROWS, st.integers(0, 9))
def test_halves_share_no_row_and_no_document(rows, seed):
    examples = [
        Example((), source, None, f"row {n}", f"patient {patient}" if patient else "")
        for n, (source, patient) in enumerate(rows)
    ]
    first, second = halves(examples, seed)
    assert sorted(e.row_id for e in (*first, *second)) == sorted(e.row_id for e in examples)
    assert {e.document for e in first if e.document}.isdisjoint(e.document for e in second if e.document)
    assert halves(examples[::-1], seed) == (first, second)  # whoever reads them, in whatever order


def test_half_of_each_source_chooses():
    examples = [Example((), source, None, f"{source}{n}", "") for source in "abc" for n in range(10)]
    first, second = halves(examples, 3)
    assert [sum(e.source == source for e in first) for source in "abc"] == [5, 5, 5]
    assert len(second) == 15
