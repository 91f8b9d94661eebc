"""What may load is decided by distributions, before anything is imported; a broken plugin takes none down with it."""

import logging
import sys

import pytest
from installed_plugins import FORMATTER, install

from medtune import Example, MedTuner, RunSpec
from medtune.errors import DisabledPluginError, InvalidValueError, PluginError, UnknownNameError
from medtune.plugins.host import create_host, host_of

NEVER = "raise RuntimeError('imported')"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed distributions."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("MEDTUNE_PLUGINS", raising=False)
    monkeypatch.delenv("MEDTUNE_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    return tmp_path


def test_without_a_list_every_installed_plugin_is_used(site):
    install(site, "first", FORMATTER.format(name="one"))
    install(site, "second", FORMATTER.format(name="two"))
    assert {"one", "two"} <= create_host().provided("formatter").keys()


def test_nothing_outside_the_list_is_imported(site):
    install(site, "Wanted.Plugin", FORMATTER.format(name="one"))
    module = install(site, "other", FORMATTER.format(name="two"))
    host = create_host(allowed=["wanted-plugin==1.0"])
    assert "one" in host.provided("formatter")
    assert "two" not in host.provided("formatter")
    assert module not in sys.modules
    assert host.disabled == {}


def test_an_empty_list_imports_no_installed_plugin(site):
    module = install(site, "other", FORMATTER.format(name="two"))
    assert "two" not in create_host(allowed=[]).provided("formatter")
    assert module not in sys.modules


def test_the_environment_narrows_what_may_load(site, monkeypatch):
    install(site, "first", FORMATTER.format(name="one"))
    module = install(site, "second", FORMATTER.format(name="two"))
    monkeypatch.setenv("MEDTUNE_PLUGINS", "first, ")
    assert "one" in create_host().provided("formatter")
    host = create_host(allowed=["first", "second"])
    assert "two" not in host.provided("formatter")
    assert module not in sys.modules
    with pytest.raises(DisabledPluginError, match=r"'second' .* MEDTUNE_PLUGINS does not list it"):
        host.require(["first", "second"])


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("first==2.0", "version 1.0 is installed"),
        ("absent", "no such distribution is installed"),
        ("pluggy", "brings no plugin of medtune"),
    ],
)
@pytest.mark.parametrize("by", ["spec", "environment"])
def test_a_run_that_names_a_plugin_it_cannot_have_is_refused(site, monkeypatch, entry, fault, by):
    install(site, "first", FORMATTER.format(name="one"))
    if by == "environment":
        monkeypatch.setenv("MEDTUNE_PLUGINS", entry)
    spec = RunSpec(plugins=[entry] if by == "spec" else None)
    with pytest.raises(DisabledPluginError, match=fault) as caught:
        MedTuner(spec).check()
    assert caught.value.exit_code == 2
    assert caught.value.plugin == entry


def test_a_run_that_names_a_plugin_is_refused_where_none_is_loaded(site, monkeypatch):
    install(site, "first", FORMATTER.format(name="one"))
    monkeypatch.setenv("MEDTUNE_DISABLE_PLUGIN_AUTOLOAD", "1")
    with pytest.raises(DisabledPluginError, match="brings no plugin of medtune that may load here"):
        MedTuner(RunSpec(plugins=["first"])).check()


def test_a_host_that_is_handed_over_keeps_to_the_list_of_the_spec(site):
    install(site, "first", FORMATTER.format(name="one"))
    install(site, "second", FORMATTER.format(name="two"))
    host = create_host()
    narrowed = host_of(host, ["first"])
    assert "one" in narrowed.provided("formatter")
    assert "two" not in narrowed.provided("formatter")
    assert "two" in host.provided("formatter")
    assert host_of(host, ["first", "second"]) is host


def test_a_spec_file_and_an_override_say_which_plugins_load(site, tmp_path):
    install(site, "first", FORMATTER.format(name="one"))
    module = install(site, "second", FORMATTER.format(name="two"))
    (tmp_path / "run.toml").write_text('bundle = "demo"\nplugins = ["first"]\n')
    tuner = MedTuner.from_file(tmp_path / "run.toml")
    assert tuner.spec.plugins == ("first",)
    assert module not in sys.modules
    assert "two" in MedTuner.from_file(tmp_path / "run.toml", ["plugins=second"]).host.provided("formatter")


