"""A quantizer, an adapter or a trainer that leaves a model in another state than it says is refused by name."""

import math
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from guarded_things import CANARY, OF_PLUGIN, guarded_of

from medtune import RunSpec
from medtune.backends.peft import PeftAdapter
from medtune.errors import DataError, PluginContractError, PluginFailedError
from medtune.plugins.contracts import Job, TrainResult
from medtune.plugins.guards.tensors import changed_among, sampled
from medtune.specs import LoraSpec, ModelSpec, QuantSpec
from medtune.testing.tiny import RandomRows, tiny_base

LORA = LoraSpec(r=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def base(folder):
    return tiny_base(folder)


def weight_of(loaded):
    return next(p for name, p in loaded.model.named_parameters() if "mlp.up_proj" in name and not p.requires_grad)


def adapter_of(loaded):
    return [p for p in loaded.model.parameters() if p.requires_grad]


def attach(loaded, spec):
    return PeftAdapter().attach(loaded, spec)


def rounding(loaded, spec):
    found = attach(loaded, spec)
    weight_of(found).data.mul_(1.001)
    return found


def frozen(loaded, spec):
    found = attach(loaded, spec)
    found.model.requires_grad_(requires_grad=False)
    return found


def narrow(loaded, spec):
    found = attach(loaded, spec)
    for parameter in adapter_of(found):
        parameter.data = parameter.data.bfloat16()
    return found


def spoilt(loaded, spec):
    found = attach(loaded, spec)
    adapter_of(found)[-1].data.flatten()[0] = math.nan
    return found


ATTACHED = {
    "the base is rounded": (rounding, "changed the base's 'model.layers.0.mlp.up_proj.weight'"),
    "nothing is trained": (frozen, "nothing to train"),
    "nothing was attached": (lambda loaded, spec: loaded, "nothing to train"),
    "another type": (narrow, "in bfloat16"),
    "values that are none": (spoilt, "values not finite"),
    "a model alone": (lambda loaded, spec: attach(loaded, spec).model, "returned a PeftModelForCausalLM"),
    "no tokenizer": (lambda loaded, spec: replace(attach(loaded, spec), tokenizer=None), "no tokenizer"),
    "no device": (lambda loaded, spec: replace(attach(loaded, spec), device=None), "named no device"),
    "no compute type": (lambda loaded, spec: replace(attach(loaded, spec), compute_dtype="fp8"), "no compute type"),
    "a save that is none": (lambda loaded, spec: replace(attach(loaded, spec), save_adapter="here"), "save_adapter"),
}


@pytest.mark.parametrize("fault", ATTACHED)
def test_an_adapter_that_breaks_its_contract_is_refused_by_name(fault, base):
    function, said = ATTACHED[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        guarded_of("adapter", attach=function).attach(base, LORA)
    assert str(caught.value).startswith(f"{OF_PLUGIN}: adapter 'ill'.attach ")


def fail(*_args):
    raise ValueError(CANARY)


def test_further_adapters_on_a_base_are_guarded_too(base):
    held = SimpleNamespace(add=fail, use=lambda name: name, remove=fail)
    found = guarded_of("adapter", attach=lambda *given: replace(attach(*given), adapters=held)).attach(base, LORA)
    assert found.adapters.use("first") == "first"
    with pytest.raises(PluginFailedError, match=r"adapter 'ill'\.adapters\.remove: ValueError"):
        found.adapters.remove("first")


@pytest.mark.parametrize("part", ["save_adapter", "load_adapter", "base_only"])
def test_what_an_adapter_hands_on_is_guarded_too(part, base, tmp_path):
    found = guarded_of("adapter", attach=lambda *given: replace(attach(*given), **{part: fail})).attach(base, LORA)
    with pytest.raises(PluginFailedError, match=rf"adapter 'ill'\.{part}: ValueError") as caught:  # noqa: PT012
        if part == "base_only":
            with found.base_only():
                pass
        else:
            getattr(found, part)(tmp_path)
    assert CANARY not in str(caught.value)


def test_a_context_that_swallows_errors_swallows_none_of_what_it_stands_around(base):
    @contextmanager
    def swallowing():
        with suppress(BaseException):
            yield

    found = guarded_of("adapter", attach=lambda *given: replace(attach(*given), base_only=swallowing)).attach(
        base, LORA
    )
    with pytest.raises(DataError, match="as it is"), found.base_only():
        raise DataError("as it is")


def test_an_adapter_that_keeps_its_contract_saves_loads_and_lets_the_base_answer(base, tmp_path):
    found = guarded_of("adapter", attach=attach).attach(base, LORA)
    found.save_adapter(tmp_path / "adapter")
    found.load_adapter(tmp_path / "adapter")
    with found.base_only():
        pass
    plain = guarded_of("adapter", attach=lambda *given: replace(attach(*given), base_only=base.base_only))
    assert plain.attach(tiny_base(tmp_path / "base"), LORA).base_only is base.base_only  # nobody said how


LOADED = {
    "nothing": (lambda base: None, "returned a NoneType"),
    "a model alone": (lambda base: base.model, "returned a MistralForCausalLM"),
    "no model": (lambda base: replace(base, model="here"), "returned no model"),
    "no stop ids": (lambda base: replace(base, stop_ids=()), "stop_ids that are no tuple"),
    "stop ids as texts": (lambda base: replace(base, stop_ids=("<end>",)), "stop_ids that are no tuple"),
    "a scheme that is none": (lambda base: replace(base, scheme=4), "scheme that is no text"),
}


@pytest.mark.parametrize("fault", LOADED)
def test_a_quantizer_that_breaks_its_contract_is_refused_by_name(fault, base):
    change, said = LOADED[fault]
    with pytest.raises(PluginContractError, match=rf"{OF_PLUGIN}: quantizer 'ill'\.load .*{said}"):
        guarded_of("quantizer", load=lambda *_: change(base)).load(ModelSpec(name="a/b"), QuantSpec())


def test_a_quantizer_may_say_that_storage_changes_nothing_and_else_says_how():
    assert guarded_of("quantizer", stored_as=lambda *_: None).stored_as(None, None) is None
    assert guarded_of("quantizer", stored_as=lambda *_: lambda name, values: 7).stored_as(None, None)("a", 1) == 7
    with pytest.raises(PluginFailedError, match=r"quantizer 'ill'\.stored_as: ValueError"):
        guarded_of("quantizer", stored_as=lambda *_: fail).stored_as(None, None)("a", 1)
    with pytest.raises(PluginContractError, match="returned a int"):
        guarded_of("quantizer", stored_as=lambda *_: 7).stored_as(None, None)


def trained(job, steps=None, **parts):
    """Do updates as a trainer does."""
    done = job.total_steps if steps is None else steps
    for step in range(1, done + 1):
        for parameter in adapter_of(job.loaded):
            parameter.data += 0.01
        job.on_log({"step": step, "loss": 1.0})
        job.on_step(step)
        job.stop_reason()
    return TrainResult(
        **{"steps": done, "train_loss": 1.0, "tokens": 9, "seconds": 1.0, "peak_memory_gib": 0.1, **parts}
    )


def idle(job):
    before = [parameter.detach().clone() for parameter in adapter_of(job.loaded)]
    found = trained(job)
    for parameter, value in zip(adapter_of(job.loaded), before, strict=True):
        parameter.data.copy_(value)
    return found


def on_the_base(job):
    weight_of(job.loaded).data += 0.01
    return trained(job)


def diverged(job):
    found = trained(job)
    adapter_of(job.loaded)[0].data.flatten()[0] = math.inf
    return found


def backwards(job):
    job.on_step(2)
    job.on_step(1)
    return trained(job)


def beyond(job):
    trained(job)
    job.on_step(job.total_steps + 1)


def silent(job):
    return trained(replace(job, on_step=lambda _step: None))


def logs(record):
    def fit(job):
        job.on_log(record)
        return trained(job)

    return fit


def swallowing(job):
    with suppress(Exception):
        job.on_step("none")
    return trained(job)


FITTED = {
    "nothing": (lambda job: None, "returned a NoneType"),
    "too few updates": (lambda job: trained(job, 2), "did 2 updates of 3"),
    "a loss that is none": (lambda job: trained(job, train_loss=math.nan), "train_loss that is not finite"),
    "no token": (lambda job: trained(job, tokens=0), "on no token"),
    "time below 0": (lambda job: trained(job, seconds=-1.0), "told seconds"),
    "no memory": (lambda job: trained(job, peak_memory_gib=None), "told peak_memory_gib"),
    "a reason that is no text": (lambda job: trained(job, interrupted=True), "no text"),
    "a proof that is no JSON": (lambda job: trained(job, proof={"a": object()}), "a proof"),
    "the adapter as it was": (idle, "left the adapter as it was"),
    "the base changed": (on_the_base, "changed the base's"),
    "values that are none": (diverged, "values that are not finite"),
    "steps backwards": (backwards, "told step 1 after step 2 of 3"),
    "a step beyond the last": (beyond, "told step 4 after step 3 of 3"),
    "no step told": (silent, "told none of its 3 updates"),
    "a log that is no record": (logs(["loss"]), "logged a list"),
    "a log of a later step": (logs({"step": 9}), "logged step 9"),
    "a swallowed refusal": (swallowing, "told step of type str"),
}
FITTED["one more"] = (lambda job: replace(trained(job), steps=4), "did 4 updates of 3")


@pytest.fixture
def job(base, tmp_path):
    rows = RandomRows(count=6)
    return Job(RunSpec(), PeftAdapter().attach(base, LORA), rows, tmp_path, total_steps=3)


@pytest.mark.parametrize("fault", FITTED)
def test_a_trainer_that_breaks_its_contract_is_refused_by_name(fault, job):
    fit, said = FITTED[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        guarded_of("trainer", fit=fit).fit(job)
    assert str(caught.value).startswith(f"{OF_PLUGIN}: trainer 'ill'.fit ")


@pytest.mark.parametrize("parts", [{}, {"steps": 2, "interrupted": "SIGTERM"}, {"steps": 2, "stopped_early": "enough"}])
def test_a_trainer_that_keeps_its_contract_is_taken(parts, job):
    steps = []
    found = guarded_of("trainer", fit=lambda job: trained(job, **parts)).fit(replace(job, on_step=steps.append))
    assert found.steps == len(steps)


def test_what_a_listener_of_the_user_raises_is_no_fault_of_the_trainer(job):
    error = RuntimeError("the user's own")

    def on_step(step):
        raise error

    def swallow(job):
        with suppress(Exception):
            job.on_step(1)
        return trained(replace(job, on_step=lambda _step: None))

    for fit in (trained, swallow):
        with pytest.raises(RuntimeError) as caught:
            guarded_of("trainer", fit=fit).fit(replace(job, on_step=on_step))
        assert caught.value is error


LOSSES = {
    "a number": (1.0, "returned a float"),
    "a number for a source": ({"a": 1.0}, "no pair"),
    "texts": ({"a": ("1", "2")}, "no numbers"),
    "a loss below 0": ({"a": (-1.0, 2)}, "below 0"),
}


@pytest.mark.parametrize("fault", LOSSES)
def test_losses_that_are_none_are_refused_by_name(fault):
    found, said = LOSSES[fault]
    with pytest.raises(PluginContractError, match=rf"trainer 'ill'\.held_out_losses .*{said}"):
        guarded_of("trainer", held_out_losses=lambda *_: found).held_out_losses(None, None, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.float8_e4m3fn])
def test_a_step_of_training_is_seen_in_a_sample_of_any_type(dtype):
    before = {"a": torch.rand(300, 70).mul(99).to(dtype), "scalar": torch.ones(()), "empty": torch.zeros(0)}
    after = {**before, "a": before["a"].float().add(40).to(dtype)}
    assert changed_among(sampled(before.items()), sampled(after.items())) == "a"
    assert changed_among(sampled(before.items()), sampled(before.items())) is None
    assert sampled([("meta", torch.zeros(3, device="meta"))]) == {}
