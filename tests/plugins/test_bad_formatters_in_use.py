"""What becomes of bad formatters in a real preview: each is refused, or the answers learned are the right ones."""

import json
import logging

import pytest
from bad_plugins import of_rows
from bad_plugins.making import providing

from medtune import MedTuner
from medtune.errors import MedtuneError

ROWS = [{"letter": f"Letter {i}.", "summary": f"Summary {i}.", "parts": ["a", "b"]} for i in range(12)]
ITS_OWN_BUSINESS = {
    "gives the same for all",  # two rows may be alike
    "answers with nothing",  # the rows are set aside
    "tells stderr the row",  # prints of its own are its own
    "prints the row",
    "hangs on a huge row",  # there is none among these
    "patches json",  # nothing is left that could be compared
}
CASES = [bad for bad in of_rows.BAD if bad.fault not in ITS_OWN_BUSINESS and bad.seconds > 10]


def previewed(plugin, name):
    rows = [dict(row, parts=list(row["parts"])) for row in ROWS]
    tuner = MedTuner.from_bundle("demo", data=rows, plugins=[plugin])
    spec = tuner.spec.model_copy_with(data=tuner.spec.data.model_copy_with(formatter=name))
    shown = MedTuner(spec, plugins=tuner.host, rows=rows).preview(3)
    return [[token for token, chosen in zip(row.input_ids, row.supervised, strict=True) if chosen] for row in shown]


@pytest.mark.parametrize(
    "bad",
    [pytest.param(b, id=b.fault) for b in CASES],
)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_bad_formatter_is_refused_or_the_right_answers_are_learned(bad, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(json, "dumps", json.dumps)
    monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])
    monkeypatch.setenv("LETTERS_SEEN", "before")
    thing = bad.plugin.provide_formatters()[0]
    try:
        found = previewed(bad.plugin, thing.name)
    except MedtuneError as error:
        said = "Plugin", repr(thing.name), "choose another data.formatter"  # the last of rows that are all malformed
        assert any(each in str(error) for each in said)
        return
    wanted = of_rows.Nested() if isinstance(thing, of_rows.Nested) else of_rows.Right()
    assert found == previewed(providing("formatter", wanted), wanted.name)
