"""The rows of an update are the same for any number of processes, or are refused with the nearest numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.errors import SpecError
from medtune.specs import TrainSpec

SIZES = st.integers(1, 24)


def train_of(micro, times):
    return TrainSpec(per_device_batch_size=micro, gradient_accumulation_steps=times)


@given(SIZES, SIZES, st.integers(1, 16))
def test_the_shares_of_all_processes_are_the_update_or_it_is_refused(micro, times, processes):
    train = train_of(micro, times)
    if micro * times % processes:
        with pytest.raises(SpecError, match=rf"an update of {micro * times} rows? \("):
            train.share(processes)
        return
    share = train.share(processes)
    assert share.update_rows * processes == train.update_rows
    assert share.per_device_batch_size <= micro


def test_a_pass_is_as_large_as_written_where_the_passes_divide():
    share = train_of(4, 6).share(3)
    assert (share.per_device_batch_size, share.gradient_accumulation_steps) == (4, 2)


def test_one_process_does_all_of_it():
    assert train_of(3, 5).share(1) == train_of(3, 5)


@pytest.mark.parametrize(
    ("sizes", "processes", "said"),
    [
        ((1, 4), 3, "start 2 or 4 processes, or take updates of 3 or 6 rows"),
        ((1, 4), 8, "start 4 processes, or take updates of 8 rows"),
        ((1, 1), 3, "an update of 1 row (train.per_device_batch_size 1 x"),
        ((1, 1), 3, "start 1 process, or take updates of 3 rows"),
        ((2, 5), 4, "start 2 or 5 processes, or take updates of 8 or 12 rows"),
    ],
)
def test_a_refusal_names_what_would_do(sizes, processes, said):
    with pytest.raises(SpecError) as caught:
        train_of(*sizes).share(processes)
    assert said in str(caught.value)
