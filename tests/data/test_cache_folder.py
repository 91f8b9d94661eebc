"""Nothing but what medtune wrote is ever removed from a cache folder, whatever MEDTUNE_CACHE names."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from preparing import file_of, spec_of

from medtune.data import cache as cache_module
from medtune.data import cache_folder as folder_module
from medtune.data.cache import PreparedCache, cache_key
from medtune.data.cache_folder import MARKER, is_written
from medtune.data.prepare import prepare
from medtune.errors import ForeignFolderError, StorageError, UnknownSetError

KEY = cache_key({"a": 1})


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def prepared(host, tokenizer, rows, tmp_path, root):
    """A cache of two prepared sets."""
    paths = [file_of(tmp_path, rows[:count], f"{count}.jsonl") for count in (60, 80)]
    for path in paths:
        prepare(spec_of(path), host, tokenizer)
    return PreparedCache(root), paths


def everything(folder):
    return sorted(
        (str(p.relative_to(folder)), p.lstat().st_mode, p.read_bytes() if p.is_file() else b"")
        for p in folder.rglob("*")
    )


def a_home(folder):
    (folder / "thesis" / "chapters").mkdir(parents=True)
    (folder / "thesis" / "chapters" / "1.tex").write_text("my only copy")
    (folder / "facts.json").write_text("{}")
    (folder / ".staging-area").mkdir()
    (folder / ".staging-area" / "notes.txt").write_text("mine")
    (folder / ("ab" * 32)).mkdir()
    (folder / ("ab" * 32) / "photo.jpg").write_text("mine too")
    return folder


def test_a_folder_of_other_files_is_not_cleared(tmp_path):
    before = everything(a_home(tmp_path / "home"))
    cache = PreparedCache(tmp_path / "home")
    for remove in (cache.clear, lambda: cache.remove(["ab"])):
        with pytest.raises(ForeignFolderError, match="holds files of others and no"):
            remove()
    assert cache.prune() == 0
    assert cache.entries() == []
    assert everything(tmp_path / "home") == before


def test_the_whole_file_system_is_not_cleared():
    with pytest.raises(ForeignFolderError):
        PreparedCache(Path("/")).clear()


def test_a_home_that_was_used_as_a_cache_loses_the_sets_alone(prepared, root, tmp_path):
    before = everything(a_home(tmp_path / "home"))
    for entry in root.iterdir():
        entry.rename(tmp_path / "home" / entry.name)
    cleared = PreparedCache(tmp_path / "home").clear()
    assert cleared.removed == 2
    assert cleared.left.keys() == {"ab" * 32, ".staging-area"}
    (tmp_path / "home" / MARKER).unlink()
    assert everything(tmp_path / "home") == before


def test_a_link_in_place_of_the_cache_is_not_followed(prepared, root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(ForeignFolderError, match="is a link to"):
        PreparedCache(tmp_path / "link").clear()
    assert len(prepared[0].entries()) == 2


def test_links_among_the_sets_are_neither_read_nor_followed(prepared, root, tmp_path):
    cache, _paths = prepared
    first, second = cache.entries()
    (root / first.key).rename(tmp_path / "elsewhere")
    (root / first.key).symlink_to(tmp_path / "elsewhere")
    ids = root / second.key / "ids.bin"
    ids.rename(tmp_path / "ids.bin")
    ids.symlink_to(tmp_path / "ids.bin")
    assert cache.entries() == []
    assert cache.find(first.key) is None
    assert cache.find(second.key) is None
    assert cache.clear().left.keys() == {first.key, second.key}
    assert (tmp_path / "elsewhere" / "facts.json").exists()
    assert (tmp_path / "ids.bin").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_set_of_another_user_is_not_read(prepared, root):
    cache, _paths = prepared
    key = cache.entries()[0].key
    os.chown(root / key, 65534, 65534)
    assert cache.find(key) is None
    assert key in cache.clear().left


def test_a_link_under_a_set_s_name_is_not_written_through(host, tokenizer, rows, root, tmp_path):
    (tmp_path / "theirs").mkdir()
    spec = spec_of(file_of(tmp_path, rows[:60]))
    prepare(spec, host, tokenizer)
    (entry,) = PreparedCache(root).entries()
    PreparedCache(root).clear()
    (root / entry.key).symlink_to(tmp_path / "theirs")
    with pytest.raises(StorageError):
        prepare(spec, host, tokenizer)
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_cache_of_an_earlier_release_is_cleared_though_it_has_no_marker(prepared, root):
    (root / MARKER).unlink()
    assert prepared[0].clear().removed == 2
    assert list(root.iterdir()) == []


def test_a_cache_that_is_not_there_has_nothing_to_clear(tmp_path):
    assert PreparedCache(tmp_path / "none").clear().removed == 0


def test_the_list_says_source_rows_and_dates_and_no_text(prepared, rows, root):
    cache, paths = prepared
    entries = {entry.sources[0]: entry for entry in cache.entries()}
    assert entries.keys() == set(paths)
    for path, entry in entries.items():
        assert 0 < entry.rows < len(Path(path).read_text().splitlines()) + 1
        assert time.time() - 300 < entry.made <= entry.used + 1 <= time.time() + 1
    assert not any(str(row["output"]) in repr(entries) for row in rows)


def test_sets_are_removed_by_the_beginning_of_their_keys(prepared, root):
    cache, _paths = prepared
    first, second = cache.entries()
    for wrong, matches in ((first.key[:-1] + "g", 0), ("", 0), ("../..", 0)):
        with pytest.raises(UnknownSetError) as caught:
            cache.remove([second.key, wrong])
        assert caught.value.matches == matches
    assert len(cache.entries()) == 2
    assert cache.remove([first.key[:12], first.key]).removed == 1
    assert [e.key for e in cache.entries()] == [second.key]


def test_a_beginning_that_two_keys_share_removes_neither(root):
    for name in ("ab" * 32, "ac" * 32):
        (root / name).mkdir(parents=True)
    with pytest.raises(UnknownSetError, match="2 prepared sets"):
        PreparedCache(root).remove(["a"])
    assert PreparedCache(root).remove(["ac"]).removed == 1


WRITER = """
import sys, time
from pathlib import Path
from medtune.data.cache import PreparedCache
with PreparedCache(Path(sys.argv[1])).staging() as folder:
    (folder / "ids.bin").write_bytes(b"x" * 10)
    print(folder.name, flush=True)
    time.sleep(60)
