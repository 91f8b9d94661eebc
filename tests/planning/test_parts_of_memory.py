"""Every part of the estimate, counted by hand on a model small enough for that.

Two blocks of width 16 with four query heads of 4 and two key heads, an MLP of 32, 64 words; micro-batches of two rows of 64
tokens, half of them supervised. A block's linears hold 2,304 weights, its adapters of rank 8 another 2,048.
"""

from dataclasses import replace

import pytest

from medtune import LoraSpec, QuantSpec, RunSpec, TrainSpec
from medtune.accel.model.eligibility import BaseTraits
from medtune.machine.gpus import Gpu
from medtune.planning.memory import Setting, Shape, estimate_memory
from medtune.planning.memory.activations import fast_bytes, plain_bytes, plain_layer_bytes
from medtune.planning.memory.weights import base_bytes, optimizer_bytes
from medtune.planning.speed import estimate_speed, useful_work

SMALL = Shape(16, 2, 4, 2, 4, 32, 64, tied=False, traits=BaseTraits("mistral"))
TOKENS, SUPERVISED = 128, 64


def setting(scheme="none", recompute="none", path="plain", dropout=0.05, **values):
    train = {"max_length": values.pop("max_length", 64), "optim": values.pop("optim", "adamw_torch")}
    spec = RunSpec(
        quant=QuantSpec(scheme=scheme, double_quant=values.pop("double_quant", True)),
        lora=LoraSpec(dropout=dropout, use_dora=values.pop("use_dora", False)),
        train=TrainSpec(**train),
        eval={"max_new_tokens": values.pop("max_new_tokens", "auto")},
    )
    known = {"rows": 2, "on_gpu": False, **values}
    return Setting(spec, known.pop("dtype", "bf16"), recompute, path, **known)


PLAIN_LAYER = [
    2 * 4 * 16,  # what two norms keep
    4 * 16 * 2 + 4 * 4 + 64 * 2,  # queries, keys, values, result; a log-sum per head; the mask's row
    3 * 32 * 2,  # gate, its activation and up
    7 * 8 * 2,  # low-rank values
]


def test_an_eager_block_keeps_what_its_operations_need():
    inputs = 6 * 16 + 32
    assert plain_layer_bytes(SMALL, setting()) == sum(PLAIN_LAYER) + 3 * inputs  # dropped inputs and their masks
    shared = (16 + 16 + 32) * 2  # of queries, keys and values; of gate and up; of down
    assert plain_layer_bytes(SMALL, setting(dropout=0.0)) == sum(PLAIN_LAYER) + shared
    in_int8 = plain_layer_bytes(SMALL, setting("int8", dropout=0.0))
    assert in_int8 == sum(PLAIN_LAYER) + shared + (16 + 16 + 16 + 32) * 2
    outputs = 16 + 8 + 8 + 16 + 32 + 32 + 16
    with_dora = plain_layer_bytes(SMALL, setting(dropout=0.0, use_dora=True))
    assert with_dora == sum(PLAIN_LAYER) + shared + 2 * outputs * 2


@pytest.mark.parametrize("name", SMALL.linears)
def test_an_adapter_on_one_layer_keeps_that_layer_s_input(name):
    def kept(*names):
        spec = RunSpec(lora=LoraSpec(dropout=0.0, target_modules=names))
        return plain_layer_bytes(SMALL, Setting(spec, "bf16", "none"))

    inputs, _outputs = SMALL.linears[name]
    is_there_already = name == "o_proj"  # the attention's result
    assert kept(name) - kept("lm_head") == 8 * 2 + (0 if is_there_already else inputs * 2)
    assert kept(f"model.layers.*.{name}") == kept(name)


