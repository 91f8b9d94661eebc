"""Each decision of a plan follows from what it says, and is told in the words a user reads."""

import json
from dataclasses import replace

import huggingface_hub
import pytest

from medtune import DataSpec, EvalSpec, LoraSpec, ModelSpec, QuantSpec, RunSpec, TrainSpec
from medtune.errors import OutOfMemoryError
from medtune.machine.gpus import machine_with
from medtune.machine.hardware import Machine
from medtune.planning.base_config import model_config
from medtune.planning.choices import Choices, _halve_rank
from medtune.planning.make_plan import make_plan
from medtune.planning.memory import Shape
from medtune.planning.required import require_backends
from medtune.plugins.host import create_host
from medtune.plugins.plan import DataSize
from medtune.specs import SourceSpec

STARLING = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 32002,
}
SHAPE = Shape.of(STARLING)
CPU, CROWDED = Machine(4, 64, ()), Machine(4, 1, ())
AUTO = RunSpec(quant=QuantSpec(scheme="auto"))


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


def local(tmp_path, **config):
    """Return a model of these dimensions in a folder."""
    (tmp_path / "config.json").write_text(json.dumps({**STARLING, **config}), "utf-8")
    return ModelSpec(path=str(tmp_path))


@pytest.mark.parametrize(
    ("machine", "fp8", "scheme", "why"),
    [
        (machine_with("h100"), "fp8", "fp8", "fp8 products are the fastest here, and nothing needs recomputing"),
        (machine_with("h100"), None, "none", "16-bit weights need no dequantizing, and they fit without recomputing"),
        (machine_with("t4"), "fp8", "nf4", "16-bit weights would not fit without recomputing"),
        (CPU, None, "none", "a CPU is fastest on plain weights"),
        (Machine(4, 8, ()), None, "nf4", "plain weights do not fit into this machine's memory"),
    ],
)
def test_auto_says_why_it_took_a_storage(machine, fp8, scheme, why):
    quant, reason = Choices(SHAPE, machine, fp8_backend=fp8).scheme(AUTO)
    assert (quant.scheme, quant.backend, reason) == (scheme, fp8 if scheme == "fp8" else "bitsandbytes", why)


def test_fp8_that_would_need_recomputing_gives_way_to_four_bits():
    rows = TrainSpec(per_device_batch_size=32, micro_batch="as_written")
    quant, _why = Choices(SHAPE, machine_with("l4"), fp8_backend="fp8").scheme(RunSpec(quant=AUTO.quant, train=rows))
    assert quant.scheme == "nf4"


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"train": {"dequantized_weights": "keep"}}, "train.dequantized_weights=auto"),
        ({"eval": {"batch_size": 4096}}, "eval.batch_size=auto"),
        ({"train": {"recompute": "none", "max_length": 8192}}, "train.recompute=all"),
        ({"train": {"micro_batch": "as_written", "per_device_batch_size": 64, "recompute": "all"}}, "micro_batch=auto"),
        ({"quant": {"scheme": "none"}, "train": {"recompute": "all"}}, "quant.scheme=nf4"),
        ({"train": {"recompute": "all", "max_length": 65_536, "fast_path": "off"}}, "train.max_length=32768"),
    ],
)
def test_the_nearest_setting_changes_what_is_too_much_and_nothing_else(changes, step):
    choices, spec = Choices(SHAPE, machine_with("16GiB")), RunSpec(**changes)
    assert not choices.best(spec).fits
    _found, told = choices.nearest(spec)
    assert len(told) == 1
    assert step.rpartition("=")[0] in told[0]
    if "max_length" not in step:
        assert told[0].endswith(step)


def test_a_cpu_is_advised_to_take_row_by_row():
    spec = RunSpec(train=TrainSpec(per_device_batch_size=64, gradient_accumulation_steps=2, recompute="all"))
    choices = Choices(SHAPE, Machine(4, 24, ()))
    _found, told = choices.nearest(spec)
    assert told == ["train.per_device_batch_size=1", "train.gradient_accumulation_steps=128"]


def test_a_rank_is_halved_down_to_one():
    assert _halve_rank(RunSpec(lora=LoraSpec(r=2))).lora.r == 1
    assert _halve_rank(RunSpec(lora=LoraSpec(r=1))) is None


def test_a_rank_is_halved_last():
    spec = RunSpec(lora=LoraSpec(r=4096), train=TrainSpec(max_length=64, recompute="all"))
    _found, told = Choices(SHAPE, machine_with("40GiB")).nearest(spec)
    assert any(change.startswith("lora.r=") and 4096 % int(change.partition("=")[2]) == 0 for change in told)


