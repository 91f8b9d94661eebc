"""Warm-up, the schedule's minimum and AdamW's settings reach the optimizer that runs, on the fast path and without it."""

import dataclasses
import inspect
import math

import pytest
import torch
from peft import LoraConfig
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import BitsAndBytesConfig, Trainer, TrainingArguments
from transformers.training_args import OptimizerNames
from trl import ModelConfig, ScriptArguments, SFTConfig

from medtune import TrainSpec
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.errors import SpecError
from medtune.machine.hardware import seed_all
from medtune.machine.optimizers import NOT_OFFERED, OFFERED
from medtune.plugins.contracts import Job
from medtune.specs import RunSpec
from medtune.specs.elsewhere.huggingface import TRL
from medtune.specs.elsewhere.meanings import ABSENT
from medtune.specs.elsewhere.training import TRAINING_DEFAULTS
from medtune.testing.tiny import RandomRows, tiny_base

STEPS, PEAK = 8, 1e-3
ADAM = {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6}
PATHS = {"auto": "the fast path is on", "off": "the fast path is off"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def fit(base, tmp_path):
    """Return a function that trains a tiny model, and returns what was done and the optimizer's settings at each update."""

    def train(**changes):
        settings = {
            "max_length": 24,
            "max_steps": STEPS,
            "learning_rate": PEAK,
            "optim": "adamw_torch",
            "save_strategy": "no",
        }
        spec = RunSpec.model_validate({"train": {**settings, "logging_steps": 1, **changes}, "lora": {"dropout": 0}})
        seed_all(spec.seed)
        loaded, seen = PeftAdapter().attach(tiny_base(base), spec.lora), []

        def note(optimizer, _args, _kwargs):
            if not isinstance(optimizer, torch.optim.AdamW):  # of a check that the trainer makes of torch
                return
            (group,) = {(g["lr"], *g["betas"], g["eps"]) for g in optimizer.param_groups}
            seen.append((type(optimizer), *group))

        hook = register_optimizer_step_pre_hook(note)
        try:
            result = TrlTrainer().fit(Job(spec, loaded, RandomRows(), tmp_path / "run", STEPS))
        finally:
            hook.remove()
        return result, seen

    return train


@pytest.mark.parametrize("path", PATHS)
def test_the_optimizer_that_runs_has_the_settings_of_the_spec(fit, path):
    result, seen = fit(fast_path=path, warmup_steps=3, min_lr_rate=0.1, **ADAM)
    assert result.fast_path.startswith(PATHS[path])
    assert {each[2:] for each in seen} == {(0.8, 0.95, 1e-6)}
    assert {each[0] for each in seen} == {torch.optim.AdamW}
    falling = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 5)) for step in range(5)]
    assert [each[1] / PEAK for each in seen] == pytest.approx([0, 1 / 3, 2 / 3, *falling])


def test_a_linear_schedule_falls_to_its_minimum_too(fit):
    _result, seen = fit(lr_scheduler_type="linear", warmup_steps=0, min_lr_rate=0.2)
    assert [each[1] / PEAK for each in seen] == pytest.approx([1 - 0.8 * step / STEPS for step in range(STEPS)])


def test_without_these_fields_the_schedule_is_what_it_was(fit):
    _result, seen = fit(warmup_ratio=0.25)
    assert seen[0][2:] == (0.9, 0.999, 1e-8)
    falling = [0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert [each[1] / PEAK for each in seen] == pytest.approx([0, 0.5, *falling])


def test_warming_up_as_long_as_the_run_is_refused(fit):
    with pytest.raises(SpecError, match=r"train.warmup_steps 8 is not below the 8 updates of the run"):
        fit(warmup_steps=STEPS)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"warmup_steps": 5, "warmup_ratio": 0.1}, "warmup_steps and warmup_ratio exclude each other"),
        ({"warmup_steps": 5, "lr_scheduler_type": "constant"}, "constant_with_warmup"),
        ({"min_lr_rate": 0.1, "lr_scheduler_type": "constant_with_warmup"}, "does not fall"),
        ({"min_lr_rate": 1}, "less than 1"),
        ({"adam_beta2": 1.0}, "less than 1"),
        ({"adam_epsilon": 0}, "greater than 0"),
    ],
)
def test_what_contradicts_itself_is_no_spec(fields, sentence):
    with pytest.raises(SpecError, match=sentence):
        TrainSpec(**fields)


