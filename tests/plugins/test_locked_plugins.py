"""A locked process imports only the plugins whose files a list pins."""

import importlib._bootstrap_external as import_files
import pickle
import py_compile
import re
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from installed_plugins import FORMATTER, install

from medtune import RunSpec
from medtune.errors import DisabledPluginError, InvalidValueError, PluginError, PluginFileError
from medtune.plugins.allowed import entry_of
from medtune.plugins.host import create_host, host_of
from medtune.plugins.single_file import load_plugin_file
from medtune.specfile import validate_spec

PLUGIN = FORMATTER.format(name="one")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed distributions, in a locked process: its variable alone decides here."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("MEDTUNE_PLUGINS", raising=False)
    monkeypatch.delenv("MEDTUNE_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    monkeypatch.setenv("MEDTUNE_LOCKED", "1")
    return tmp_path


def listing(reason: str) -> str:
    """Return the entry that a refusal tells."""
    return re.search(r"'(\S+@sha256:[0-9a-f]{64})'", reason)[1]


def test_what_no_list_pins_is_not_imported_and_told_with_the_entry_that_would_pin_it(site):
    module = install(site, "first", PLUGIN)
    host = create_host()
    assert "one" not in host.provided("formatter")
    assert module not in sys.modules
    entry = listing(host.disabled["first"])
    assert entry.startswith("first==1.0@sha256:")
    assert "one" in create_host(allowed=[entry]).provided("formatter")
    assert entry_of("first") == entry


def test_medtunes_own_plugins_need_no_entry(site):
    assert create_host().provided("formatter")


def test_an_entry_without_a_hash_is_an_error_that_tells_the_hash(site):
    module = install(site, "first", PLUGIN)
    host = create_host(allowed=["first==1.0"])
    with pytest.raises(DisabledPluginError, match="listed with its hash") as refused:
        host.require(["first==1.0"])
    assert module not in sys.modules
    assert create_host(allowed=[listing(refused.value.reason)]).require(["first"])


@pytest.mark.parametrize("is_locked", [False, True])
def test_files_that_changed_since_they_were_listed_are_not_imported_locked_or_not(site, monkeypatch, is_locked):
    module = install(site, "first", PLUGIN)
    entry = listing(create_host().disabled["first"])
    monkeypatch.setenv("MEDTUNE_LOCKED", "1" if is_locked else "")
    (site / f"{module}.py").write_text(PLUGIN + "\n")
    host = create_host(allowed=[entry])
    assert "one" not in host.provided("formatter")
    assert module not in sys.modules
    with pytest.raises(DisabledPluginError, match="another hash than the one listed, sha256:"):
        host.require([entry])


def test_every_file_of_a_plugins_package_counts_and_what_is_compiled_from_them_does_not(site):
    install(site, "first", PLUGIN, entry="first")
    package = site / "package_of_two"
    package.mkdir()
    (package / "__init__.py").write_text(PLUGIN)
    (package / "table.json").write_text("1")
    facts = site / "second-2.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 2.0\n")
    (facts / "entry_points.txt").write_text("[medtune]\nsecond = package_of_two\n")
    before = create_host().disabled
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "table.cpython-311.pyc").write_bytes(b"0")
    assert create_host().disabled == before
    for place in ("table.json", "added.py"):
        known = create_host().disabled
        (package / place).write_text("2")
        assert create_host().disabled["first"] == known["first"]
        assert create_host().disabled["second"] != known["second"]
    assert "package_of_two" not in sys.modules


def plant(file, code):
    """Put other code into the cache of a file, with the times and size that Python asks for; return where it says that it ran."""
    marker = file.parent / f"ran-{file.stem}"
    found, place = file.stat(), Path(cache_from_source(str(file)))
    place.parent.mkdir(exist_ok=True)
    other = compile(f"open({str(marker)!r}, 'w').close()\n{code}", str(file), "exec")
    place.write_bytes(import_files._code_to_timestamp_pyc(other, int(found.st_mtime), found.st_size))
    return marker


def test_what_the_cache_of_a_pinned_package_holds_does_not_run(site, monkeypatch):
    package = site / "package_of_third"
    package.mkdir()
    (package / "__init__.py").write_text(
        PLUGIN + "\ndef later():\n    from package_of_third import inner\n    return inner.VALUE\n"
    )
    (package / "inner.py").write_text("VALUE = 1\n")
    install(site, "third", PLUGIN)
    (site / "third-1.0.dist-info" / "entry_points.txt").write_text("[medtune]\nthird = package_of_third\n")
    entry = listing(create_host().disabled["third"])
    marks = [plant(package / "__init__.py", PLUGIN), plant(package / "inner.py", "VALUE = 2\n")]
    monkeypatch.setenv("MEDTUNE_LOCKED", "0")  # a pin holds without a lock too
    assert "one" in create_host(allowed=[entry]).provided("formatter")
    assert sys.modules["package_of_third"].later() == 1
    assert not any(mark.exists() for mark in marks)


