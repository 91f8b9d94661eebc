"""A plan decides without weights and without a network, and says in one sentence what to do when a run cannot be done."""

import json
import math

import pytest

from medtune import LoraSpec, ModelSpec, QuantSpec, RunSpec, TrainSpec
from medtune.errors import BaseUnsuitedError, OutOfMemoryError, SpecError, SpecValidationError, UnknownNameError
from medtune.machine.gpus import machine_with
from medtune.machine.hardware import Accelerator, Machine, compute_dtype
from medtune.planning.make_plan import make_plan, total_steps
from medtune.planning.memory import Shape
from medtune.plugins.host import create_host
from medtune.plugins.plan import DataSize

H200 = Machine(16, 128, (Accelerator("H200", 139.8, (9, 0)),))
T4 = Machine(8, 32, (Accelerator("T4", 14.6, (7, 5)),))
SMALL_GPU = Machine(8, 32, (Accelerator("GTX 1050", 3.9, (6, 1)),))
SMALL_GPU_24 = machine_with("24GiB")
LAPTOP = Machine(2, 24, ())


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


@pytest.fixture(scope="module")
def starling(host):
    return Shape.of(host.find("bundle", "starling-medtuned").model_config)


def test_the_dimensions_of_starling_give_its_published_parameter_count(starling):
    assert starling.parameters == 7_241_748_480


def test_the_adapter_on_all_seven_linears_is_counted(starling):
    per_block = sum(8 * (i + o) for i, o in starling.linears.values())
    assert starling.adapter_parameters(RunSpec()) == 32 * per_block == 20_971_520


def test_the_adapter_on_two_linears_is_counted(starling):
    spec = RunSpec(lora=LoraSpec(r=4, target_modules=("q_proj", "v_proj")))
    assert starling.adapter_parameters(spec) == 32 * 4 * ((4096 + 4096) + (4096 + 1024))


def test_the_default_bundle_on_a_laptop_says_what_to_do_instead(host):
    plan = make_plan(host.find("bundle", "starling-medtuned").spec, host, machine=LAPTOP)
    assert not plan.fits
    assert "no CUDA GPU" in plan.advice
    assert "medtune demo" in plan.advice
    with pytest.raises(OutOfMemoryError, match="no CUDA GPU"):
        plan.require_fit()


def test_the_default_bundle_on_a_large_gpu_fits_without_recompute(host):
    plan = make_plan(host.find("bundle", "starling-medtuned").spec, host, machine=H200)
    assert (plan.fits, plan.recompute, plan.compute_dtype) == (True, "none", "bf16")
    assert plan.advice == ""
    assert 4 < plan.peak_gib - plan.memory_gib["dequantized_weights"] < 20


def test_dequantized_weights_are_a_part_of_the_peak_and_travel_with_the_settled_spec(host, starling):
    plan = make_plan(RunSpec(), host, machine=H200)
    assert plan.dequantized_weights == plan.settle(RunSpec()).train.dequantized_weights == "keep"
    assert plan.memory_gib["dequantized_weights"] * 2**30 == 2 * starling.linear_parameters
    assert plan.to_json()["dequantized_weights"] == "keep"
    sparing = RunSpec(train=TrainSpec(dequantized_weights="each_pass"))
    other = make_plan(sparing, host, machine=H200)
    assert other.dequantized_weights == other.settle(sparing).train.dequantized_weights == "each_pass"
    assert plan.tokens_per_second > other.tokens_per_second
    scratches = other.memory_gib["restored"]
    assert plan.peak_gib == pytest.approx(other.peak_gib + plan.memory_gib["dequantized_weights"] - scratches)


def test_weights_that_cannot_stay_dequantized_are_refused(host):
    with pytest.raises(SpecValidationError, match=r"dequantized_weights=keep is for a base in 4 bits .* none and auto"):
        RunSpec(quant=QuantSpec(scheme="none"), train=TrainSpec(dequantized_weights="keep"))
    with pytest.raises(SpecValidationError, match="here they are nf4 and off"):
        RunSpec(train=TrainSpec(dequantized_weights="keep", fast_path="off"))
    wanted = RunSpec(train=TrainSpec(dequantized_weights="keep"), lora=LoraSpec(use_dora=True))
    plan = make_plan(wanted, host, machine=H200)
    assert not plan.fits
    assert "fast path, which does not apply" in plan.advice


def test_dequantized_weights_that_do_not_fit_are_left_to_memory_by_the_advice(host):
    plan = make_plan(RunSpec(train=TrainSpec(dequantized_weights="keep")), host, machine=machine_with("16GiB"))
    assert not plan.fits
    assert "nearest setting that fits is --set train.dequantized_weights=auto" in plan.advice