def test_distributions_are_named_in_python_too(site):
    install(site, "first", FORMATTER.format(name="one"))
    module = install(site, "second", FORMATTER.format(name="two"))
    tuner = MedTuner.from_bundle("demo", plugins=["first"], formatter="one")
    assert tuner.spec.plugins == ("first",)
    assert "one" in tuner.host.provided("formatter")
    assert module not in sys.modules
    with pytest.raises(PluginError, match="'first' is no plugin; distributions are listed in the spec's plugins"):
        MedTuner(RunSpec(), plugins=["first"]).check()


def test_an_entry_is_a_name_or_a_name_with_its_version(site, tmp_path):
    (tmp_path / "run.toml").write_text('plugins = ["first>=1"]\n')
    with pytest.raises(InvalidValueError, match=r"plugins.*run\.toml, line 1"):
        MedTuner.from_file(tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (NEVER, "it cannot be imported .RuntimeError: imported"),
        ("import sys; sys.exit(3)", "it cannot be imported .SystemExit: 3"),
        (
            "from medtune import hookimpl\n@hookimpl\ndef provide_formaters(): return []",
            "did you mean 'provide_formatters'",
        ),
        ("medtune_hook_version = 99\n" + FORMATTER.format(name="new"), "needs version 99 of medtune's hooks"),
        ("from medtune import hookimpl\n@hookimpl\ndef provide_tasks(): raise OSError", "failed in provide_tasks"),
        ("from medtune import hookimpl\n@hookimpl\ndef provide_tasks(): raise SystemExit(4)", "SystemExit"),
        ("from medtune import hookimpl\n@hookimpl\ndef provide_tasks(): return [object()]", "does not satisfy Task"),
        (
            FORMATTER.format(name="messages"),
            "formatter 'messages' is also provided by plugin 'medtune.data.formatters'",
        ),
    ],
)
def test_a_broken_plugin_disables_itself_with_a_line_and_nothing_else(site, caplog, code, reason):
    install(site, "broken", code)
    install(site, "whole", FORMATTER.format(name="one"))
    with caplog.at_level(logging.WARNING, "medtune"):
        host = create_host()
    assert set(host.disabled) == {"broken"}
    (line,) = caplog.messages
    assert line.startswith("plugin 'broken' of broken 1.0 is disabled: ")
    with pytest.raises(DisabledPluginError, match=reason):
        host.require(["broken"])
    assert "one" in host.provided("formatter")
    assert type(host.find("formatter", "messages")).__module__.startswith("medtune.")
    assert not any(name == "broken" for name, plugin in host.manager.list_name_plugin() if plugin)
    MedTuner(RunSpec(), plugins=host).check()


def test_two_installed_plugins_of_one_name_are_both_left_out(site):
    install(site, "first", FORMATTER.format(name="one"))
    install(site, "second", FORMATTER.format(name="one"))
    host = create_host()
    assert set(host.disabled) == {"first", "second"}
    with pytest.raises(
        UnknownNameError, match=r"no formatter named 'one'.*plugin 'first', which may have it, is not used"
    ) as caught:
        host.find("formatter", "one")
    assert caught.value.disabled == host.disabled
    assert "one" in create_host(allowed=["first"]).provided("formatter")


def test_two_entry_points_of_one_name_are_both_left_out_unimported(site):
    modules = [install(site, name, NEVER, entry="same") for name in ("first", "second")]
    host = create_host()
    assert "first and second both bring a plugin of this name" in host.disabled["same"]
    assert not any(module in sys.modules for module in modules)


def test_what_a_plugin_prints_when_it_is_imported_stays_off_stdout(site, capsys):
    install(site, "loud", "print('hello')\n" + FORMATTER.format(name="one"))
    create_host()
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")


def test_a_disabled_plugin_stays_so_in_the_hosts_made_of_its_host(site):
    install(site, "broken", NEVER)
    host = create_host()
    for other in (host.extended(), host.with_tasks([]), host.only([])):
        assert other.disabled == host.disabled


def test_a_plugin_object_that_is_broken_raises_at_once():
    class Clashing:
        __hash__ = object.__hash__
        name = "messages"

        def format(self, row):
            return Example([])

    with pytest.raises(PluginError, match="formatter 'messages' is registered by"):
        MedTuner.from_bundle("demo", formatter=Clashing()).check()
