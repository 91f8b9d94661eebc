"""Data sets of the hub are read at the commit that was asked for, whole and private, or one sentence says why not."""

import io
import stat

import pyarrow as pa
import pytest
from pyarrow import parquet

from medtune.data.hub.download import Listener
from medtune.data.hub.repository import Repository
from medtune.data.rows import data_fingerprint, read_rows
from medtune.data.sources.hub import HubData
from medtune.errors import CorruptDownloadError, DataError, HubError, HubUnreachableError
from medtune.testing.hub import pointed_at, serve_hub
from medtune.testing.hub_contents import Fault, StandInHub

OLD, NEW = "0" * 39 + "1", "f" * 39 + "2"
SECRET = "Mrs Patient"


def table_of(rows):
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def set_of(*values):
    return {
        "README.md": b"# a card without a head",
        "data/train-00000-of-00001.parquet": table_of([{"a": value} for value in values]),
        "data/validation-00000-of-00001.parquet": table_of([{"a": "held out", "b": 1}]),
    }


CONFIGS = (
    b"---\nconfigs:\n- {config_name: en, data_files: en.parquet}\n- {config_name: zh, data_files: zh.parquet}\n---"
)
LABELS = (
    b"---\ndataset_info:\n  features:\n  - name: label\n    dtype: {class_label: {names: {'0': no, '1': yes}}}\n---\n"
)
DATASETS = {
    "org/set": {OLD: set_of("old"), NEW: set_of("new", "more")},
    "org/two": {
        NEW: {
            "README.md": CONFIGS,
            "en.parquet": table_of([{"a": "english"}]),
            "zh.parquet": table_of([{"a": "chinese"}]),
        }
    },
    "org/lines": {NEW: {"train.jsonl": b'{"a": "line"}\n', "test.jsonl": b'{"a": "test"}\n', "notes.txt": b"other"}},
    "org/broken": {NEW: {"train.jsonl": b'{"a": "' + SECRET.encode() + b"\n"}},
    "org/program": {NEW: {"program.py": b"raise SystemExit", "README.md": b""}},
    "org/labels": {NEW: {"README.md": LABELS, "train.parquet": table_of([{"label": 1}])}},
    "gated/set": {NEW: set_of("gated")},
}


@pytest.fixture
def hub(tmp_path):
    held = StandInHub(datasets=dict(DATASETS), gated=frozenset({"gated/set"}))
    with serve_hub(held) as served, pointed_at(served, tmp_path):
        yield served


def values_of(source, **options):
    return [row.values["a"] for row in read_rows(source, **options)]


def test_the_rows_of_the_pinned_commit_are_read_with_their_place(hub):
    rows = list(read_rows("org/set", revision=NEW))
    assert [(row.values["a"], row.row_id, row.place) for row in rows] == [
        ("new", "train-0", f"org/set@{NEW[:12]}[train] row 0"),
        ("more", "train-1", f"org/set@{NEW[:12]}[train] row 1"),
    ]
    assert values_of("org/set", revision=OLD) == ["old"]
    assert values_of("org/set") == ["new", "more"]
    assert values_of("org/set", revision=NEW, split="validation") == ["held out"]


def test_only_the_files_of_the_split_are_fetched_and_none_twice(hub):
    values_of("org/set", revision=NEW)
    fetched = [each.path for each in hub.asked if "/resolve/" in each.path]
    assert fetched == [f"/datasets/org/set/resolve/{NEW}/{name}" for name in list(set_of())[:2]]
    hub.asked.clear()
    assert values_of("org/set", revision=NEW) == ["new", "more"]
    assert hub.asked == []


def test_a_set_can_be_lines_or_have_subsets_or_names_of_labels(hub):
    assert values_of("org/lines", revision=NEW, split="test") == ["test"]
    assert values_of("org/two", revision=NEW, subset="zh") == ["chinese"]
    assert [row.values for row in read_rows("org/labels", revision=NEW)] == [{"label": 1}]


def test_what_was_fetched_is_read_without_a_connection(hub, tmp_path):
    values_of("org/set")
    with pointed_at(hub, tmp_path, offline=True):
        assert values_of("org/set", revision=NEW) == values_of("org/set") == ["new", "more"]
        with pytest.raises(HubUnreachableError, match=r"'org/set' .* not to ask the hub; .* --set data\.source=FILE"):
            values_of("org/set", revision=OLD)


def test_a_set_can_be_made_local_before_it_is_read(hub):
    told = []
    HubData("org/set", NEW).make_local(Listener(told.append))
    assert told[-1].startswith("fetching 1 file, 0 kB, of data set 'org/set' at fffffff")
    hub.asked.clear()
    assert values_of("org/set", revision=NEW) == ["new", "more"]
    assert hub.asked == []


def test_cached_data_is_readable_by_its_owner_only(hub):
    values_of("org/set")
    cache = Repository("dataset", "org/set").cache
    assert not [path for path in (cache, *cache.rglob("*")) if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]


def test_a_corrupt_file_changes_no_row(hub, tmp_path):
    hub.faults.append(Fault("cdn ", flip=60))
    with pytest.raises(
        CorruptDownloadError, match=r"'data/train-00000-of-00001\.parquet' of data set 'org/set' is corrupt"
    ):
        values_of("org/set", revision=NEW)


@pytest.mark.parametrize(
    ("source", "options", "kind", "sentence"),
    [
        ("org/set", {"revision": OLD, "split": "test"}, DataError, r"has no split 'test' \(it has 'train', 'validation'\); set"),
        ("org/set", {"revision": "e" * 40}, HubError, "has no revision 'e{40}'; set data.revision"),
        ("org/none", {}, HubError, "data set 'org/none' does not exist, or is private and there is no token"),
        ("gated/set", {}, HubError, "is gated, and there is no token; ask for access on its page .*/datasets/gated/set"),
        ("org/two", {}, DataError, r"has several subsets \(it has 'en', 'zh'\); set data.subset"),
        ("org/two", {"subset": "fr"}, DataError, r"has no subset 'fr' \(it has 'en', 'zh'\); set data.subset"),
        ("org/program", {}, HubError, "is a program .*; set data.revision=refs/convert/parquet"),
        ("org/broken", {}, DataError, r"data set 'org/broken' cannot be read \("),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(hub, source, options, kind, sentence):
    with pytest.raises(kind, match=sentence) as caught:
        values_of(source, **options)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or SECRET not in str(caught.value.__cause__)


def test_a_set_is_known_by_its_commit_and_a_pinned_one_without_a_connection(hub, tmp_path):
    prints = {data_fingerprint("org/set", revision=c, subset=s, split=p) for c, s, p in COMBINATIONS}
    assert len(prints) == len(COMBINATIONS)
    assert None not in prints
    assert hub.asked == []
    assert data_fingerprint("org/set") == data_fingerprint("org/set", revision=NEW)
    with pointed_at(hub, tmp_path, offline=True):
        assert data_fingerprint("org/other") is None


COMBINATIONS = [(OLD, None, "train"), (NEW, None, "train"), (NEW, "en", "train"), (NEW, None, "test")]


def test_rows_are_read_in_order_over_batches(hub):
    hub.datasets["org/many"] = {NEW: {"train.parquet": table_of([{"a": str(i)} for i in range(2500)])}}
    assert values_of("org/many", revision=NEW) == [str(i) for i in range(2500)]
