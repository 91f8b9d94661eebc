"""A time limit is what a scheduler would take it for, and what two of them read differently is refused."""

import pytest

from medtune.cli.durations import minutes_of
from medtune.errors import SpecError


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90m", 90),
        ("3h30m", 210),
        ("1.5h", 90),
        ("45s", 0.75),
        ("1d2h3m30s", 1563.5),
        ("01:30:00", 90),
        ("00:00:30", 0.5),
        ("100:00:00", 6000),
        ("1-12:00:00", 2160),
        (" 2H ", 120),
    ],
)
def test_a_duration_is_read(text, minutes):
    assert minutes_of(text, "--max-time") == pytest.approx(minutes)


@pytest.mark.parametrize("text", ["", "90", "01:30", "0m", "00:00:00", "m", "30m2h", "-5m", "01:75:00", "nan", "2w"])
def test_what_may_mean_something_else_is_refused(text):
    with pytest.raises(SpecError, match=r"--max-time .* is not a duration: write 90m, 3h30m"):
        minutes_of(text, "--max-time")