def test_the_plain_path_adds_the_larger_of_its_head_and_its_last_block():
    layer, hidden = plain_layer_bytes(SMALL, setting()) * TOKENS, 16 * 2 * TOKENS
    gradients, fp32_inputs = TOKENS * 2 * (32 + 16) * 2, TOKENS * 32 * 4
    casts = 2 * 2048 * 2
    expected = {"activations": 2 * layer + gradients + 2 * fp32_inputs, "restored": 0, "casts": casts}
    assert plain_bytes(SMALL, setting()) == expected
    all_supervised = plain_bytes(SMALL, setting(supervised=1.0))
    assert all_supervised == {"activations": 2 * layer, "logits": TOKENS * 64 * (2 + 8), "casts": casts}
    again = plain_bytes(SMALL, setting("nf4", "all"))
    assert again == {"activations": 2 * hidden + gradients + layer, "restored": 512 * 2, "casts": 0}
    undropped = plain_bytes(SMALL, setting(dropout=0.0))
    layer = plain_layer_bytes(SMALL, setting(dropout=0.0)) * TOKENS
    assert undropped["activations"] == 2 * layer + gradients + fp32_inputs
    assert plain_bytes(SMALL, setting(dtype="fp32"))["casts"] == 0


ATTENTION = (16 + 32 + 16) * 2 + 4 * (4 + 1) + 4 * 8 * 2  # residual, queries, keys, values, result; log-sums; low ranks
MLP, WIDE = 16 * 2 + 4 + 8 * 2, 2 * 32 * 2 + 2 * 8 * 2  # residual, norm, low rank; gate and up with theirs
BESIDE = 32 * 2 + 3 * 16 * 2  # the activation's gradient and three hidden states
HEADS = TOKENS * 4 * 4


@pytest.mark.parametrize(
    ("recompute", "kept"),
    [
        ("none", TOKENS * (2 * ATTENTION + 1.5 * (MLP + WIDE) + BESIDE)),  # the last MLP on supervised tokens
        ("selective", TOKENS * (2 * ATTENTION + 1.5 * MLP + BESIDE + WIDE)),
        ("all", TOKENS * (2 * (16 * 2 + 8 * 2) + ATTENTION + 4 * 16 * 2 + BESIDE + WIDE)),
    ],
)
def test_the_fast_path_keeps_what_its_policy_leaves(recompute, kept):
    parts = fast_bytes(SMALL, setting("nf4", recompute, "fast"))
    scratch = 2 * 16 * 32 + max(16 * 32, 16 * 16, 16 * 32)  # gate and up; the largest of the rest
    assert parts == {
        "activations": kept + HEADS,
        "unused": 0,
        "logits": SUPERVISED * 64 * 2,
        "restored": scratch * 2,
        "casts": 2 * 2048 * (2 + 4),
    }
    normed = fast_bytes(replace(SMALL, head_norms=True), setting("nf4", recompute, "fast"))
    blocks = 1 if recompute == "all" else 2
    assert normed["activations"] - parts["activations"] == blocks * TOKENS * 32 * 2


def test_the_fast_path_dequantizes_only_four_bits_and_only_where_they_do_not_stay():
    assert fast_bytes(SMALL, setting("nf4", path="fast", keeps_dequantized=True))["restored"] == 0
    assert fast_bytes(SMALL, setting("fp8", path="fast"))["restored"] == 0
    assert fast_bytes(SMALL, setting("fp4", path="fast"))["restored"] > 0


def test_host_offload_keeps_three_blocks_inputs_on_the_device():
    deep = replace(SMALL, num_hidden_layers=5)
    held, offloaded = (fast_bytes(deep, setting("nf4", way, "fast"))["activations"] for way in ("all", "offload"))
    assert held - offloaded == 2 * 16 * 2 * TOKENS


def test_a_recomputed_mlp_works_on_4096_rows_at_once():
    long = fast_bytes(SMALL, setting("nf4", "all", "fast", max_length=4096))["activations"]
    tokens = 2 * 4096
    kept = tokens * (2 * (16 * 2 + 8 * 2) + ATTENTION + 4 * 16 * 2) + 4096 * (BESIDE + WIDE)
    assert long == kept + tokens * 4 * 4


def test_logits_of_the_fast_path_exist_in_parts():
    wide = replace(SMALL, vocab_size=2**20)
    many = {"max_length": 4096, "supervised": 1.0}
    assert fast_bytes(wide, setting(path="fast", **many))["logits"] == 256 * 2**20 * 2
    assert fast_bytes(SMALL, setting(path="fast", **many))["logits"] == 8192 * 64 * 2
    narrow = replace(SMALL, vocab_size=2**16)
    assert fast_bytes(narrow, setting(path="fast", **many))["logits"] == 512 * 2**16 * 2


