"""Data sets of the hub are read at the commit that was asked for, or one sentence says why not."""

import io
import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from hub_server import serve
from pyarrow import parquet

from medtune.data.rows import data_fingerprint
from medtune.data.sources.hub import HubData
from medtune.errors import DataError, HubUnreachableError

OLD, NEW = "0" * 39 + "1", "f" * 39 + "2"
SECRET = "Mrs Patient"


class FakeSet:
    """What ``load_dataset`` returns, as far as it is used."""

    def __init__(self, rows, commit=NEW):
        self.rows = rows
        self.cache_files = [{"filename": f"/cache/org___set/default/0.0.0/{commit}/set-train.arrow"}]

    def iter(self, batch_size):
        for start in range(0, len(self.rows), batch_size):
            piece = self.rows[start : start + batch_size]
            yield {column: [row[column] for row in piece] for column in piece[0]}


def rows_of(data, result):
    """Read with a client that returns or raises ``result``."""

    def load(*_arguments, **_options):
        if isinstance(result, Exception):
            raise result
        return result

    return list(data.rows(load))


def test_rows_are_read_in_order_over_batches():
    rows = [{"a": i, "b": str(i)} for i in range(2500)]
    assert rows_of(HubData("org/set", NEW), FakeSet(rows)) == rows


def test_the_client_is_asked_for_exactly_what_the_spec_names():
    asked = []

    def load(*arguments, **options):
        asked.append((arguments, options))
        return FakeSet([{"a": 1}])

    list(HubData("org/set", NEW, "en", "test", streaming=True).rows(load))
    options = {"name": "en", "revision": NEW, "split": "test", "streaming": True}
    assert asked == [(("org/set",), options)]


def test_another_commit_in_the_cache_is_refused():
    with pytest.raises(DataError, match="at commit 000000000000 and the run is pinned to ffffffffffff"):
        rows_of(HubData("org/set", NEW), FakeSet([{"a": 1}], commit=OLD))
    assert rows_of(HubData("org/set", "main"), FakeSet([{"a": 1}], commit=OLD)) == [{"a": 1}]


def named(name, module="datasets.exceptions", base=Exception):
    return type(name, (base,), {"__module__": module})


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (ConnectionError("x"), HubUnreachableError, r"'org/set': .* --set data\.source=FILE"),
        (named("ConnectTimeout", "httpx._exceptions")("x"), HubUnreachableError, "hub cannot be reached"),
        (ValueError("Unknown split \"dev\". Should be one of ['train']."), DataError, r"no split 'train' \(it has 'train'\)"),
        (ValueError("Config name is missing.\nPick one of ['en', 'zh']"), DataError, r"subsets \(it has 'en', 'zh'\)"),
        (named("DatasetNotFoundError")("Dataset 'x' is a gated dataset"), DataError, "is gated: ask for access"),
        (named("DatasetNotFoundError")("Dataset 'x' doesn't exist"), DataError, "does not exist, or needs a log-in"),
        (named("DatasetNotFoundError")("Revision 'x' doesn't"), DataError, f"has no revision '{NEW}'"),
        (named("DatasetGenerationError")(SECRET), DataError, r"cannot be read \(DatasetGenerationError\)"),
    ],
)  # fmt: skip
def test_what_the_client_raises_becomes_one_sentence(error, kind, sentence):
    with pytest.raises(kind, match=sentence) as caught:
        rows_of(HubData("org/set", NEW), error)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_pinned_set_is_known_by_its_commit_without_a_connection():
    prints = {data_fingerprint("org/set", revision=c, subset=s, split=p) for c, s, p in COMBINATIONS}
    assert len(prints) == len(COMBINATIONS)
    assert None not in prints


COMBINATIONS = [(OLD, None, "train"), (NEW, None, "train"), (NEW, "en", "train"), (NEW, None, "test")]


def table_of(rows):
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


REPOSITORIES = {
    "org/set": {
        OLD: {"README.md": b"# old", "data/train-00000-of-00001.parquet": table_of([{"a": "old"}])},
        NEW: {"README.md": b"# new", "data/train-00000-of-00001.parquet": table_of([{"a": "new"}, {"a": "more"}])},
    },
    "org/two": {
        NEW: {
            "README.md": b"---\nconfigs:\n- {config_name: en, data_files: en.parquet}\n- {config_name: zh, data_files: zh.parquet}\n---",
            "en.parquet": table_of([{"a": "english"}]),
            "zh.parquet": table_of([{"a": "chinese"}]),
        }
    },
    "gated/set": {NEW: {"README.md": b"# gated"}},
}
READ = """
import json, sys
from medtune.data.rows import data_fingerprint, read_rows
from medtune.errors import MedtuneError
for source, options in json.loads(sys.argv[1]):
    try:
        answer = [[row.values["a"], row.place] for row in read_rows(source, **options)]
    except MedtuneError as error:
        answer = f"{type(error).__name__}: {error}"
    known = data_fingerprint(source, revision=options.get("revision"))
    print(json.dumps([answer, known]), flush=True)
"""


def read_in_a_process(endpoint, folder, requests, **environment):
    """Read with the real client, whose settings are read once per process."""
    settings = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder), "HF_TOKEN": "", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(requests)],
        env=settings | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_real_client_gives_the_pinned_commit_and_clear_refusals(tmp_path):
    with serve(REPOSITORIES) as endpoint:
        found = read_in_a_process(
            endpoint,
            tmp_path,
            [
                ("org/set", {"revision": OLD}),
                ("org/set", {}),
                ("org/set", {"revision": NEW, "streaming": True}),
                ("org/set", {"revision": OLD, "split": "test"}),
                ("org/set", {"revision": "e" * 40}),
                ("org/none", {}),
                ("gated/set", {}),
                ("org/two", {}),
                ("org/two", {"subset": "zh"}),
            ],
        )
    answers, prints = [answer for answer, _ in found], [known for _, known in found]
    assert answers[0] == [["old", f"org/set@{OLD[:12]}[train] row 0"]]
    assert answers[1] == [["new", "org/set@main[train] row 0"], ["more", "org/set@main[train] row 1"]]
    assert [value for value, _ in answers[2]] == ["new", "more"]
    assert answers[3] == "DataError: data set 'org/set' has no split 'test' (it has 'train'); set data.split"
    assert answers[4] == f"DataError: data set 'org/set' has no revision '{'e' * 40}'"
    assert answers[5] == "DataError: data set 'org/none' does not exist, or needs a log-in"
    assert answers[6] == "DataError: data set 'gated/set' is gated: ask for access and log in"
    assert answers[7] == "DataError: data set 'org/two' has several subsets (it has 'en', 'zh'); set data.subset"
    assert [value for value, _ in answers[8]] == ["chinese"]
    assert prints[1] == prints[2] != prints[0]  # the main branch is at the newest commit
    offline = read_in_a_process(
        endpoint,
        tmp_path,
        [("org/set", {"revision": NEW}), ("org/set", {"revision": OLD}), ("org/other", {}), ("org/set", {})],
        HF_HUB_OFFLINE="1",
    )
    assert [value for value, _ in offline[0][0]] == ["new", "more"]
    assert offline[1][0].startswith("DataError: the cache holds data set 'org/set' at commit ffffffffffff")
    assert offline[2][0].startswith("HubUnreachableError: cannot get data set 'org/other'")
    assert offline[3][1] is None  # which commit main is at cannot be told: nothing is cached under it