"""


def test_a_set_that_is_being_written_stays_until_its_process_is_gone(root):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            name = writer.stdout.readline().strip()
            assert is_written(root / name)
            assert PreparedCache(root).clear().left == {name: "is being written by another process"}
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    assert PreparedCache(root).prune() == 0  # it may have been another host's: a day is waited for
    assert PreparedCache(root).clear().removed == 1


def test_nobody_else_can_open_or_hold_what_is_written(prepared, root):
    with prepared[0].staging() as folder:
        assert folder.stat().st_mode & 0o077 == 0
    assert (root / MARKER).stat().st_mode & 0o077 == 0
    assert json.loads((root / prepared[0].entries()[0].key / "facts.json").read_text())


def test_a_set_that_another_host_writes_is_not_taken_for_abandoned(root):
    cache = PreparedCache(root)
    with cache.staging() as folder:
        name = folder.name
        (folder / "ids.bin").write_bytes(b"x" * 10)
        shutil.copytree(folder, root / ".staging-elsewhere")  # nobody holds the copy here
    elsewhere = root / ".staging-elsewhere"
    assert not is_written(elsewhere)
    (elsewhere / "writer.json").write_text(json.dumps({"host": "another-node"}))
    assert is_written(elsewhere)
    assert cache.clear().left == {elsewhere.name: "is being written by another process"}
    for path in (*elsewhere.iterdir(), elsewhere):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    assert not is_written(elsewhere)
    assert cache.clear().removed == 1
    assert not (root / name).exists()


def test_of_two_that_prepare_the_same_at_once_the_first_is_kept_and_both_read_it(prepared, root):
    cache, _paths = prepared
    entry = cache.entries()[0]
    files = {place.name: place.read_bytes() for place in (root / entry.key).iterdir()}
    facts = json.loads(files.pop("facts.json"))
    cache.remove([entry.key])
    with cache.staging() as first, cache.staging() as second:
        for folder in (first, second):
            for name, content in files.items():
                (folder / name).write_bytes(content)
                (folder / name).chmod(0o600)
        stores = [PreparedCache(root).keep(entry.key, folder, facts) for folder in (second, first)]
    assert stores[0].row_ids == stores[1].row_ids
    assert {place.name for place in (root / entry.key).iterdir()} == {*files, "facts.json"}
    assert [place.name for place in root.iterdir() if place.name.startswith(".staging-")] == []


def test_what_a_process_killed_as_it_wrote_the_facts_left_is_cleared(root):
    cache = PreparedCache(root)
    with cache.staging() as folder:
        shutil.copytree(folder, root / ".staging-killed")
    (root / ".staging-killed" / ".facts.json.abcdefgh.staging").write_text("{")
    assert cache.clear().removed == 1


def test_on_a_network_file_system_sets_in_use_stay(prepared, root, monkeypatch):
    cache, _paths = prepared
    old, new = cache.entries()
    os.utime(root / old.key, (time.time() - 15 * 24 * 3600,) * 2)
    monkeypatch.setattr(cache_module, "is_network", lambda _root: True)
    small = PreparedCache(root, limit_bytes=1)
    small.prune()
    assert [entry.key for entry in small.entries()] == [new.key]
    monkeypatch.setattr(cache_module, "is_network", lambda _root: False)
    small.prune()
    assert small.entries() == []


def test_a_file_system_that_gives_files_another_owner_is_refused_before_the_work(root, monkeypatch):
    for module in (cache_module, folder_module):
        monkeypatch.setattr(module, "is_own", lambda _path, _kind: False)
    with pytest.raises(StorageError, match="another owner"), PreparedCache(root).staging():
        pytest.fail("rows were prepared")