@pytest.mark.parametrize(
    ("scheme", "recompute", "share"),
    [("nf4", "none", 0.04), ("none", "all", 0.04), ("fp8", "none", 0.065), ("fp8", "selective", 0.10)],
)
def test_cuda_graphs_hold_a_share_that_nothing_fits_into(scheme, recompute, share):
    parts = fast_bytes(SMALL, setting(scheme, recompute, "fast", on_gpu=True))
    assert parts["unused"] == pytest.approx(share * parts["activations"] + 2**29)


def test_the_base_lies_there_as_its_scheme_stores_it():
    embeddings = (2 * 16 * 64 + 2 * 2 * 16 + 16) * 2
    blocks = 2 * (4 + 2 + 2 + 4 + 8 + 8 + 8)
    outputs, inputs = 2 * 128, 2 * (16 + 16 + 16 + 32)

    def stored(scheme, path="plain", **values):
        parts = base_bytes(SMALL, setting(scheme, path=path, **values))
        assert parts["embeddings"] == embeddings
        return parts["base"], parts["scales"]

    assert stored("none") == (4608 * 2, 0)
    assert stored("nf4") == (4608 / 2, blocks * (1 + 4 / 256))
    assert stored("fp4", double_quant=False) == (4608 / 2, blocks * 4)
    assert stored("int8") == stored("fp8") == stored("int8", "fast") == (4608, 4 * outputs)
    assert stored("fp8", "fast") == (2 * 4608, 4 * (2 * outputs + inputs))
    tied, biased = (
        replace(SMALL, tied=True),
        replace(SMALL, traits=BaseTraits("mistral", biased=("q_proj", "down_proj")), head_norms=True),
    )
    assert base_bytes(tied, setting())["embeddings"] == embeddings - 16 * 64 * 2
    assert base_bytes(biased, setting())["embeddings"] == embeddings + 2 * (16 + 16 + 2 * 4) * 2


@pytest.mark.parametrize(
    ("optim", "moments"),
    [("adamw_torch", 2), ("lion_32bit", 1), ("sgd", 0), ("ademamix", 3), ("rmsprop", 1), ("adafactor", 0), ("new", 2)],
)
def test_an_optimizer_keeps_its_moments_in_fp32(optim, moments):
    assert optimizer_bytes(SMALL, setting(optim=optim)) == (moments * 4096 * 4, 0)


def test_an_8_bit_optimizer_rounds_only_factors_of_4096_values():
    wide = replace(SMALL, num_hidden_layers=1, intermediate_size=512)
    large, small = 3 * 8 * 512, 8 * (4 * 16 + 16 + 2 * 8 + 16) + 8 * 3 * 16
    fixed, paged = optimizer_bytes(wide, setting(optim="adamw_8bit"))
    assert (fixed, paged) == (2 * large * (1 + 4 / 256) + 2 * small * 4, 0)


def test_phases_hold_what_exists_in_them():
    phases = estimate_memory(SMALL, setting("nf4", on_gpu=True, eval_batch=3)).phases
    assert set(phases) == {"load", "training", "optimizer", "evaluation", "save"}
    assert all(parts["context"] == 0.75 for parts in phases.values())
    values = 4096 * 4 / 2**30
    assert phases["load"]["quantizing"] == 4 * 512 * 2 / 2**30
    for name, gradients in (("training", 1), ("optimizer", 2), ("evaluation", 0), ("save", 0)):
        assert phases[name]["adapter"] == values
        assert phases[name].get("gradients", 0) == gradients * values
        assert phases[name]["workspace"] == 2**25 / 2**30
        assert phases[name]["optimizer"] == 2 * values
    kept = estimate_memory(SMALL, setting("nf4", path="fast", keeps_dequantized=True, eval_batch=1)).phases
    assert {name for name, parts in kept.items() if "dequantized_weights" in parts} == {"training", "optimizer", "save"}
    assert kept["save"]["dequantized_weights"] == 4608 * 2 / 2**30
    bare = estimate_memory(SMALL, setting(on_gpu=True, big_workspace=False))
    assert bare.phases["save"]["workspace"] == 8_519_680 / 2**30
    assert bare.phases["load"]["quantizing"] == 0
    assert bare.of("evaluation") == bare.allocated("evaluation") == 0


