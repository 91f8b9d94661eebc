"""The fast path gives the loss and the gradients of plain peft, or says in one line why it does not apply."""

from copy import deepcopy

import pytest
import torch
from tiny_models import DEVICE, draw_batch, draw_with_prefixes, gradients, joint_error, largest_error, plain_loss

from medtune.accel import train as kernels

FAMILIES = ("Mistral", "Llama", "Qwen2", "Qwen3")


def enabled(model, **options):
    path = kernels.enable(model, **options)
    assert isinstance(path, kernels.FastPath), str(path)
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_every_family_equal_plain_peft_in_fp32(build, batch, family):
    model = build(family)
    wanted_loss, wanted = gradients(model, plain_loss(model, *batch))
    loss, found = gradients(model, enabled(model).loss_sum(*batch))
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-5, atol=0)
    assert len(wanted) == 42
    assert largest_error(found, wanted) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recompute", ["none", "all"])
def test_a_prefix_that_samples_share_is_computed_once_and_changes_nothing(build, family, recompute):
    model, batch = build(family), draw_with_prefixes()
    wanted_loss, wanted = gradients(model, plain_loss(model, *batch))
    precise = deepcopy(model).double()
    _loss, exact = gradients(precise, plain_loss(precise, *batch))
    path = enabled(model, recompute=recompute, share=True)
    shared, apart = path.lay_out(*batch), kernels.lay_out(*batch)
    # twelve samples, six to a text: five prefixes less of each
    assert len(apart.ids) - len(shared.ids) == 5 * (18 + 21)
    loss, found = gradients(model, path.loss_of(shared))
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-5, atol=0)
    assert largest_error(found, exact) < max(
        1e-5, 1.5 * largest_error(wanted, exact)
    )  # Qwen2's plain ones lie at 1e-5 too
    losses = path.token_losses[: len(apart.supervised)]
    path.loss_of(apart)
    torch.testing.assert_close(losses, path.token_losses[: len(apart.supervised)], rtol=1e-4, atol=1e-5)
    padded, known = shared.padded(path.grain), path.loss_of(shared)
    torch.testing.assert_close(path.loss_of(padded) - path.token_losses[len(shared.supervised) :].sum(), known)


@pytest.mark.parametrize("family", FAMILIES)
def test_sharing_a_prefix_adds_no_error_in_half_precision(build, family):
    exact, batch = build(family), draw_with_prefixes()
    _loss, wanted = gradients(exact, plain_loss(exact, *batch))
    model = build(family, dtype=torch.bfloat16)
    path, errors = enabled(model, share=True), []
    for laid in (kernels.lay_out(*batch), path.lay_out(*batch)):
        _loss, found = gradients(model, path.loss_of(laid))
        errors.append(joint_error(found, wanted))
    assert errors[1] < 1.2 * errors[0]


@pytest.mark.parametrize(("window", "shares"), [(20, False), (39, True)])
def test_a_window_that_bites_keeps_samples_whole_and_is_right_either_way(build, window, shares):
    model, batch = build(sliding_window=window), draw_with_prefixes()
    _loss, wanted = gradients(model, plain_loss(model, *batch))
    path = enabled(model, share=True)
    assert path.lay_out(*batch).shares == shares
    for laid in (path.lay_out(*batch), kernels.lay_out(*batch, longest_shared=40)):
        _loss, found = gradients(model, path.loss_of(laid))
        assert largest_error(found, wanted) < 1e-5


def test_samples_stay_whole_unless_asked(build):
    assert not enabled(build()).lay_out(*draw_with_prefixes()).shares


