"""A plugin's thing is handed out behind a guard, which has its methods and no others, and says whose fault a failure is."""

import copy
import inspect
import pickle
import traceback
from pathlib import Path

import pytest
import torch
from guarded_things import CANARY, OF_PLUGIN, REQUIRED, guarded_of, host_of, plugin_of

from medtune import Bundle, RunSpec
from medtune.errors import DataError, PluginContractError, PluginError, PluginFailedError
from medtune.evaluation.tally import Tallied
from medtune.plugins.contracts import (
    AnswerScorer,
    ContinuousGenerator,
    ExportSource,
    Generator,
    Job,
    Loaded,
    PromptFormatter,
    TokenScorer,
)
from medtune.plugins.host import KINDS, create_host
from medtune.runs.signals import StopNow


class Scoring:
    """A generator that can do one thing more than it must."""

    name = "scoring"
    loads_own_base = True

    def generate(self, loaded, prompts, spec):
        return []

    def log_probabilities(self, loaded, requests, spec):
        return []

    @property
    def costly(self):
        raise ValueError(CANARY)


class Formatter:
    name = "plain"
    version = "3"
    columns = frozenset({"a"})

    def format(self, row):
        return None


def test_optional_methods_and_attributes_are_those_of_the_thing():
    found = host_of("generator", Scoring()).find("generator", "scoring")
    assert isinstance(found, Generator)
    assert isinstance(found, AnswerScorer)
    assert not isinstance(found, ContinuousGenerator)
    assert not isinstance(found, TokenScorer)
    assert not isinstance(found, Tallied)
    assert not hasattr(found, "token_scores")
    assert found.loads_own_base is True
    formatter = host_of("formatter", Formatter()).find("formatter", "plain")
    assert isinstance(formatter, PromptFormatter)
    assert (formatter.version, formatter.columns) == ("3", frozenset({"a"}))
    assert not hasattr(formatter, "label_columns")
    with pytest.raises(AttributeError, match="label_columns"):
        _ = formatter.label_columns


def test_the_thing_itself_is_reached_by_a_documented_attribute_and_is_one_for_all_that_ask():
    thing = Formatter()
    host = host_of("formatter", thing)
    found = host.find("formatter", "plain")
    assert found.__wrapped__ is thing
    assert inspect.unwrap(found) is thing
    assert host.find("formatter", "plain") is found
    assert host.with_tasks([]).find("formatter", "plain") is found
    assert type(found).__module__ == Formatter.__module__
    assert repr(found) == f"<formatter 'plain' of {OF_PLUGIN}>"


def test_a_guarded_thing_survives_pickle_and_copy():
    found = host_of("formatter", Formatter()).find("formatter", "plain")
    kept = pickle.loads(pickle.dumps(found))  # noqa: S301 - written here
    for again in (kept, copy.copy(found), copy.deepcopy(found)):
        assert again.version == "3"
        assert repr(again) == repr(found)


def test_medtunes_own_things_are_handed_out_as_they_are():
    host = create_host(autoload=False)
    assert all(not hasattr(thing, "__wrapped__") for kind in KINDS for thing in host.all(kind))


def tuple_of_nothing():
    return ()


def test_a_hook_that_provides_is_called_once_per_host():
    calls = []
    plugin = plugin_of("counted", provide_formatters=lambda: calls.append(1) or [Formatter()])
    host = create_host([plugin], autoload=False)
    for _ in range(3):
        host.find("formatter", "plain")
        host.all("formatter")
        host.with_tasks([]).provided("formatter")
    assert calls == [1]
    host.register(plugin_of("other", provide_tasks=tuple_of_nothing))
    host.find("formatter", "plain")
    assert calls == [1, 1]


class Nothing:
    """A model without parameters, and a feed of nothing."""

    def named_parameters(self):
        return []

    def take(self, most, *, wait):
        return {}

    watches = progress = finish = take


LOADED = Loaded(Nothing(), None, "cpu", "fp32", ())
ARGUMENTS = {
    "matches": (None,),
    "max_new_tokens": (None, 1),
    "parse": ("", None),
    "draft": (None,),
    "score": ([],),
    "tally": ([],),
    "attach": (LOADED, RunSpec().lora),
    "fit": (Job(RunSpec(), LOADED, None, None, 1),),
    "export": (ExportSource(Path("none"), None, None, None, (), {}), Path("none/beside/target"), {}),
    "generate": (None, [], None),
    "generate_from": (None, Nothing(), None, 1),
    "log_probabilities": (None, [], None),
    "token_scores": (None, None, 1),
    "fit_and_answer": (None,),
    "prove": (None,),
}
"""What a method is called with; nothing where its guard does not look at it."""
METHODS = [(kind, method) for kind, methods in REQUIRED.items() for method in methods if kind != "formatter"]
OPTIONAL = [
    ("generator", "generate_from"),
    ("generator", "log_probabilities"),
    ("generator", "token_scores"),
    ("adapter", "check"),
    ("trainer", "prove"),
    ("trainer", "held_out_losses"),
    ("task", "draft"),
    ("task", "tally"),
    ("exporter", "check"),
    ("exporter", "publish"),
    ("quantizer", "stored_as"),
    ("formatter", "anything_else"),
]


