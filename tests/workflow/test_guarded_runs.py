"""In a whole run a failing plugin is named, and nothing that it raised is written down; a failing observer changes nothing."""

import json
import math
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from medtune import hookimpl
from medtune.backends.bitsandbytes import provide_quantizers
from medtune.backends.generate import provide_generators
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.errors import DataError, PluginContractError, PluginFailedError
from medtune.planning.make_plan import make_plan
from medtune.plugins.contracts import Completion
from medtune.workflow.training import train

CANARY = "PATIENT-4711-HAS-A-FEVER"
PARTS = {"quantizer": "quant", "adapter": "lora", "trainer": "train", "generator": "eval"}


def plugin_of(**hooks):
    plugin = ModuleType("sick")
    for hook, function in hooks.items():
        setattr(plugin, hook, hookimpl(function, specname=hook))
    return plugin


def using(request, **backends):
    """Return the request with other backends."""
    spec = request.spec
    for kind, name in backends.items():
        part = PARTS[kind]
        spec = spec.model_copy_with(**{part: getattr(spec, part).model_copy_with(backend=name)})
    return replace(request, spec=spec, plan=make_plan(spec, request.host))


def fail(*_args, **_kwargs):
    raise ValueError(CANARY)


def thing_of(name="ill", **members):
    return SimpleNamespace(name=name, **members)


def answer(loaded, prompts, spec):
    return [Completion([], "Neutral", truncated=False) for _ in prompts]


QUANTIZER = provide_quantizers()[0]
TASK = {
    "matches": lambda example: True,
    "max_new_tokens": lambda *_: 4,
    "parse": lambda text, example: text,
    "score": fail,
}
FAILING = {
    "quantizer": {"load": fail},
    "adapter": {"attach": fail},
    "trainer": {"fit": fail},
    "generator": {"generate": fail},
    "task": TASK,
    "formatter": {"format": lambda row: (_ for _ in ()).throw(SystemExit(CANARY))},
}


def texts_of(folder):
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("kind", FAILING)
def test_a_run_whose_plugin_fails_names_it_and_keeps_no_text_of_what_it_raised(
    kind, asked, files, told, tmp_path, capfd
):
    plugin = plugin_of(**{f"provide_{kind}s": lambda: [thing_of(**FAILING[kind])]})
    data = {"formatter": "ill"} if kind == "formatter" else {}
    request = asked(plugin=plugin, data=data)
    request = using(request, **({kind: "ill"} if kind in PARTS else {}))
    with pytest.raises(PluginFailedError, match=rf"plugin 'sick' failed in {kind} 'ill'\.\w+: \w+ at ") as caught:
        train(request)
    written = texts_of(tmp_path) if (tmp_path / "run").exists() else {}
    assert all(CANARY.encode() not in content for content in written.values())
    assert CANARY not in str(capfd.readouterr()) + str(told)
    if kind != "formatter":  # which fails before there is a record
        assert files("run.json")["error"] == {"type": "PluginFailedError", "message": str(caught.value)}


def test_a_run_by_foreign_backends_that_keep_their_contract_is_the_same_run(asked, host, tmp_path):
    """The same backends once as a plugin's, guarded, and once as medtune's own, as they are."""
    own, generator = TrlTrainer(), provide_generators()[0]
    plugin = plugin_of(
        provide_quantizers=lambda: [thing_of("other-quantizer", load=QUANTIZER.load)],
        provide_adapters=lambda: [thing_of("other-adapter", attach=PeftAdapter().attach)],
        provide_trainers=lambda: [thing_of("other-trainer", fit=own.fit, prove=own.prove)],
        provide_generators=lambda: [thing_of("other-generator", generate=generator.generate)],
    )

    def run(name, plugin=None):
        request = using(asked(plugin=plugin, train={"logging_steps": 1}), **{kind: f"other-{kind}" for kind in PARTS})
        spec = request.spec.model_copy_with(output_dir=str(tmp_path / name))
        found = train(replace(request, spec=spec))
        log = [json.loads(line) for line in (found.path / "log.jsonl").read_text().splitlines()]
        losses = [record["loss"] for record in log if "loss" in record]
        return losses, (found.adapter_dir / "adapter_model.safetensors").read_bytes()

    guarded = run("guarded", plugin)
    host.register(plugin, "own", distribution="medtune")
    assert not hasattr(host.find("trainer", "other-trainer"), "__wrapped__")
    assert guarded == run("plain")
    assert len(guarded[0]) == 2


