"""The report holds the minutes that were promised against those that a run took."""

from medtune.export.minutes import minutes_section

RECORD = {
    "plan": {"minutes_basis": {"train": "1 <b> token a second", "load": "not estimated: no disk"}},
    "minutes": {
        "promised": {"load": None, "prepare": 0.5, "train": 2.0, "score": 1.0, "total": None},
        "measured": {"load": 0.25, "prepare": 1.0, "train": 3.0, "score": 1.0, "total": 5.25},
    },
}


def test_every_stage_has_its_promise_its_time_and_their_ratio():
    page = minutes_section(RECORD)
    assert 'id="minutes"' in page
    for told in ("load the base", "0.25", "2.00", "3.00", "1.50", "5.25", "not estimated: no disk"):
        assert told in page
    assert "1 &lt;b&gt; token a second" in page


def test_a_run_that_was_not_timed_has_no_section():
    assert minutes_section({}) == ""
    assert minutes_section({"minutes": {"promised": {"train": 1.0}, "measured": {}}}) == ""
