"""Plugins are found, checked and looked up by name; mistakes name their culprit."""

import types
from importlib.metadata import EntryPoint

import pytest

from medtune import Bundle, Example, RunSpec, hookimpl
from medtune.errors import PluginClashError, PluginError, UnknownNameError
from medtune.plugins import hookspecs
from medtune.plugins import host as host_module
from medtune.plugins.hookspecs import HOOK_VERSION
from medtune.plugins.host import AUTOLOAD_SWITCH, KINDS, create_host


class Shout:
    """A formatter of a plugin."""

    name = "shout"

    def format(self, row):
        return Example(messages=[{"role": "user", "content": row["q"].upper()}], row_id="1")


def plugin_of(name, **hooks):
    """Build a plugin module from hook implementations."""
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        function.__name__ = hook
        setattr(module, hook, hookimpl(function))
    return module


def nothing():
    return []


def shouting(name="shouting"):
    return plugin_of(name, provide_formatters=lambda: [Shout()])


def entry_point(monkeypatch, value, name="other"):
    """Let one entry point be installed."""
    point = EntryPoint(name=name, value=value, group="medtune")
    monkeypatch.setattr(host_module, "entry_points", lambda group: [point] if group == "medtune" else [])


def test_a_registered_formatter_is_found_by_its_name():
    host = create_host([shouting()], autoload=False)
    assert isinstance(host.find("formatter", "shout").__wrapped__, Shout)


def test_an_unknown_name_is_answered_with_the_nearest_registered_one():
    host = create_host(autoload=False)
    with pytest.raises(UnknownNameError, match="no quantizer named 'bitsandbites'; did you mean 'bitsandbytes'"):
        host.find("quantizer", "bitsandbites")


def test_two_plugins_cannot_share_a_name():
    host = create_host([shouting("first"), shouting("second")], autoload=False)
    with pytest.raises(PluginClashError, match="'shout'") as caught:
        host.find("formatter", "shout")
    assert sorted(caught.value.owners) == ["first", "second"]


def test_two_plugins_cannot_have_one_label():
    with pytest.raises(PluginError, match="two plugins are called 'same'; rename the entry point"):
        create_host([plugin_of("same", provide_tasks=nothing), shouting("same")], autoload=False)


def test_a_misspelt_hook_is_an_error_that_names_the_right_one():
    plugin = plugin_of("typo", provide_formaters=nothing)
    with pytest.raises(PluginError, match=r"'typo'.*'provide_formaters'.*did you mean 'provide_formatters'"):
        create_host([plugin], autoload=False)


def test_a_hook_with_an_unknown_argument_is_an_error():
    plugin = plugin_of("greedy", run_started=lambda spec, wallet: None)
    with pytest.raises(PluginError, match=r"'greedy'.*wallet"):
        create_host([plugin], autoload=False)


async def awaited(record):
    pass


async def yielded_later(record):
    yield


def yielded(record):
    yield


@pytest.mark.parametrize(
    ("function", "said"),
    [(awaited, r"a coroutine function \(async def\)"), (yielded, "a generator"), (yielded_later, "a generator")],
)
def test_a_hook_that_would_never_run_is_refused_by_name(function, said):
    host = create_host(autoload=False)
    plugin = types.ModuleType("later")
    plugin.step_logged = hookimpl(function, specname="step_logged")
    with pytest.raises(PluginError, match=rf"'later' implements 'step_logged' as {said}.*which would never run; make"):
        host.register(plugin)
    assert not host.manager.is_registered(plugin)


@pytest.mark.parametrize("method", ["parse", "describe"])
def test_a_thing_with_a_method_that_would_never_run_is_refused_by_name(method):
    async def later(*_args):
        pass

    members = dict.fromkeys(("matches", "max_new_tokens", "parse", "score"), nothing) | {"name": "slow", method: later}
    plugin = plugin_of("later", provide_tasks=lambda: [types.SimpleNamespace(**members)])
    with pytest.raises(PluginError, match=rf"task 'slow'.{method} is a coroutine function"):
        create_host([plugin], autoload=False).all("task")


def test_a_plugin_that_needs_newer_hooks_is_refused_by_name():
    plugin = shouting()
    plugin.medtune_hook_version = HOOK_VERSION
    assert "shout" in create_host([plugin], autoload=False).provided("formatter")
    plugin.medtune_hook_version = HOOK_VERSION + 1
    with pytest.raises(
        PluginError,
        match=rf"'shouting' needs version 3 of medtune's hooks and this medtune has {HOOK_VERSION}; install",
    ):
        create_host([plugin], autoload=False)