def test_a_record_with_every_field_is_read_again():
    spec = TrainSpec(warmup_steps=5)
    assert TrainSpec.model_validate(spec.model_dump(mode="json")) == spec


def refusal(**fields):
    """Return why a trainer does not take such a spec, empty where it does."""
    try:
        TrlTrainer().check(TrainSpec(**fields))
    except SpecError as error:
        return str(error)
    return ""


def test_every_optimizer_of_transformers_is_offered_or_refused_with_a_reason():
    assert {name.value for name in OptimizerNames} == OFFERED.keys() | NOT_OFFERED.keys()
    assert not OFFERED.keys() & NOT_OFFERED.keys()
    for name, reason in NOT_OFFERED.items():
        assert reason in refusal(optim=name)


def test_an_unknown_optimizer_is_refused_with_the_nearest_name():
    assert "did you mean 'adamw_torch'?" in refusal(optim="adam_torch")
    with pytest.raises(SpecError, match=r"train\.optim names no optimizer: 'adam_torch'"):
        TrlTrainer().check(TrainSpec(optim="adam_torch"))


def test_an_optimizer_whose_library_is_missing_is_refused_with_its_package():
    assert "pip install torch-optimi" in refusal(optim="stable_adamw")
    assert not refusal(optim="adamw_torch", adam_epsilon=1e-6)


@pytest.mark.parametrize("optim", ["sgd", "lion_32bit"])
def test_a_setting_that_an_optimizer_does_not_read_is_refused(optim):
    assert "does not read train.adam_epsilon" in refusal(optim=optim, adam_epsilon=1e-6)


def test_what_an_optimizer_reads_is_what_reaches_it(tmp_path):
    """Asked of transformers, whose handler of each name takes what it likes."""
    for name, found in OFFERED.items():
        if found.module not in ("", "bitsandbytes"):
            continue
        asked = TrainingArguments(
            str(tmp_path), optim=name, use_cpu=True, adam_beta1=0.5, adam_beta2=0.6, adam_epsilon=0.7
        )
        _kind, settings = Trainer.get_optimizer_cls_and_kwargs(asked)
        reached = {field for field, value in zip(ADAM, ("0.5", "0.6", "0.7"), strict=True) if value in str(settings)}
        assert reached == set(found.reads), name


def fields_of(kind):
    return {each.name: each.default for each in dataclasses.fields(kind)}


def test_every_argument_of_the_installed_libraries_has_a_meaning():
    named = {name for kind in (SFTConfig, ModelConfig, ScriptArguments, LoraConfig) for name in fields_of(kind)}
    named |= inspect.signature(BitsAndBytesConfig.__init__).parameters.keys() - {"self", "kwargs"}
    assert named - TRL.keys.keys() == set()


def test_the_defaults_of_the_installed_libraries_are_those_that_a_spec_is_given():
    theirs = fields_of(TrainingArguments) | fields_of(SFTConfig) | fields_of(ModelConfig)
    ours = RunSpec().model_dump()
    for key, meaning in TRL.keys.items():
        if (
            theirs.get(key) is not None
            and meaning.verdict == "same"
            and meaning.take(theirs[key]) is not ABSENT
            and meaning.field
        ):
            part, _dot, name = meaning.field.partition(".")
            stated = TRL.defaults.get(meaning.field, ours[part][name] if name else ours[part])
            if key not in UNSET and stated != "auto":
                assert stated == theirs[key], key
    assert theirs["warmup_steps"] == TRL.defaults["train.warmup_ratio"] == 0
    assert TRAINING_DEFAULTS["train.learning_rate"] == fields_of(TrainingArguments)["learning_rate"]
    assert (theirs["lr_scheduler_type"], theirs["num_train_epochs"]) == (
        "linear",
        TRL.defaults["train.num_train_epochs"],
    )


UNSET = {
    "completion_only_loss",
    "save_total_limit",
    "report_to",
    "output_dir",
    "lora_target_modules",
    "dtype",
    "attn_implementation",
}
"""What TRL leaves to the library beneath, or where nothing is trained otherwise."""