PLAIN = {
    "switched off": RunSpec(train=TrainSpec(fast_path="off")),
    "another trainer": RunSpec(train=TrainSpec(backend="other")),
    "another adapter": RunSpec(lora=LoraSpec(backend="other")),
    "another precision": RunSpec(train=TrainSpec(precision="fp16")),
    "int8": RunSpec(quant=QuantSpec(scheme="int8")),
    "DoRA": RunSpec(lora=LoraSpec(use_dora=True)),
    "biases": RunSpec(lora=LoraSpec(bias="all")),
    "fp8 in fp16": RunSpec(quant=QuantSpec(scheme="fp8", compute_dtype="fp16")),
}


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_what_the_fast_path_does_not_take_is_planned_without_it(spec):
    choices = Choices(SHAPE, machine_with("h200"))
    assert choices.best(spec).setting.path == "plain"
    assert choices.best(RunSpec(train=TrainSpec(precision="bf16"))).setting.path == "fast"


@pytest.mark.parametrize(
    ("biased", "path"), [(("q_proj", "k_proj", "v_proj"), "fast"), (("o_proj",), "plain"), (("up_proj",), "plain")]
)
def test_biases_of_queries_keys_and_values_are_taken_and_others_not(biased, path):
    assert (
        Choices(replace(SHAPE, traits=replace(SHAPE.traits, biased=biased)), machine_with("h200"))
        .best(RunSpec())
        .setting.path
        == path
    )


@pytest.mark.parametrize(
    ("scoring", "prompts"),
    [({"enabled": False, "every": "never"}, 0), ({}, 1), ({"batch_size": 7}, 7)],
)
def test_memory_for_answers_is_counted_for_the_prompts_asked_for(scoring, prompts):
    assert Choices(SHAPE, machine_with("h200")).best(RunSpec(eval=EvalSpec(**scoring))).setting.eval_batch == prompts


def test_a_micro_batch_has_at_most_16384_tokens():
    train = TrainSpec(per_device_batch_size=64, gradient_accumulation_steps=1, max_length=1024)
    assert Choices(SHAPE, machine_with("h200"))._rows(RunSpec(train=train)) == [1, 2, 4, 8, 16]
    long = TrainSpec(per_device_batch_size=2, gradient_accumulation_steps=1, max_length=32_768)
    assert Choices(SHAPE, machine_with("h200")).best(RunSpec(train=long)).setting.rows == 1


def test_counts_of_rows_decide_the_supervised_share(host, tmp_path):
    spec = RunSpec(model=local(tmp_path, vocab_size=500_000), train=TrainSpec(fast_path="off"))

    def logits(**facts):
        size = DataSize(rows=10, tokens=5120, measured=True, facts=facts)
        memory = make_plan(spec, host, size, machine_with("h200"), {"micro_batch_rows": 4}).memory_gib
        return memory["logits"]

    share = logits(supervised_tokens=5120 * 0.75) / logits(supervised_tokens=5120)
    assert share == pytest.approx(0.75)
    assert logits() / logits(supervised_tokens=5120) == pytest.approx(0.5)  # where nobody counted them
    assert logits(supervised_tokens=9999) == logits(supervised_tokens=5120)


def test_rows_whose_samples_nobody_measured_are_taken_for_one_sample_each(host):
    def speed(**facts):
        size = DataSize(rows=10, tokens=5120, measured=True, facts=facts)
        return make_plan(RunSpec(), host, size, machine_with("h200")).tokens_per_second

    assert speed() == speed(sample_tokens=0.0) < speed(sample_tokens=1.0)


def test_tokens_in_common_are_read_by_rows_of_a_micro_batch(host):
    facts = {"common_prefixes": {"4": 0.25, "2": 0.1}}
    size = DataSize(rows=10, tokens=5120, measured=True, facts=facts)
    assert "25.0% of the tokens computed once" in make_plan(RunSpec(), host, size, machine_with("h200")).speed_basis
    stated = replace(size, measured=False)
    assert "computed once" not in make_plan(RunSpec(), host, stated, machine_with("h200")).speed_basis


def test_storage_is_four_bits_where_dimensions_are_unknown(host, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4}')
    model = ModelSpec(path=str(tmp_path))
    plan = make_plan(RunSpec(model=model, quant=AUTO.quant), host, machine=machine_with("h200"))
    assert (plan.scheme, plan.recompute, plan.dequantized_weights, plan.path) == ("nf4", "all", "each_pass", "plain")
    assert plan.scheme_reason == "the model's dimensions are unknown, and it needs least"
    assert (plan.fits, plan.memory_gib, plan.phases_gib, plan.parameters) == (True, {}, {}, None)
    assert (plan.micro_batch_rows, plan.gradient_accumulation_steps, plan.seconds) == (1, 4, None)
    assert make_plan(RunSpec(model=model), host, machine=CPU).recompute == "none"
    kept = TrainSpec(recompute="selective", dequantized_weights="keep")
    plan = make_plan(RunSpec(model=model, train=kept), host, machine=CPU)
    assert (plan.recompute, plan.dequantized_weights, plan.device) == ("selective", "keep", "CPU")


def test_storage_that_a_run_began_with_stays_and_so_does_its_quantizer(host):
    kept = {"scheme": "fp8", "backends": {"quantizer": "fp8"}}
    plan = make_plan(AUTO, host, machine=machine_with("h200"), kept=kept)
    assert (plan.scheme, plan.backends["quantizer"]) == ("fp8", "fp8")
    plan = make_plan(AUTO, host, machine=machine_with("h200"), kept={"scheme": "fp4"})
    assert (plan.scheme, plan.backends["quantizer"], plan.scheme_reason) == (
        "fp4",
        "bitsandbytes",
        "the run began with it",
    )
    assert make_plan(RunSpec(), host, machine=CPU, kept=kept).scheme_reason == ""