def test_what_the_cache_of_a_plugins_file_holds_does_not_run(site):
    file = site / "letters_of_cache.py"
    file.write_text(PLUGIN)
    with pytest.raises(PluginFileError) as refused:
        load_plugin_file(file)
    mark = plant(file, PLUGIN.replace("one", "other"))
    assert load_plugin_file(file, [listing(str(refused.value))]).Formatter.name == "one"
    assert not mark.exists()


def test_a_cache_that_was_planted_runs_where_nothing_is_pinned(site, monkeypatch):
    module = install(site, "fourth", PLUGIN)
    mark = plant(site / f"{module}.py", PLUGIN)
    monkeypatch.setenv("MEDTUNE_LOCKED", "0")
    assert "one" in create_host().provided("formatter")
    assert mark.exists()


def test_a_compiled_module_that_stands_for_itself_counts(site):
    package = site / "package_of_fifth"
    package.mkdir()
    (package / "__init__.py").write_text(
        "try:\n    from package_of_fifth import extra\nexcept ImportError:\n    pass\n" + PLUGIN
    )
    install(site, "fifth", PLUGIN)
    (site / "fifth-1.0.dist-info" / "entry_points.txt").write_text("[medtune]\nfifth = package_of_fifth\n")
    entry = listing(create_host().disabled["fifth"])
    source = site / "extra_source.py"
    source.write_text(f"open({str(site / 'ran')!r}, 'w').close()\n")
    py_compile.compile(str(source), str(package / "extra.pyc"))
    assert "another hash" in create_host(allowed=[entry]).disabled[entry]
    assert not (site / "ran").exists()


def test_the_environment_may_pin_a_plugin(site, monkeypatch):
    install(site, "first", PLUGIN)
    monkeypatch.setenv("MEDTUNE_PLUGINS", listing(create_host().disabled["first"]))
    assert "one" in create_host().provided("formatter")


def test_a_host_of_before_the_lock_is_refused_with_what_it_imported(site, monkeypatch):
    install(site, "first", PLUGIN)
    monkeypatch.setenv("MEDTUNE_LOCKED", "0")
    early, own = create_host(), create_host(autoload=False)
    monkeypatch.setenv("MEDTUNE_LOCKED", "1")
    with pytest.raises(PluginError, match=r"plugin 'first' of first 1\.0 was imported before this process was locked"):
        host_of(early)
    assert host_of(own) is own


def test_a_plugins_file_is_imported_once_a_list_pins_it(site, monkeypatch):
    file = site / "letters_of_ours.py"
    file.write_text(PLUGIN)
    with pytest.raises(PluginFileError, match="listed with its hash") as refused:
        load_plugin_file(file)
    assert "letters_of_ours" not in sys.modules
    entry = listing(str(refused.value))
    assert load_plugin_file(file, [entry]).Formatter.name == "one"
    del sys.modules["letters_of_ours"]
    monkeypatch.setenv("MEDTUNE_PLUGINS", entry)
    assert load_plugin_file(file)
    del sys.modules["letters_of_ours"]
    file.write_text(PLUGIN + "\n")
    monkeypatch.setenv("MEDTUNE_LOCKED", "0")
    with pytest.raises(PluginFileError, match="its hash is another than the one listed"):
        load_plugin_file(file, [entry])


def test_an_entry_of_a_file_names_no_distribution(site):
    entry = f"letters.py@sha256:{'0' * 64}"
    assert create_host(allowed=[entry]).require([entry])
    assert RunSpec(plugins=(entry,)).plugins == (entry,)


def test_a_hash_that_is_none_is_a_mistake_of_the_spec(site):
    with pytest.raises(InvalidValueError, match="plugins"):
        validate_spec({"plugins": ["first@sha256:0123"]})


def test_a_pinned_plugin_is_there_after_its_host_was_copied(site):
    install(site, "first", PLUGIN)
    host = create_host(allowed=[listing(create_host().disabled["first"])])
    assert "one" in host.provided("formatter")
    assert "one" in pickle.loads(pickle.dumps(host)).provided("formatter")  # noqa: S301 - our own