def test_a_gpu_without_bf16_computes_in_fp16(host):
    assert make_plan(RunSpec(), host, machine=T4).compute_dtype == "fp16"


def test_recompute_is_chosen_when_memory_is_short(host):
    spec = RunSpec(train=TrainSpec(per_device_batch_size=4, micro_batch="as_written", fast_path="off"))
    assert make_plan(spec, host, machine=T4).recompute == "all"
    assert make_plan(spec, host, machine=H200).recompute == "none"


def test_a_gpu_takes_all_rows_of_an_update_at_once_and_a_cpu_those_of_the_spec(host):
    plan = make_plan(RunSpec(), host, machine=H200)
    assert (plan.micro_batch_rows, plan.gradient_accumulation_steps) == (4, 1)
    settled = plan.settle(RunSpec()).train
    assert (settled.per_device_batch_size, settled.gradient_accumulation_steps, settled.recompute) == (4, 1, "none")
    plan = make_plan(RunSpec(), host, machine=LAPTOP)
    assert (plan.micro_batch_rows, plan.gradient_accumulation_steps) == (1, 4)


def test_rows_as_written_are_taken_as_written(host):
    plan = make_plan(RunSpec(train=TrainSpec(micro_batch="as_written")), host, machine=H200)
    assert (plan.micro_batch_rows, plan.gradient_accumulation_steps) == (1, 4)


def test_a_run_that_ran_out_of_memory_goes_on_with_the_rows_as_written(host):
    begun = make_plan(RunSpec(), host, machine=H200).to_json()
    assert begun["micro_batch_rows"] == 4
    spec = RunSpec(train=TrainSpec(micro_batch="as_written"))
    assert make_plan(spec, host, machine=H200, kept=begun).micro_batch_rows == 1