def test_a_base_that_an_adapter_changed_ends_the_run_before_training(asked, files):
    def attach(loaded, spec):
        found = PeftAdapter().attach(loaded, spec)
        next(p for p in found.model.parameters() if not p.requires_grad).data += 0.1
        return found

    plugin = plugin_of(provide_adapters=lambda: [thing_of(attach=attach)])
    with pytest.raises(PluginContractError, match=r"plugin 'sick': adapter 'ill'\.attach changed the base's"):
        train(using(asked(plugin=plugin), adapter="ill"))
    assert files("run.json")["error"]["type"] == "PluginContractError"


def test_a_trainer_that_stops_halfway_leaves_no_adapter(asked, tmp_path):
    def fit(job):
        return replace(TrlTrainer().fit(replace(job, total_steps=1)), train_loss=math.e)

    plugin = plugin_of(provide_trainers=lambda: [thing_of(fit=fit)])
    with pytest.raises(PluginContractError, match=r"trainer 'ill'\.fit did 1 updates of 2"):
        train(using(asked(plugin=plugin), trainer="ill"))
    assert not (tmp_path / "run" / "adapter").exists()


def observing(seen, error=None):
    """A plugin that is told everything, and raises each time."""

    def take(hook):
        seen.append(hook)
        if error is not None:
            raise error

    def run_started(spec, plan):
        take("run_started")

    def step_logged(record):
        record.clear()
        take("step_logged")

    def run_finished(run):
        take("run_finished")

    def run_failed(spec, error):
        take("run_failed")

    hooks = {h.__name__: h for h in (run_started, step_logged, run_finished, run_failed)}
    return plugin_of(provide_generators=lambda: [thing_of("quick", generate=answer)], **hooks)


@pytest.mark.parametrize("error", [ValueError(CANARY), SystemExit(CANARY)], ids=["error", "exit"])
def test_an_observer_that_always_fails_is_counted_and_told_once_and_the_run_goes_on(
    asked, files, told, tmp_path, capfd, error
):
    seen = []
    request = asked(plugin=observing(seen, error), eval={"backend": "quick"}, train={"logging_steps": 1})
    assert train(request).state == "finished"
    assert seen == ["run_started", "step_logged", "step_logged", "run_finished"]
    assert files("run.json")["observers"] == {
        "sick": {"run_started": 1, "step_logged": 2, "run_finished": 1},
    }
    complaints = [event for event in told if isinstance(event, str) and "'sick' failed in" in event]
    assert len(complaints) == 3
    assert all(CANARY.encode() not in content for content in texts_of(tmp_path).values())
    assert CANARY not in str(capfd.readouterr()) + str(told)
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2]  # what the observer cleared was its own copy


def test_a_run_without_failing_observers_counts_none(asked, files):
    seen = []
    train(asked(plugin=observing(seen), eval={"backend": "quick", "enabled": False}))
    assert seen[0] == "run_started"
    assert "observers" not in files("run.json")


@pytest.mark.parametrize("error", [DataError("no row"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_run_that_was_told_as_started_is_told_as_failed(asked, error, monkeypatch):
    seen = []

    def rows():
        yield from ()
        raise error

    request = asked(plugin=observing(seen), eval={"backend": "quick"})
    with pytest.raises(type(error)):
        train(replace(request, rows=rows()))
    assert seen == ["run_started", "run_failed"]


def test_ctrl_c_in_an_observer_of_the_start_is_told_as_a_failure_too(asked):
    seen = []

    def run_started(spec, plan):
        raise KeyboardInterrupt

    plugin = observing(seen)
    plugin.run_started = hookimpl(run_started)
    with pytest.raises(KeyboardInterrupt):
        train(asked(plugin=plugin, eval={"backend": "quick"}))
    assert seen == ["run_failed"]


def test_of_an_error_that_is_not_medtunes_the_record_keeps_type_and_place(asked, files, monkeypatch):
    """As where a library fails in the middle of a row."""
    monkeypatch.setattr("medtune.workflow.training.load", fail)
    with pytest.raises(ValueError, match=CANARY):
        train(asked(eval={"enabled": False}))
    found = files("run.json")["error"]
    assert found["type"] == "ValueError"
    assert found["message"].startswith("at test_guarded_runs.py:")
    assert CANARY not in str(found)
