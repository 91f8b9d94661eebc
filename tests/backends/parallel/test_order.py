"""Together all processes take, update by update, the rows that one would take, each once."""

from hypothesis import given
from hypothesis import strategies as st

from medtune.backends.parallel.order import UpdateShare


@given(st.permutations(range(23)), st.integers(1, 23), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_the_rows_of_every_update_are_those_of_one_process(order, count, micro, times, processes):
    order = [row for row in order if row < count]
    shares = [UpdateShare(order, micro, times, (process, processes)) for process in range(processes)]
    taken = [list(share) for share in shares]
    assert {len(batches) for batches in taken} == {len(share) for share in shares}
    assert len({len(batches) for batches in taken}) == 1
    rows = micro * times * processes
    windows = [order[start : start + rows] for start in range(0, count, rows)]
    for number, window in enumerate(windows):
        passes = [batches[number * times : (number + 1) * times] for batches in taken]
        in_turn = [batch for turn in zip(*passes, strict=True) for batch in turn]  # round by round
        assert [row for batch in in_turn for row in batch if row >= 0] == window
        assert all(batch == [~window[0]] for batch in in_turn if batch[0] < 0)
