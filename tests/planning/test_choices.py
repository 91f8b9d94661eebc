"""GPUs, speeds and what is chosen for them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune import LoraSpec, QuantSpec, RunSpec, TrainSpec
from medtune.errors import SpecError
from medtune.machine.gpus import gpu_of, known_gpus, machine_with
from medtune.machine.hardware import Accelerator, Machine
from medtune.planning.choices import Choices, available_gib
from medtune.planning.memory import Setting, Shape
from medtune.planning.speed import estimate_speed, useful_work

STARLING = Shape.of(
    {
        "model_type": "mistral",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 32002,
    }
)
LLAMA_70B = Shape.of(
    {
        "model_type": "llama",
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 28672,
        "vocab_size": 128256,
    }
)


def stored(scheme, **train):
    return RunSpec(quant=QuantSpec(scheme=scheme), train=TrainSpec(**train))


@pytest.mark.parametrize("key", ["h200", "h100", "a100-80", "a100-40", "l40s", "l4", "rtx4090", "rtx3090", "t4"])
def test_every_gpu_is_found_by_its_short_name_and_by_the_name_that_cuda_reports(key):
    gpu = known_gpus()[key]
    machine = machine_with(key.upper())
    assert machine.accelerator == Accelerator(gpu.name, gpu.memory_gib, gpu.capability)
    assert gpu_of(machine.accelerator) == gpu


def test_a_gpu_that_cuda_names_otherwise_gets_the_speed_of_its_kind():
    assert gpu_of(Accelerator("NVIDIA A100-SXM4-40GB", 39.5, (8, 0))).bandwidth_gbs == 1555
    assert gpu_of(Accelerator("NVIDIA H100 80GB HBM3", 79.2, (9, 0))).tflops == 989
    assert gpu_of(Accelerator("NVIDIA L40", 44.5, (8, 9))).tflops == 0
    assert gpu_of(Accelerator("Some other GPU", 44.5, (8, 9))).tflops == 0
    assert gpu_of(None) is None


def test_a_size_is_a_gpu_and_anything_else_is_refused():
    assert machine_with("24GiB").accelerator.memory_gib == 24
    assert machine_with("7.5 gb").accelerator.memory_gib == 7.5
    with pytest.raises(SpecError, match="known: h200, h100"):
        machine_with("h2000")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("h2000", "'h200'"), ("RTX 4090", "'rtx4090'"), ("a100", "'a100-80' or 'a100-40'"), ("nvidia", None)],
)
def test_a_mistyped_gpu_is_answered_with_those_that_come_near(typed, meant):
    with pytest.raises(SpecError) as caught:
        machine_with(typed)
    assert (f"did you mean {meant}" if meant else f"'{typed}'; known:") in str(caught.value)


def test_the_useful_work_of_a_token_is_counted_without_recomputing():
    spec = RunSpec(train=TrainSpec(max_length=512))
    work = {policy: useful_work(STARLING, Setting(spec, "bf16", policy, supervised=0.45)) for policy in ("none", "all")}
    assert work["none"] == work["all"]
    # four times the frozen linears, of which 26,900 tokens/s are 790 TFLOP/s
    assert work["none"] == pytest.approx(790e12 / 26_900, rel=0.03)


PLAIN_SPEEDS = [  # of the plain path on an H200 by `medtune bench`
    ("nf4", "none", 1, 512, 2_100),
    ("nf4", "all", 1, 512, 1_151),
    ("nf4", "none", 1, 2048, 6_620),
    ("nf4", "all", 1, 2048, 4_741),
    ("nf4", "none", 8, 512, 11_088),
    ("none", "none", 8, 512, 10_339),
    ("nf4", "all", 16, 512, 8_299),
    ("nf4", "all", 4, 2048, 7_571),
    ("none", "all", 4, 2048, 6_905),
]


@pytest.mark.parametrize(("scheme", "recompute", "rows", "length", "measured"), PLAIN_SPEEDS)
def test_estimates_of_the_plain_path_are_near_what_an_h200_reached(scheme, recompute, rows, length, measured):
    setting = Setting(stored(scheme, max_length=length), "bf16", recompute, "plain", rows, supervised=0.44)
    speed = estimate_speed(STARLING, setting, known_gpus()["h200"])
    assert speed.tokens_per_second == pytest.approx(measured, rel=0.16)
    assert ("held up by Python" in speed.basis) == (rows == 1)


def test_without_a_gpu_no_speed_is_estimated():
    assert estimate_speed(STARLING, Setting(RunSpec(), "bf16", "all"), None) is None


FAST_SPEEDS = [  # of the fast path on an H200; those of 20 updates by `medtune bench`, the others by a bare loop or the trainer
    ("nf4", "none", 16, 512, True, 20_046),
    ("nf4", "none", 16, 512, True, 20_279),
    ("nf4", "none", 16, 512, False, 19_284),
    ("nf4", "none", 16, 512, False, 19_916),
    ("nf4", "none", 4, 512, True, 18_997),
    ("nf4", "none", 4, 512, True, 19_529),
    ("nf4", "none", 4, 2048, True, 20_074),
    ("nf4", "none", 1, 8192, True, 20_965),
    ("nf4", "selective", 16, 512, False, 15_938),
    ("nf4", "all", 16, 512, False, 14_654),
    ("nf4", "offload", 16, 512, False, 14_593),
    ("nf4", "offload", 16, 512, False, 14_735),
    ("none", "none", 16, 512, False, 20_051),
    ("none", "none", 16, 512, False, 20_258),
    ("none", "none", 4, 512, False, 19_156),
    ("none", "selective", 16, 512, False, 16_206),
    ("none", "all", 16, 512, False, 14_720),
    ("fp8", "none", 16, 512, False, 30_135),
    ("fp8", "none", 16, 512, False, 31_464),
    ("fp8", "none", 4, 2048, False, 29_998),
    ("fp8", "selective", 16, 512, False, 25_383),
    ("fp8", "all", 16, 512, False, 22_762),
    ("fp8", "all", 16, 512, False, 23_058),
]


@pytest.mark.parametrize(("scheme", "recompute", "rows", "length", "is_kept", "measured"), FAST_SPEEDS)
def test_estimates_of_the_fast_path_are_near_what_an_h200_reached(scheme, recompute, rows, length, is_kept, measured):
    setting = Setting(
        stored(scheme, max_length=length),
        *("bf16", recompute, "fast", rows),
        supervised=0.45,
        sample_tokens=300,
        keeps_dequantized=is_kept,
    )
    assert estimate_speed(STARLING, setting, known_gpus()["h200"]).tokens_per_second == pytest.approx(
        measured, rel=0.045
    )


LLAMA_1B = Shape(2048, 16, 32, 8, 64, 8192, 128256, tied=True)
SMOLLM2_135M = Shape(576, 30, 9, 3, 64, 1536, 49152, tied=True)


@pytest.mark.parametrize(
    ("shape", "scheme", "measured"),
    [
        (LLAMA_1B, "nf4", 112_138),
        (LLAMA_1B, "none", 114_604),
        (SMOLLM2_135M, "nf4", 309_000),
        (SMOLLM2_135M, "none", 348_305),
    ],
)
def test_estimates_for_narrow_models_are_near_what_an_h200_reached(shape, scheme, measured):
    setting = Setting(stored(scheme, max_length=512), "bf16", "none", "fast", 16, supervised=0.45, sample_tokens=300)
    speed = estimate_speed(shape, setting, known_gpus()["h200"])
    assert speed.tokens_per_second == pytest.approx(measured, rel=0.15)
    assert ("too small for this GPU" in speed.basis) == (shape is SMOLLM2_135M)


def test_an_update_is_not_cut_where_that_only_costs_time():
    spec = stored("none", max_length=1024, per_device_batch_size=8, gradient_accumulation_steps=1)
    choice = Choices(SMOLLM2_135M, machine_with("h200")).best(spec)
    assert (choice.setting.rows, choice.accumulation) == (8, 1)


def test_attention_is_counted_within_samples_where_their_lengths_are_known():
    def speed(path, **known):
        setting = Setting(stored("none", max_length=8192), "bf16", "none", path, 1, supervised=0.45, **known)
        return estimate_speed(STARLING, setting, known_gpus()["h200"]).tokens_per_second

    pairs = 3 * 2 * 32 * 4096  # floating point operations of a token for each token that its sample has
    work = [4 * 6.98e9 + 4 * 0.131e9 * 0.45 + pairs * length + 6 * 21e6 for length in (300, 8192)]
    assert speed("fast", sample_tokens=300) / speed("fast") == pytest.approx(work[1] / work[0], rel=0.01)
    assert speed("plain", sample_tokens=300) == speed("plain")  # it computes all pairs of a row


def test_tokens_that_samples_have_in_common_take_less_time_where_they_are_computed_once():
    def plan(gpu="h200", **train):
        spec = RunSpec(train=TrainSpec(per_device_batch_size=16, gradient_accumulation_steps=1, **train))
        return Choices(STARLING, machine_with(gpu), common={16: 0.2}).best(spec)

    alike, alone = plan(), plan(share_prefixes=False)
    # measured with one text for all samples: 24,507 against 20,603 tokens/s with 21 % of the tokens computed once
    assert alike.speed.tokens_per_second / alone.speed.tokens_per_second == pytest.approx(24_507 / 20_603, rel=0.03)
    assert "20.0% of the tokens computed once" in alike.speed.basis
    assert "once" not in alone.speed.basis
    assert plan(fast_path="off").speed == plan(fast_path="off", share_prefixes=False).speed


def test_rows_of_an_update_are_divided_until_they_fit():
    choices = Choices(STARLING, machine_with("t4"))
    train = TrainSpec(per_device_batch_size=64, gradient_accumulation_steps=1, max_length=2048, fast_path="off")
    small = choices.best(RunSpec(train=train))
    assert small.fits
    assert small.setting.rows < 64
    assert small.setting.rows * small.accumulation == 64
    assert small.setting.recompute == "all"


def test_auto_takes_fp8_where_it_can_be_had_plain_weights_where_they_fit_and_else_four_bits():
    spec = RunSpec(quant=QuantSpec(scheme="auto"))
    quant, why = Choices(STARLING, machine_with("h100"), fp8_backend="rounded").scheme(spec)
    assert (quant.scheme, quant.backend) == ("fp8", "rounded")
    assert "fastest" in why
    assert Choices(STARLING, machine_with("a100-80"), fp8_backend="rounded").scheme(spec)[0].scheme == "none"
    assert Choices(STARLING, machine_with("h100")).scheme(spec)[0].scheme == "none"
    assert Choices(STARLING, machine_with("t4")).scheme(spec)[0].scheme == "nf4"
    assert Choices(STARLING, Machine(4, 64, ())).scheme(spec)[0].scheme == "none"
    assert Choices(STARLING, Machine(4, 8, ())).scheme(spec)[0].scheme == "nf4"


def test_the_fast_path_is_expected_only_where_it_applies():
    def path(machine, spec):
        return Choices(STARLING, machine).best(spec).setting.path

    assert path(machine_with("h200"), stored("nf4")) == "fast"
    assert path(machine_with("h200"), stored("int8")) == "plain"
    assert path(machine_with("h200"), stored("nf4", fast_path="off")) == "plain"
    assert path(machine_with("h200"), RunSpec(lora=LoraSpec(use_dora=True))) == "plain"
    assert path(machine_with("t4"), stored("nf4")) == "fast"
    assert path(Machine(4, 64, ()), stored("none")) == "fast"


def test_weights_stay_dequantized_where_nothing_is_computed_again_and_memory_is_left():
    def chosen(gpu, **train):
        setting = Choices(STARLING, machine_with(gpu)).best(stored("nf4", **train)).setting
        return setting.recompute, setting.keeps_dequantized

    rows = {"per_device_batch_size": 16, "micro_batch": "as_written"}
    assert chosen("h200", **rows) == ("none", True)
    assert chosen("48GiB", **rows) == ("none", True)
    assert chosen("40GiB", **rows) == ("none", False)
    assert chosen("24GiB", **rows) == ("selective", False)
    assert chosen("h200", **rows, recompute="all") == ("all", False)  # memory is what recomputing is for
    assert chosen("h200", **rows, recompute="offload") == ("offload", False)
    assert chosen("h200", **rows, recompute="offload", dequantized_weights="keep") == ("offload", True)
    assert chosen("h200", **rows, dequantized_weights="each_pass") == ("none", False)
    assert not Choices(STARLING, machine_with("h200")).best(stored("none")).setting.keeps_dequantized
    on_cpus = [Choices(STARLING, Machine(4, gib, ())).best(stored("nf4")) for gib in (256, 24)]
    assert [choice.setting.keeps_dequantized for choice in on_cpus] == [True, False]


def test_the_plain_path_recomputes_nothing_where_memory_is_left():
    setting = Choices(STARLING, machine_with("h200")).best(stored("nf4", fast_path="off")).setting
    assert (setting.path, setting.recompute) == ("plain", "none")


def test_a_model_that_no_setting_fits_has_no_nearest_one():
    assert Choices(LLAMA_70B, machine_with("t4")).nearest(RunSpec()) is None


CASES = {
    "shape": st.sampled_from((STARLING, LLAMA_70B)),
    "gpu": st.sampled_from(tuple(known_gpus())),
    "scheme": st.sampled_from(("nf4", "int8", "none")),
    "length": st.sampled_from((512, 4096, 32_768)),
    "rows": st.integers(1, 12),
    "r": st.sampled_from((8, 256)),
    "prompts": st.sampled_from(("auto", 64)),
    "micro_batch": st.sampled_from(("auto", "as_written")),
}


@settings(deadline=None, max_examples=40)
@given(case=st.fixed_dictionaries(CASES), gib=st.integers(6, 160))
def test_weights_that_stay_dequantized_change_nothing_else_and_make_no_plan_unfit(case, gib):
    train = {"max_length": case["length"], "per_device_batch_size": case["rows"], "micro_batch": case["micro_batch"]}
    spec = RunSpec(quant={"scheme": case["scheme"]}, lora={"r": case["r"]}, train=train)
    choices = Choices(case["shape"], machine_with(f"{gib}GiB"))
    by_memory = choices.best(spec)
    sparing = choices.best(spec.model_copy_with(train={**train, "dequantized_weights": "each_pass"}))
    assert by_memory.fits == sparing.fits
    assert replace(by_memory.setting, spec=spec, keeps_dequantized=False) == replace(sparing.setting, spec=spec)
    assert by_memory.memory.peak <= max(sparing.memory.peak, available_gib(choices.machine))


@settings(deadline=None, max_examples=40)
@given(case=st.fixed_dictionaries(CASES))
def test_the_nearest_setting_really_fits_and_keeps_the_effective_batch(case):
    train = {
        "max_length": case["length"],
        "per_device_batch_size": case["rows"],
        "recompute": "none",
        "micro_batch": case["micro_batch"],
    }
    values = {"quant": {"scheme": case["scheme"]}, "lora": {"r": case["r"]}, "eval": {"batch_size": case["prompts"]}}
    spec = RunSpec(train=train, **values)
    choices = Choices(case["shape"], machine_with(case["gpu"]))
    if choices.best(spec).fits:
        return
    nearest = choices.nearest(spec)
    if nearest is None:
        return
    found, changes = nearest
    assert changes
    best = choices.best(found)
    assert best.fits
    assert best.memory.peak <= available_gib(choices.machine)
    assert best.setting.rows * best.accumulation == case["rows"] * spec.train.gradient_accumulation_steps
