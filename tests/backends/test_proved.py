"""The loss that training takes is proved on the first micro-batch, whatever the model is called, and nothing is changed by that."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

import families
from families import attach, build_base, job_of
from medtune.accel.model import tolerances
from medtune.accel.model.agreement import Examination, own_forward
from medtune.accel.model.micro_batch import choose_rows
from medtune.accel.model.tolerances import TOLERANCES
from medtune.accel.train import FastPath, Refusal
from medtune.backends import proved
from medtune.backends.losses import own_loss
from medtune.backends.proved import prove_route
from medtune.backends.trl import TrlTrainer
from medtune.errors import DataError, UnprovenBaseError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import PackedRow

ROUTES = {
    "llama": "fast path",
    "gptj": "plain path",
    "mixtral": "plain path",
    "cohere": "plain path, own logits",  # scales its logits
    "falcon_h1": "unpacked",  # carries a state; scales its logits as well
    "opt": "unpacked",  # counts its positions itself
    "biogpt": "unpacked",
    "mpt": "unpacked",  # bends its scores by distance
    "lfm2": "unpacked",  # its convolutions reach back
    "gpt_oss": "unpacked",
}


@pytest.mark.parametrize("name", ROUTES)
def test_the_fastest_right_way_is_taken_for_a_family(name):
    proof = prove_route(job_of(name)).proof
    assert proof["route"] == ROUTES[name], proof["passed_over"]
    assert proof["loss_error"] <= 1e-5
    assert proof["gradient_error"] <= 1e-5
    assert proof["samples"] == 4
    assert all(proof["passed_over"].values())


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_base_that_sees_later_tokens_is_refused(name):
    with pytest.raises(UnprovenBaseError, match="not causal") as caught:
        prove_route(job_of(name))
    assert caught.value.exit_code == 4


def test_a_base_whose_values_overflow_is_refused_for_that():
    job = job_of("llama")
    job.loaded.model.get_base_model().lm_head.weight.data.fill_(3e38)
    with pytest.raises(UnprovenBaseError, match="NaN or infinite: its values overflow"):
        prove_route(job)


def test_a_base_that_says_the_same_whatever_it_reads_is_refused_for_that():
    job = job_of("llama")
    job.loaded.model.get_base_model().lm_head.weight.data.zero_()
    with pytest.raises(UnprovenBaseError, match="says the same whatever its tokens are"):
        prove_route(job)


def test_a_proof_leaves_no_trace():
    job = job_of("qwen2")
    model = job.loaded.model
    parameter = next(p for p in model.parameters() if p.requires_grad)
    parameter.grad = torch.full_like(parameter, 0.5)
    model.train()
    model.get_base_model().model.layers[1].eval()

    def state():
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        drawn = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002 - the global state
        return kept, modes, gradients, drawn, model.config.to_dict()

    before = state()
    assert isinstance(prove_route(job).path, FastPath)
    after = state()
    assert after[1] == before[1]
    assert after[3][:2] == before[3][:2]
    assert torch.equal(after[3][2], before[3][2])
    assert after[4] == before[4]
    assert all(torch.equal(after[0][name], value) for name, value in before[0].items())
    assert [g is None or torch.equal(g, k) for g, k in zip(after[2], before[2], strict=True)].count(False) == 0
    assert [g is None for g in after[2]] == [g is None for g in before[2]]


def isolated(base, batch, *, leaks):
    """Return the loss by a mask of its own; where it leaks, the second sample's first token sees the last one before."""
    positions, labels = batch["position_ids"], batch["labels"]
    numbers = (positions == 0).cumsum(1)
    seen = (numbers[:, :, None] == numbers[:, None]) & torch.ones(numbers.shape[1:] * 2, dtype=torch.bool).tril()
    if leaks:
        begin = int((numbers[0] == 2).nonzero()[0])
        seen[0, begin, begin - 1] = True
    given = {"input_ids": batch["input_ids"], "position_ids": positions, "attention_mask": seen[:, None]}
    logits = own_forward(base, **given).logits[:, :-1].float()
    marked = labels[:, 1:] != -100
    losses = torch.nn.functional.cross_entropy(logits[marked], labels[:, 1:][marked], reduction="none")
    return losses.sum(), losses.detach()