def test_a_kept_micro_batch_that_does_not_divide_the_update_or_fit_is_chosen_anew(host):
    assert make_plan(RunSpec(), host, machine=machine_with("h200"), kept={"micro_batch_rows": 3}).micro_batch_rows == 4
    train = TrainSpec(per_device_batch_size=64, max_length=2048)
    began = make_plan(RunSpec(train=train), host, machine=machine_with("t4"), kept={"micro_batch_rows": 64})
    assert began.fits
    assert began.micro_batch_rows < 64


ADVICE = {
    "too slow": (
        RunSpec(),
        Machine(2, 24, ()),
        r"no CUDA GPU, and training a base of 7\.2 billion parameters needs one",
    ),
    "fp8": (RunSpec(quant=QuantSpec(scheme="fp8")), machine_with("a100-80"), "needs a GPU of compute capability 8.9"),
    "kept": (
        RunSpec(train=TrainSpec(dequantized_weights="keep"), lora=LoraSpec(use_dora=True)),
        machine_with("h200"),
        "dequantized_weights=keep is for the fast path, which does not apply to this run",
    ),
    "too small": (
        RunSpec(),
        machine_with("2GiB"),
        r"the run needs about .* GiB and a GPU of 2 GiB has 1\.9 GiB usable; no setting near it fits; use a smaller base",
    ),
}


@pytest.mark.parametrize(("spec", "machine", "advice"), ADVICE.values(), ids=ADVICE)
def test_a_run_that_cannot_be_done_is_told_why(host, spec, machine, advice):
    plan = make_plan(spec, host, machine=machine)
    assert not plan.fits
    with pytest.raises(OutOfMemoryError, match=advice):
        plan.require_fit()


def test_a_small_base_on_a_cpu_is_judged_by_memory(host, tmp_path):
    small = local(tmp_path, num_hidden_layers=2, vocab_size=1000)
    fp8 = RunSpec(model=small, quant=QuantSpec(scheme="fp8"))
    assert make_plan(fp8, host, machine=CPU).advice == "fp8 is emulated on a CPU, which is slow and meant for tests"
    assert make_plan(RunSpec(model=small), host, machine=CPU).advice == ""
    plan = make_plan(RunSpec(model=small), host, machine=CROWDED)
    assert "and this machine has 0.9 GiB usable" in plan.advice


def test_all_of_a_data_set_is_of_the_size_its_bundle_states_and_a_part_of_it_is_not(host):
    def steps(**data):
        return make_plan(RunSpec(data=DataSpec(**data)), host, machine=machine_with("h200")).steps

    assert steps() > 20_000
    parts = [
        {"limit": 10},
        {"include_sources": ("NCBI-disease",)},
        {"exclude_sources": ("NCBI-disease",)},
        {"mix": (SourceSpec(source="a.jsonl"),)},
        {"source": "a.jsonl"},
    ]
    assert [steps(**part) for part in parts] == [None] * len(parts)


def test_terms_of_model_data_and_what_is_mixed_in_stand_in_the_plan_once(host):
    spec = RunSpec(data=DataSpec(mix=(SourceSpec(source=RunSpec().data.source), SourceSpec(source="a.jsonl"))))
    licences = make_plan(spec, host, machine=CPU).licences
    assert [line.partition(": ")[0] for line in licences] == [spec.model.name, spec.data.source, spec.data.source]
    assert "come under data-use agreements" in licences[2]


def test_backends_are_those_of_the_spec_by_kind(host):
    named = RunSpec(data=DataSpec(formatter="alpaca"))
    assert require_backends(named, host) == {
        "formatter": "alpaca",
        "quantizer": "bitsandbytes",
        "adapter": "peft",
        "trainer": "trl",
        "generator": "transformers",
    }
    assert require_backends(RunSpec(), host)["formatter"] == "auto"


def test_dimensions_come_from_the_hub_s_cache_before_a_bundle_states_them(host, tmp_path, monkeypatch):
    bundles, asked = host.all("bundle"), []

    def cached(name, file, revision):
        asked.append((name, file, revision))
        return str(tmp_path / "config.json") if name == "org/cached" else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    local(tmp_path, hidden_size=8)
    found = model_config(RunSpec(model=ModelSpec(name="org/cached", revision="abc")), bundles)
    assert found["hidden_size"] == 8
    assert model_config(RunSpec(), bundles)["hidden_size"] == 4096
    assert model_config(RunSpec(model=ModelSpec(name="org/other")), bundles) == {}
    assert asked[0] == ("org/cached", "config.json", "abc")
    assert asked[2] == ("org/other", "config.json", "main")
    assert model_config(RunSpec(model=ModelSpec(path=str(tmp_path / "empty"))), bundles) == {}
