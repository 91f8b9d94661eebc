"""In fp16 gradients have a gradient scaler's factor from the loss on: equal to fp32 within fp16's error, and an overflow is seen."""

import pytest
import torch
from tiny_models import DEVICE, gradients, largest_error, plain_loss

from medtune.accel import train as kernels
from medtune.backends.losses import describe


def enabled(model, **options):
    path = kernels.enable(model, **options)
    assert isinstance(path, kernels.FastPath), str(path)
    return path


def scaler_of(scale):
    return torch.amp.GradScaler(DEVICE, init_scale=scale, growth_interval=3)


def scaled_step(path, scaler, optimizer, batch, share=0.25):
    """Do an update as the trainer does, and return the gradients' norm before it."""
    optimizer.zero_grad()
    path.scale_gradients(scaler.scale(torch.ones((), device=DEVICE)) * share)
    loss = path.loss_sum(*batch) * share
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach(), norm


def optimizer_of(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)


def values(model):
    return torch.cat([p.detach().flatten().clone() for p in model.parameters() if p.requires_grad])


@pytest.mark.parametrize("family", ["Mistral", "Qwen2", "Qwen3"])
def test_gradients_in_fp16_equal_fp32_within_its_error_whatever_the_scale(build, batch, family):
    exact = build(family)
    wanted_loss, wanted = gradients(exact, plain_loss(exact, *batch))
    model = build(family, dtype=torch.float16)
    _loss, eager = gradients(model, plain_loss(model, *batch))
    path = enabled(model)
    for scale in (1.0, 37.5, 256.0):
        path.scale_gradients(torch.tensor(scale, device=DEVICE))
        loss, found = gradients(model, path.loss_sum(*batch))
        torch.testing.assert_close(loss, wanted_loss, rtol=2e-3, atol=0)
        assert max(largest_error(found, wanted), largest_error(eager, wanted)) < 0.02


def test_gradients_too_small_for_fp16_arrive_by_the_scale(build, batch):
    def faint(base):  # a large residual stream and a small head: what flows back is below fp16's normal numbers
        base.model.embed_tokens.weight.data *= 2.0**12
        base.lm_head.weight.data *= 2.0**-8
        return base.half()

    exact = build(prepare=lambda base: faint(base).float())
    _loss, wanted = gradients(exact, plain_loss(exact, *batch))
    model = build(dtype=torch.float16, prepare=faint)
    path, errors = enabled(model), []
    for scale in (1.0, 2.0**14):
        path.scale_gradients(torch.tensor(scale, device=DEVICE))
        errors.append(largest_error(gradients(model, path.loss_sum(*batch))[1], wanted))
    assert errors[0] > 0.2
    assert errors[1] < 0.02


def test_an_overflow_leaves_the_update_out_and_the_scale_is_found(build, batch):
    model = build(dtype=torch.float16)
    path, scaler, optimizer = enabled(model), scaler_of(2.0**22), optimizer_of(model)
    before, seen = values(model), []
    while scaler.get_scale() > 2.0**4 and not (seen and seen[-1]):
        loss, norm = scaled_step(path, scaler, optimizer, batch)
        assert torch.isfinite(loss)  # of the loss itself nothing is scaled inside
        seen.append(bool(torch.isfinite(norm)))
        assert torch.equal(values(model), before) != seen[-1]
    assert seen.count(False) >= 3
    assert seen[-1]
    assert scaler.get_scale() == 2.0 ** (22 - seen.count(False))


def test_an_activation_beyond_fp16_is_seen_in_the_loss_as_in_the_model_s_own(build, batch):
    model = build(dtype=torch.float16)
    path = enabled(model)
    assert torch.isfinite(path.loss_sum(*batch))
    for layer in model.get_base_model().model.layers:
        for part in (layer.mlp.gate_proj, layer.mlp.up_proj):
            part.base_layer.weight.data *= 2.0**13  # each is finite, their product is not
    assert not torch.isfinite(plain_loss(model, *batch))
    assert not torch.isfinite(path.loss_sum(*batch))


def test_a_step_with_a_scaler_is_that_of_fp32(build, batch):
    exact, model = build(), build(dtype=torch.float16)
    begun, optimizer = (values(exact), values(model)), optimizer_of(exact)
    (plain_loss(exact, *batch) * 0.25).backward()
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()
    scaled_step(enabled(model), scaler_of(2.0**10), optimizer_of(model), batch)
    wanted, found = values(exact) - begun[0], values(model) - begun[1]
    assert (found - wanted).norm() / wanted.norm() < 2e-2


def test_a_saved_scaler_goes_on_to_the_bit(build, batch):
    ways = []
    for cut in (None, 2):
        model = build(dtype=torch.float16)
        path, scaler, optimizer = enabled(model), scaler_of(2.0**20), optimizer_of(model)
        for step in range(8):
            if step == cut:
                kept, scaler = scaler.state_dict(), scaler_of(2.0**3)
                scaler.load_state_dict(kept)
                path = enabled(model)
            scaled_step(path, scaler, optimizer, batch)
        ways.append((values(model), scaler.get_scale()))
    assert torch.equal(ways[0][0], ways[1][0])
    assert ways[0][1] == ways[1][1]


def test_other_types_have_no_scale(build, batch):
    model = build()
    path = enabled(model)
    _loss, wanted = gradients(model, path.loss_sum(*batch))
    path.scale_gradients(torch.tensor(1000.0))
    _loss, found = gradients(model, path.loss_sum(*batch))
    assert path.scale is None
    assert "loss scaling" not in describe(path)
    assert "loss scaling" in describe(enabled(build(dtype=torch.float16)))
    assert all(torch.equal(found[name], gradient) for name, gradient in wanted.items())


@pytest.mark.parametrize("recompute", ["all", "offload"])
def test_what_is_computed_again_in_fp16_is_the_same(build, batch, recompute):
    model = build(dtype=torch.float16)
    found = []
    for policy in ("none", recompute):
        path = enabled(model, recompute=policy)
        path.scale_gradients(torch.tensor(16.0, device=DEVICE))
        found.append(gradients(model, path.loss_sum(*batch))[1])
    assert largest_error(found[1], found[0]) < 5e-3