@pytest.mark.parametrize("stated", ["2", 2.0, 0, True])
def test_a_version_of_the_hooks_that_is_no_number_is_refused(stated):
    plugin = shouting()
    plugin.medtune_hook_version = stated
    with pytest.raises(PluginError, match="must be a whole number"):
        create_host([plugin], autoload=False)


def test_an_observer_that_takes_fewer_arguments_than_its_hook_is_called_still():
    told = []
    host = create_host([plugin_of("old", run_failed=lambda error: told.append([error]))], autoload=False)
    host.manager.hook.run_failed(spec=1, error="broken", run_id="id")
    assert told == [["broken"]]


def test_a_thing_that_breaks_its_contract_is_an_error():
    plugin = plugin_of("hollow", provide_formatters=lambda: [object()])
    with pytest.raises(PluginError, match=r"'hollow' provides 'object' in provide_formatters.*PromptFormatter"):
        create_host([plugin], autoload=False).find("formatter", "shout")


def test_a_plugin_that_raises_in_its_hook_is_named():
    def broken():
        raise RuntimeError("no disk")

    with pytest.raises(PluginError, match="plugin 'sick' failed in provide_tasks"):
        create_host([plugin_of("sick", provide_tasks=broken)], autoload=False).all("task")


def test_an_installed_plugin_that_does_not_import_is_named(monkeypatch):
    entry_point(monkeypatch, "medtune_no_such_module")
    host = create_host(autoload=True)
    assert "ModuleNotFoundError" in host.disabled["other"]


def test_autoload_can_be_switched_off(monkeypatch):
    entry_point(monkeypatch, "medtune_no_such_module")
    monkeypatch.setenv(AUTOLOAD_SWITCH, "1")
    assert "bitsandbytes" in create_host().provided("quantizer")


def test_a_host_can_be_extended_without_changing_the_first():
    first = create_host(autoload=False)
    second = first.extended(shouting())
    assert "shout" in second.provided("formatter")
    assert "shout" not in first.provided("formatter")
    assert set(first.provided("trainer")) == set(second.provided("trainer"))


def test_names_come_in_their_order_whatever_the_order_of_registration():
    def bundles(*names):
        return lambda: [Bundle(name, RunSpec()) for name in names]

    plugins = [
        plugin_of("one", provide_bundles=bundles("zeta")),
        plugin_of("two", provide_bundles=bundles("alpha", "mid")),
    ]
    for order in (plugins, plugins[::-1]):
        names = list(create_host(order, autoload=False).provided("bundle"))
        assert names == sorted(names)
        assert {"alpha", "mid", "zeta"} <= set(names)


@pytest.mark.parametrize("hook", [hook for hook, _contract in KINDS.values()])
def test_every_providing_hook_is_called(hook):
    called = []
    create = create_host([plugin_of("watcher", **{hook: lambda: called.append(hook) or []})], autoload=False)
    kind = next(kind for kind, (name, _contract) in KINDS.items() if name == hook)
    create.all(kind)
    assert called == [hook]


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("run_started", {"spec": create_host(autoload=False).find("bundle", "demo").spec, "plan": 2, "run_id": "id"}),
        ("step_logged", {"record": {"step": 3}, "run_id": "id"}),
        ("run_finished", {"run": 4, "run_id": "id"}),
        ("run_failed", {"spec": 5, "error": ValueError(), "run_id": "id"}),
    ],
)
def test_every_observing_hook_is_told_its_facts(hook, arguments):
    told = {}

    # pluggy reads the argument names, so each observer is written out.
    observers = {
        "run_started": lambda spec, plan, run_id: told.update(spec=spec, plan=plan, run_id=run_id),
        "step_logged": lambda record, run_id: told.update(record=record, run_id=run_id),
        "run_finished": lambda run, run_id: told.update(run=run, run_id=run_id),
        "run_failed": lambda spec, error, run_id: told.update(spec=spec, error=error, run_id=run_id),
    }
    host = create_host([plugin_of("observer", **{hook: observers[hook]})], autoload=False)
    getattr(host.manager.hook, hook)(**arguments)
    assert told == arguments


def test_every_hook_of_the_contract_exists():
    hooks = {name for name in vars(hookspecs) if name.startswith(("provide_", "run_", "step_"))}
    assert hooks == {hook for hook, _contract in KINDS.values()} | {
        "run_started",
        "step_logged",
        "run_finished",
        "run_failed",
    }