def scaled(base, batch, *, factor):
    found = own_forward(base, input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits[:, :-1].float()
    marked = batch["labels"][:, 1:] != -100
    losses = torch.nn.functional.cross_entropy(factor * found[marked], batch["labels"][:, 1:][marked], reduction="none")
    return losses.sum(), losses.detach()


WRONG = {
    "a leak of one token": (isolated, {"leaks": False}, {"leaks": True}),
    "a head scale 2 % off": (scaled, {"factor": 1.0}, {"factor": 1.02}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("what", WRONG)
def test_the_tolerances_reject(what, dtype):
    loss, right, wrong = WRONG[what]
    job = job_of("mistral", build_base("mistral").to(dtype))
    base, allowed = job.loaded.model.get_base_model(), TOLERANCES[job.loaded.compute_dtype]
    rows = choose_rows(job.rows, 4, families.VOCABULARY, 512, packs=True)
    with Examination(job.loaded.model, rows, 0, job.loaded.compute_dtype).open() as examination:
        good, bad = (
            examination.figures(lambda batch, how=how: loss(base, batch, **how), as_trained=False)
            for how in (right, wrong)
        )
    assert not allowed.excess(good)
    assert allowed.excess(bad)


def change(module, forward):
    """Give a module a class of the same name with another ``forward(module, original, ...)``."""
    kept = type(module).forward
    own = {"forward": lambda self, *given, **named: forward(self, kept, *given, **named)}
    module.__class__ = type(type(module).__name__, (type(module),), own)


def magnify(module, steepness):
    """Have a module add to what it is given a ripple so steep that a last bit of its input is moved by some thousands."""
    change(module, lambda self, kept, x: kept(self, x + (0.01 * torch.sin(steepness * x)).detach()))


def nudged(base, batch, *, factor=1.0, leaks=False):
    """Return the right loss, or a wrong one, as a pass that rounds what enters the first layer in another way."""
    draw = torch.Generator().manual_seed(7)
    embedding = base.get_input_embeddings()
    hook = embedding.register_forward_hook(
        lambda _module, _given, out: out * (1 + 6e-8 * torch.randn(out.shape, generator=draw))
    )
    try:
        if leaks:
            return isolated(base, batch, leaks=True)
        return scaled(base, batch, factor=factor)
    finally:
        hook.remove()


def test_a_model_that_magnifies_rounding_is_measured_by_that_and_wrong_losses_still_show():
    base = build_base("llama")
    job = job_of("llama", base)
    rows = choose_rows(job.rows, 4, families.VOCABULARY, 512, packs=True)
    allowed = TOLERANCES["fp32"]
    with Examination(job.loaded.model, rows, 0, "fp32").open() as examination:
        assert allowed.beside(examination.unsteadiness(as_trained=False)) == allowed
    magnify(base.model.layers[1].mlp, 1e5)
    with Examination(job.loaded.model, rows, 0, "fp32").open() as examination:
        wider = allowed.beside(examination.unsteadiness(as_trained=False))
        found = {
            name: examination.figures(lambda batch, how=how: nudged(base, batch, **how), as_trained=False)
            for name, how in (("right", {}), ("scaled", {"factor": 1.02}), ("leaking", {"leaks": True}))
        }
    assert allowed.excess(found["right"])
    assert not wider.excess(found["right"])
    assert wider.excess(found["scaled"])
    assert wider.excess(found["leaking"])


def test_a_base_that_magnifies_rounding_is_trained_packed(monkeypatch):
    base = build_base("llama")
    magnify(base.model.layers[0].mlp, 2e6)
    job = job_of("llama", base)
    proof = prove_route(job).proof
    assert proof["route"] == "plain path", proof
    assert proof["gradient_error"] > TOLERANCES["fp32"].gradient
    monkeypatch.setattr(tolerances, "_ROUNDINGS", 0)
    assert prove_route(job).proof["route"] == "unpacked"


def beyond_six_tokens(base):
    def forward(self, kept, *given, **named):
        out, *rest = kept(self, *given, **named)
        positions = named.get("position_ids", torch.zeros(1, 1))
        return torch.where(positions[..., None] < 6, out, 1.05 * out), *rest

    for layer in base.model.layers:
        change(layer.self_attn, forward)


def in_one_layer(base):
    def forward(self, kept, x):
        return kept(self, x) * (1.05 if self.is_last else 1.0)

    for number, layer in enumerate(base.model.layers):
        layer.mlp.is_last = number == 1
    kind = type(base.model.layers[0].mlp)
    change(base.model.layers[0].mlp, forward)
    assert type(base.model.layers[0].mlp).__name__ == kind.__name__
    base.model.layers[1].mlp.__class__ = type(base.model.layers[0].mlp)


def by_dropping_attention_in_one_layer(base):
    base.model.layers[1].self_attn.attention_dropout = 0.3


@pytest.mark.parametrize("otherwise", [beyond_six_tokens, in_one_layer, by_dropping_attention_in_one_layer])
def test_a_model_that_computes_otherwise_than_the_fast_path_is_trained_by_its_own_layers(otherwise):
    base = build_base("mistral")
    otherwise(base)
    job = job_of("mistral", base)
    assert isinstance(proved.choose_route(job), FastPath)  # six tokens of one layer do not show it
    route = prove_route(job)
    assert route.proof["route"] == "plain path"
    assert isinstance(route.path, Refusal)
    assert "fast path" in route.proof["passed_over"]


def test_a_proof_without_memory_takes_fewer_tokens(monkeypatch):
    kept, sizes = own_loss, []

    def starved(base, input_ids, **given):
        sizes.append(input_ids.numel())
        if input_ids.numel() > 120:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return kept(base, input_ids, **given)

    monkeypatch.setattr(proved, "supervised_loss", starved)
    job = job_of("mistral", fast_path="off")
    assert prove_route(job).proof["tokens"] < sizes[0] <= 300
    assert sizes[-1] <= 120


def test_rows_without_a_sample_that_could_be_proved_are_refused():
    class Short(families.Rows):
        def __getitem__(self, index):
            return PackedRow([5, 6], [0, 1], [2], [index])

    with pytest.raises(DataError, match="4 tokens or more"):
        choose_rows(Short(), 1, families.VOCABULARY, 512, packs=True)


@quiet_libraries()
def test_a_mixture_of_experts_answers_after_its_training(tmp_path):
    from medtune.backends.transformers_generate import generate_by_transformers
    from medtune.plugins.contracts import GenerationRequest
    from medtune.specs import EvalSpec

    job = job_of("mixtral", save_strategy="no", optim="adamw_torch")
    told, config = [], job.loaded.model.config
    before = config.output_router_logits, config.router_aux_loss_coef
    result = TrlTrainer().fit(replace(job, run_dir=tmp_path, on_proof=told.append))
    assert (config.output_router_logits, config.router_aux_loss_coef) == before
    assert result.proof["route"] == "plain path"
    assert told == [result.proof]
    assert len(generate_by_transformers(job.loaded, [GenerationRequest([5, 6, 7], 3)], EvalSpec())[0]) <= 3


def test_attaching_is_what_the_proof_seeds():
    """With lora_B at zero, the gradients of lora_A are zero on both sides, and any error in them would pass."""
    model = attach(build_base("mistral")).model
    assert all(not p.any() for name, p in model.named_parameters() if "lora_B" in name)
    with Examination(model, choose_rows(families.Rows(), 1, 97, 96, packs=True), 0, "fp32").open():
        assert all(p.any() for p in model.parameters() if p.requires_grad)
    assert all(not p.any() for name, p in model.named_parameters() if "lora_B" in name)