def test_several_processes_take_the_rows_of_the_spec(host, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert make_plan(RunSpec(), host, machine=H200).micro_batch_rows == 1


def test_a_continued_run_keeps_its_storage_and_its_micro_batch(host):
    spec = RunSpec(quant=QuantSpec(scheme="auto"))
    begun = make_plan(spec, host, machine=SMALL_GPU_24).to_json()
    assert (begun["scheme"], begun["micro_batch_rows"]) == ("none", 4)
    begun |= {"scheme": "nf4", "micro_batch_rows": 2}
    plan = make_plan(spec, host, machine=H200, kept=begun)
    assert (plan.scheme, plan.micro_batch_rows, plan.gradient_accumulation_steps) == ("nf4", 2, 2)
    assert "began with it" in plan.scheme_reason


def test_time_and_cost_come_with_what_they_rest_on(host):
    plan = make_plan(RunSpec(), host, machine=machine_with("h200")).with_price(4.0)
    assert plan.seconds == pytest.approx(plan.tokens / plan.tokens_per_second)
    assert plan.cost == pytest.approx(plan.seconds / 3600 * 4)
    assert "989 TFLOP/s" in plan.speed_basis
    assert make_plan(RunSpec(), host, machine=SMALL_GPU_24).with_price(4.0).cost is None


def test_the_advice_names_a_setting_that_fits(host):
    spec = RunSpec(train=TrainSpec(max_length=8192, recompute="none"))
    plan = make_plan(spec, host, machine=T4)
    assert not plan.fits
    assert "nearest setting that fits is --set train.recompute=all" in plan.advice
    assert make_plan(RunSpec(train=TrainSpec(max_length=8192, recompute="all")), host, machine=T4).fits


def test_a_gpu_that_is_too_small_is_named_with_what_it_lacks(host):
    plan = make_plan(RunSpec(), host, machine=SMALL_GPU)
    assert not plan.fits
    assert "GTX 1050" in plan.advice


def test_the_bundle_states_the_size_of_data_that_is_not_here(host):
    plan = make_plan(RunSpec(), host, machine=H200)
    assert plan.tokens == 55_000_000
    assert plan.steps == math.ceil(math.ceil(55_000_000 / 512) / 4)
    assert not plan.size_is_measured


def test_the_licences_of_model_and_data_are_in_the_plan(host):
    terms = " ".join(make_plan(RunSpec(), host, machine=H200).licences)
    assert "compete with OpenAI" in terms
    assert "cc-by-nc-4.0" in terms
    assert "data-use agreements" in terms


def test_the_json_form_has_the_contract_s_keys(host):
    plan = json.loads(json.dumps(make_plan(RunSpec(), host, machine=H200).to_json()))
    assert {"backends", "memory_gib", "fits", "advice", "steps", "tokens", "licences"} <= plan.keys()
    assert plan["memory_gib"]["peak"] == pytest.approx(sum(plan["memory_gib"]["parts"].values()), abs=0.01)


def test_a_backend_that_is_not_registered_stops_the_plan(host):
    with pytest.raises(UnknownNameError, match="no quantizer named 'bnb'"):
        make_plan(RunSpec(quant=QuantSpec(backend="bnb")), host, machine=H200)


def test_the_dimensions_come_from_a_local_folder(host, tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 100,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    plan = make_plan(RunSpec(model=ModelSpec(path=str(tmp_path))), host, machine=LAPTOP)
    assert plan.fits
    assert "its weights are not on this machine yet, and not inspected" in plan.base["notes"]
    assert plan.parameters == 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 2 * 100 * 64 + 64


def test_an_architecture_of_unknown_dimensions_is_planned_without_memory(host, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4}')
    plan = make_plan(RunSpec(model=ModelSpec(path=str(tmp_path))), host, machine=H200)
    assert plan.peak_gib is None
    assert "dimensions are unknown" in plan.advice
    assert plan.to_json()["base"]["notes"][0] == "attention is eager: transformers has no sdpa for BloomForCausalLM"


def test_a_base_that_cannot_be_one_is_refused_with_the_plan(host, tmp_path):
    spec = RunSpec(model=ModelSpec(path=str(tmp_path)))
    with pytest.raises(BaseUnsuitedError, match=r"has no config\.json, so it is no base"):
        make_plan(spec, host, machine=LAPTOP)
    (tmp_path / "config.json").write_text('{"model_type": "mystery"}')
    with pytest.raises(BaseUnsuitedError, match=r"is of type 'mystery', which transformers .* does not know"):
        make_plan(spec, host, machine=LAPTOP)
    with pytest.raises(BaseUnsuitedError, match="is no folder"):
        make_plan(RunSpec(model=ModelSpec(path="org/name")), host, machine=LAPTOP)


def test_a_measured_size_replaces_the_stated_one(host):
    spec = RunSpec(train=TrainSpec(num_train_epochs=2))
    plan = make_plan(spec, host, DataSize(rows=9, tokens=4500, measured=True), H200)
    assert (plan.steps, plan.tokens, plan.size_is_measured) == (6, 9000, True)


def test_counted_samples_that_are_shorter_than_rows_make_long_rows_faster(host):
    spec = RunSpec(train=TrainSpec(max_length=8192, num_train_epochs=1))

    def speed(**facts):
        size = DataSize(rows=9, tokens=9 * 8192, measured=True, facts=facts)
        return make_plan(spec, host, size, H200).tokens_per_second

    assert speed(sample_tokens=300.0) > 1.15 * speed()


@pytest.mark.parametrize(
    ("train", "rows", "steps"),
    [
        (TrainSpec(), 8, 2),
        (TrainSpec(), 9, 3),
        (TrainSpec(num_train_epochs=2), 9, 6),
        (TrainSpec(num_train_epochs=0.5), 8, 1),
        (TrainSpec(per_device_batch_size=2), 33, 5),
        (TrainSpec(max_steps=7), 3, 7),
    ],
)
def test_steps_count_the_last_partial_window(train, rows, steps):
    assert total_steps(RunSpec(train=train), rows) == steps


def test_an_update_that_several_processes_cannot_divide_is_refused_by_the_plan(host, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(SpecError, match="cannot be divided among 3 processes"):
        make_plan(RunSpec(), host, machine=H200)


def test_several_processes_do_as_many_updates_as_one(host, monkeypatch):
    size = DataSize(rows=40, tokens=40 * 512, measured=True)
    spec = RunSpec(train=TrainSpec(num_train_epochs=1))
    alone = make_plan(spec, host, size, H200)
    monkeypatch.setenv("WORLD_SIZE", "2")
    together = make_plan(spec, host, size, H200)
    assert (alone.steps, together.steps) == (10, 10)
    assert alone.tokens == together.tokens == size.tokens
    assert make_plan(RunSpec(train=TrainSpec(max_steps=2)), host, size, H200).tokens == 2 * 4 * 512


def test_the_compute_type_follows_the_hardware():
    assert compute_dtype("auto", None) == "fp32"
    assert compute_dtype("auto", Accelerator("A100", 80, (8, 0))) == "bf16"
    assert compute_dtype("auto", Accelerator("V100", 32, (7, 0))) == "fp16"
    assert compute_dtype("fp32", Accelerator("A100", 80, (8, 0))) == "fp32"