@pytest.mark.parametrize("raised", [ValueError, SystemExit, GeneratorExit, StopIteration, BaseException])
@pytest.mark.parametrize(("kind", "method"), [*METHODS, *OPTIONAL])
def test_what_a_method_raises_becomes_an_error_that_names_the_plugin_and_holds_no_text(kind, method, raised):
    def fail(*_args, **_kwargs):
        raise raised(CANARY)

    found = guarded_of(kind, **{method: fail})
    with pytest.raises(PluginFailedError) as caught:
        getattr(found, method)(*ARGUMENTS.get(method, ()))
    error = caught.value
    assert str(error).startswith(f"{OF_PLUGIN} failed in {kind} 'ill'.{method}: {raised.__name__} at test_guards.py:")
    assert error.exit_code == 2
    told = "".join(traceback.format_exception(error))
    assert CANARY not in told + repr(error) + repr(error.__cause__) + repr(error.__context__)
    assert "in fail" in told  # the frames are there


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), StopNow("SIGTERM"), DataError("no row"), torch.OutOfMemoryError()]
)
def test_what_is_no_failure_of_a_plugin_passes_as_it_is(error):
    def fail(*_args):
        raise error

    with pytest.raises(type(error)) as caught:
        guarded_of("task", parse=fail).parse("", None)
    assert caught.value is error
    notes = [f"in task 'ill'.parse of {OF_PLUGIN}"] if isinstance(error, DataError) else []
    assert getattr(error, "__notes__", []) == notes


def test_a_property_that_raises_is_a_failure_of_the_plugin():
    found = host_of("generator", Scoring()).find("generator", "scoring")
    with pytest.raises(PluginFailedError, match=r"generator 'scoring'\.costly: ValueError"):
        _ = found.costly


def test_the_place_is_in_the_plugins_own_file_even_where_a_library_raised():
    def fail(*_args):
        return torch.zeros(1).reshape(7)

    with pytest.raises(PluginFailedError) as caught:
        guarded_of("task", parse=fail).parse("", None)
    assert caught.value.place.startswith("test_guards.py:")


class Named:
    """A formatter of some name."""

    def __init__(self, name):
        self.name = name

    def format(self, row):
        return None


def _raise(error):
    raise error


PROVIDED = {
    "a generator": lambda: (Named(name) for name in ("a",)),
    "a text": lambda: "formatters",
    "nothing": lambda: None,
    "a mapping": lambda: {"a": Named("a")},
    "a set": lambda: {Named("a")},
    "an empty name": lambda: [Named("")],
    "a name that is none": lambda: [Named(7)],
    "a name with a slash": lambda: [Named("../up")],
    "a name with a line end": lambda: [Named("a\nb")],
    "one name twice": lambda: [Named("a"), Named("a")],
    "another thing": lambda: [object()],
    "a failure": lambda: _raise(ValueError(CANARY)),
    "an exit": lambda: _raise(SystemExit(CANARY)),
}


@pytest.mark.parametrize("fault", PROVIDED)
def test_a_hook_that_provides_the_wrong_thing_is_named(fault):
    host = create_host([plugin_of("sick", provide_formatters=PROVIDED[fault])], autoload=False)
    with pytest.raises(PluginError, match="'sick'") as caught:
        host.all("formatter")
    assert CANARY not in "".join(traceback.format_exception(caught.value))


BUNDLES = {
    "no spec": Bundle("ill", None),
    "a mapping": Bundle("ill", {"seed": 1}),
    "a spec that was never validated": Bundle("ill", RunSpec().model_copy(update={"seed": "many"})),
    "a summary that is none": Bundle("ill", RunSpec(), summary=7),
    "licences that are none": Bundle("ill", RunSpec(), licences={"org/name": 7}),
    "licences as a list": Bundle("ill", RunSpec(), licences=["MIT"]),
    "a number of tokens that is none": Bundle("ill", RunSpec(), train_tokens="many"),
}


@pytest.mark.parametrize("fault", BUNDLES)
def test_a_bundle_that_is_no_run_is_named(fault):
    with pytest.raises(PluginContractError, match=f"{OF_PLUGIN}: provide_bundles .*'ill'"):
        host_of("bundle", BUNDLES[fault]).find("bundle", "ill")


def test_a_bundle_that_is_one_is_found():
    bundle = Bundle("well", RunSpec(), licences={"org/name": "MIT"}, train_tokens=9)
    assert host_of("bundle", bundle).find("bundle", "well") is bundle