VARIANTS = {
    "two_targets": ({"lora": {"target_modules": ["q_proj", "v_proj"]}}, {}),
    "only_down": ({"lora": {"target_modules": ["down_proj"]}}, {}),
    "gate_without_up": ({"lora": {"target_modules": ["gate_proj", "k_proj"]}}, {}),
    "some_layers": ({"lora": {"layers_to_transform": [1]}}, {}),
    "high_rank_rslora": ({"lora": {"r": 24, "use_rslora": True}}, {}),
    "narrow_window": ({"family": "Mistral", "sliding_window": 4}, {}),
    "no_shared_heads": ({"num_key_value_heads": 4}, {}),
    "tied_head": ({"tie_word_embeddings": True}, {}),
    "attention_bias_of_qwen": ({"family": "Qwen2"}, {}),
    "scaled_rotation": (
        {
            "family": "Llama",
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        {},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_of_variants_equal_plain_peft_in_fp32(build, batch, name):
    model = build(**VARIANTS[name][0])
    _loss, wanted = gradients(model, plain_loss(model, *batch))
    _loss, found = gradients(model, enabled(model).loss_sum(*batch))
    assert largest_error(found, wanted) < 1e-5


@pytest.mark.parametrize("recompute", ["selective", "all", "offload"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_recompute_policies_give_the_same_gradients(build, batch, recompute, dropout, monkeypatch):
    from medtune.accel.train import stack

    model = build(lora={"lora_dropout": dropout})
    torch.manual_seed(1)
    loss, wanted = gradients(model, enabled(model).loss_sum(*batch))
    monkeypatch.setattr(stack, "_MLP_ROWS", 7)  # so that the MLP is worked on in parts
    torch.manual_seed(1)
    other_loss, found = gradients(model, enabled(model, recompute=recompute).loss_sum(*batch))
    torch.testing.assert_close(other_loss, loss, rtol=1e-6, atol=0)
    assert largest_error(found, wanted) < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_in_half_precision_stay_within_the_error_of_eager(build, batch, family):
    exact = build(family)
    _loss, wanted = gradients(exact, plain_loss(exact, *batch))
    model = build(family, dtype=torch.bfloat16)
    with torch.autocast(DEVICE, torch.bfloat16):
        _loss, eager = gradients(model, plain_loss(model, *batch))
        _loss, fast = gradients(model, enabled(model).loss_sum(*batch))
    assert largest_error(fast, wanted) < 1.25 * largest_error(eager, wanted)


def in_4_bits(quant_type):
    """Return a function that stores the layers of a base in 4 bits."""
    bitsandbytes = pytest.importorskip("bitsandbytes")

    def quantize(base):
        for layer in base.model.layers:
            for part in (layer.self_attn, layer.mlp):
                for name, linear in list(part.named_children()):
                    if type(linear) is torch.nn.Linear:
                        new = bitsandbytes.nn.Linear4bit(
                            linear.in_features, linear.out_features, bias=False, quant_type=quant_type
                        )
                        new.weight = bitsandbytes.nn.Params4bit(
                            linear.weight.data.cpu(), requires_grad=False, quant_type=quant_type, module=new
                        )
                        new.support_avx512bf16_for_cpu = False
                        setattr(part, name, new.to(DEVICE))
        return base

    return quantize


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_gradients_on_a_4_bit_base_equal_plain_peft(build, batch, quant_type):
    model = build(prepare=in_4_bits(quant_type))
    _loss, wanted = gradients(model, plain_loss(model, *batch))
    _loss, found = gradients(model, enabled(model).loss_sum(*batch))
    assert largest_error(found, wanted) < 1e-5


@pytest.fixture
def dequantized(monkeypatch):
    """Return a list that fills with the 4-bit weights that are dequantized."""
    from medtune.accel.train import frozen

    found = []
    kept = frozen._FourBit._dequantize_one
    monkeypatch.setattr(frozen._FourBit, "_dequantize_one", lambda *given: (found.append(given[1]), kept(*given)))
    return found


def test_an_mlp_in_parts_dequantizes_each_4_bit_weight_once_per_pass(build, batch, dequantized, monkeypatch):
    from medtune.accel.train import stack

    model = build(prepare=in_4_bits("nf4"))
    _loss, wanted = gradients(model, enabled(model).loss_sum(*batch))
    monkeypatch.setattr(stack, "_MLP_ROWS", 7)
    dequantized.clear()
    path = enabled(model, recompute="all")
    for _ in range(2):
        _loss, found = gradients(model, path.loss_sum(*batch))
        assert largest_error(found, wanted) < 1e-5
    gate = model.get_base_model().model.layers[0].mlp.gate_proj.base_layer.weight
    down = model.get_base_model().model.layers[0].mlp.down_proj.base_layer.weight
    for weight in (gate, down):
        assert sum(one is weight for one in dequantized) == 2 * 2  # forward and backward of two passes


def test_weights_that_stay_dequantized_give_the_same_to_the_bit_and_are_dequantized_once(build, batch, dequantized):
    model = build(prepare=in_4_bits("nf4"))
    loss, wanted = gradients(model, enabled(model).loss_sum(*batch))
    dequantized.clear()
    path = enabled(model, keep_dequantized=True)
    assert not dequantized  # the first pass takes the memory
    for passes in (2, 1):
        for _ in range(passes):
            found_loss, found = gradients(model, path.loss_sum(*batch))
            assert torch.equal(found_loss, loss)
            assert all(torch.equal(found[name], value) for name, value in wanted.items())
        linears = 7 * len(model.get_base_model().model.layers)
        assert len(dequantized) == len({id(one) for one in dequantized}) == linears
        path.disable()  # a later pass dequantizes them again
        dequantized.clear()


@pytest.mark.parametrize("keep_dequantized", [True, False])
def test_what_a_rehearsal_dequantized_counts_for_nothing(build, batch, monkeypatch, keep_dequantized):
    from medtune.accel.train import frozen

    model = build(prepare=in_4_bits("nf4"))
    loss, wanted = gradients(model, enabled(model).loss_sum(*batch))
    path = enabled(model, keep_dequantized=keep_dequantized)
    with monkeypatch.context() as within:
        within.setattr(frozen._FourBit, "_dequantize_one", lambda *_: None)
        path._stack.rehearse(kernels.lay_out(*batch), None)
    found_loss, found = gradients(model, path.loss_sum(*batch))
    assert torch.equal(found_loss, loss)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_the_gradient_scales_with_what_flows_in(build, batch):
    model = build()
    path = enabled(model)
    _loss, wanted = gradients(model, path.loss_sum(*batch))
    _loss, found = gradients(model, path.loss_sum(*batch) / 8)
    assert all(torch.allclose(found[n] * 8, w, rtol=1e-5, atol=1e-7) for n, w in wanted.items())


def test_micro_batches_add_up(build):
    model = build()
    path = enabled(model)
    whole, parts = draw_batch(rows=4), [[t[a:b] for t in draw_batch(rows=4)] for a, b in ((0, 1), (1, 4))]
    loss, wanted = gradients(model, path.loss_sum(*whole))
    part_losses = [path.loss_sum(*part) for part in parts]
    _loss, found = gradients(model, part_losses[0] + part_losses[1])
    torch.testing.assert_close((part_losses[0] + part_losses[1]).detach(), loss, rtol=1e-6, atol=0)
    assert largest_error(found, wanted) < 1e-5


def test_loss_without_gradients_is_the_same(build, batch):
    model = build()
    path = enabled(model)
    with torch.no_grad():
        loss = path.loss_sum(*batch)
        torch.testing.assert_close(loss, plain_loss(model, *batch), rtol=1e-5, atol=0)
    assert not loss.requires_grad


def test_a_batch_without_loss_gives_zero_gradients(build, batch):
    model = build()
    ids, positions, labels = batch
    loss, found = gradients(model, enabled(model).loss_sum(ids, positions, torch.full_like(labels, -100)))
    assert loss == 0
    assert all(not value.any() for value in found.values())


def test_a_second_backward_pass_is_refused(build, batch):
    model = build()
    loss = enabled(model).loss_sum(*batch)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward()


def test_the_model_itself_answers_as_before(build, batch, tmp_path):
    model = build()
    with torch.no_grad():
        before = model(input_ids=batch[0], position_ids=batch[1]).logits
    path = enabled(model)
    path.loss_sum(*batch).backward()
    path.disable()
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=batch[0], position_ids=batch[1]).logits, before)
    model.save_pretrained(tmp_path)
    model.get_base_model().save_pretrained(tmp_path / "base")


def test_evaluation_mode_drops_nothing(build, batch):
    model = build(lora={"lora_dropout": 0.5})
    path = enabled(model.eval())
    torch.testing.assert_close(path.loss_sum(*batch), path.loss_sum(*batch), rtol=0, atol=0)
    torch.testing.assert_close(path.loss_sum(*batch), plain_loss(model, *batch), rtol=1e-5, atol=0)


def test_dropout_follows_the_seed_and_differs_between_passes(build, batch):
    model = build(lora={"lora_dropout": 0.5})
    path = enabled(model)
    torch.manual_seed(5)
    first, second = path.loss_sum(*batch).detach(), path.loss_sum(*batch).detach()
    torch.manual_seed(5)
    assert torch.equal(path.loss_sum(*batch).detach(), first)
    assert not torch.equal(first, second)


def test_mean_gradient_under_dropout_is_that_of_plain_peft(build):
    batch = draw_batch(rows=1, length=24, samples=2)
    # one layer and one adapter: the loss is then nearly linear in the dropped inputs
    model = build(lora={"lora_dropout": 0.3, "target_modules": ["down_proj"]}, num_hidden_layers=1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data *= 0.01
    path = enabled(model)
    means = []
    for loss in (lambda: plain_loss(model, *batch), lambda: path.loss_sum(*batch)):
        total = None
        for _ in range(400):
            _loss, found = gradients(model, loss())
            flat = torch.cat([v.flatten() for v in found.values()])
            total = flat if total is None else total + flat
        means.append(total / 400)
    assert (means[0] - means[1]).norm() / means[0].norm() < 0.1


REFUSED = {
    "DoRA": {"lora": {"use_dora": True}},
    "trained biases": {"lora": {"bias": "lora_only"}},
    "further trained modules": {"lora": {"modules_to_save": ["lm_head"]}},
    "differ in rank": {"lora": {"rank_pattern": {"q_proj": 4}}},
    "model type is 'olmo2'": {"family": "Olmo2"},
    "o_proj has a bias": {"family": "Llama", "attention_bias": True},
    "drops attention weights": {"attention_dropout": 0.1},
    "activation is gelu": {"hidden_act": "gelu"},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_supported_is_refused_in_one_line(build, reason):
    refusal = kernels.enable(build(**REFUSED[reason]))
    assert isinstance(refusal, kernels.Refusal)
    assert reason in str(refusal)
    assert "\n" not in str(refusal)


def test_a_hook_is_refused_by_its_place(build):
    model = build()
    model.get_base_model().model.layers[1].mlp.register_forward_hook(lambda *_: None)
    refusal = kernels.enable(model)
    assert "model.layers.1.mlp" in str(refusal)


def test_a_frozen_adapter_is_refused(build):
    model = build()
    next(p for p in model.parameters() if p.requires_grad).requires_grad_(requires_grad=False)
    assert "not trained" in str(kernels.enable(model))


def test_an_unwrapped_model_is_refused(build):
    assert "exactly one adapter" in str(kernels.enable(build().get_base_model()))