@pytest.mark.parametrize(("wanted", "answer"), [("auto", 128), (16, 16)])
def test_answering_needs_a_cache_a_pass_over_the_prompts_and_logits(wanted, answer):
    parts = estimate_memory(SMALL, setting("nf4", eval_batch=3, max_new_tokens=wanted)).phases["evaluation"]
    prompts = 3 * 64
    assert parts["cache"] * 2**30 == (2 + 1) * 2 * 8 * 2 * (prompts + 3 * answer)
    assert parts["activations"] * 2**30 == prompts * (4 * (32 + 16) * 2 + 2 * 4 * 16)
    assert parts["logits"] * 2**30 == 3 * 64 * (2 + 4)
    assert parts["restored"] * 2**30 == 512 * 2
    assert estimate_memory(SMALL, setting(eval_batch=3)).phases["evaluation"]["restored"] == 0


def test_what_torch_does_not_count_is_left_out_of_what_it_allocates():
    memory = estimate_memory(SMALL, setting("nf4", path="fast", on_gpu=True))
    parts = memory.phases["training"]
    assert memory.allocated("training") == pytest.approx(
        sum(gib for name, gib in parts.items() if name not in ("context", "unused"))
    )


GPU = Gpu("made up", 80, (9, 0), tflops=1e-3, fp8_tflops=2e-3, bandwidth_gbs=1.0)


def test_a_token_s_useful_work_is_that_of_its_products():
    linears, head, adapters = 4 * 4608, 4 * 16 * 64 * 0.5, 6 * 4096
    row, sample = (3 * 2 * 2 * 16 * length for length in (64, 10))
    assert useful_work(SMALL, setting(sample_tokens=10)) == linears + head + row + adapters
    assert useful_work(SMALL, setting(path="fast", sample_tokens=10)) == linears + head + sample + adapters
    assert useful_work(SMALL, setting(path="fast")) == linears + head + row + adapters


@pytest.mark.parametrize(
    ("scheme", "path", "recompute", "figures"),
    [
        ("none", "fast", "none", (0.59e9, 0, 2, 2)),
        ("nf4", "fast", "none", (0.59e9, 0, 2 + 2.5, 2)),
        ("nf4", "fast", "all", (0.59e9, (2304 - 512) / 2304 / 2, 2 + 2.5, 3)),
        ("none", "fast", "selective", (0.59e9, 512 / 2304, 2, 3)),
        ("fp8", "fast", "none", (0.45 * 2e9, 0, 1, 2)),
        ("fp8", "plain", "all", (0.33e9, 0.5, 2, 3)),
    ],
)
def test_a_micro_batch_takes_its_work_and_the_reading_of_weights(scheme, path, recompute, figures):
    share, again, moved, passes = (
        figures  # operations a second, work done again, bytes a weight, passes over the weights
    )
    # so long that what a layer takes at least does not count
    long = setting(scheme, recompute, path, max_length=8192, rows=64)
    share *= 16 / (16 + 640) * (4096 + 640) / 4096 if path == "fast" else 1  # narrow products use less of a GPU
    seconds = useful_work(SMALL, long) * (1 + again) * long.tokens / share + passes * 4608 * moved / 1e9
    assert estimate_speed(SMALL, long, GPU).tokens_per_second == pytest.approx(long.tokens / seconds)
    half = replace(long, common=0.5)
    if path == "plain":
        assert estimate_speed(SMALL, half, GPU) == estimate_speed(SMALL, long, GPU)
    else:
        saved = useful_work(SMALL, long) * (1 + again) * long.tokens / share * 0.8 * 0.5
        assert estimate_speed(SMALL, half, GPU).tokens_per_second == pytest.approx(long.tokens / (seconds - saved))


def test_a_short_micro_batch_of_the_plain_path_waits_for_python():
    fast = replace(GPU, tflops=1.0, bandwidth_gbs=1000.0)
    short = estimate_speed(SMALL, setting(), fast)
    assert short.tokens_per_second == pytest.approx(TOKENS / (2 * 0.009))
    assert short.basis.endswith(
        "of which the plain path reaches 33% on an H200, held up by Python's starting of kernels"
    )
    again = estimate_speed(SMALL, setting(recompute="all"), fast)
    assert again.tokens_per_second == pytest.approx(TOKENS / (2 * 0.009 * 1.6))
    assert estimate_speed(SMALL, setting(), replace(GPU, tflops=0.0)) is None
