"""Dropout depends on seed, update and tokens alone: not on how rows are divided, packed, shared, or run."""

from itertools import pairwise

import pytest
import torch
from tiny_models import build_model, draw_with_prefixes, gradients, largest_error, plain_loss

from medtune.accel import train as kernels
from medtune.accel.steps.dropout import DropoutKeys, keep_mask, token_keys, update_seed
from medtune.accel.train import UpdateMasks

LORA = {"lora_dropout": 0.3}


def summed(model, loss, parts):
    """Return loss and gradients of all parts."""
    return gradients(model, sum(loss(*part) for part in parts))


def alone(batch):
    """Return each sample of a batch as a row of its own."""
    for row in zip(*batch, strict=True):
        begins = [*(row[1] == 0).nonzero().flatten().tolist(), len(row[1])]
        for start, end in pairwise(begins):
            yield tuple(values[None, start:end] for values in row)


def divided(batch):
    """Return a batch as one part, by row, by row from behind, and each sample alone."""
    rows = [tuple(values[row : row + 1] for values in batch) for row in range(len(batch[0]))]
    return {"whole": [batch], "rows": rows, "turned": rows[::-1], "alone": list(alone(batch))}


@pytest.mark.parametrize(("family", "known"), [("Qwen3", True), ("Olmo2", False)])
def test_masks_are_the_same_however_a_batch_is_divided_and_whichever_way_it_is_run(family, known):
    model, parts = build_model(family, lora=LORA), divided(draw_with_prefixes())
    path = kernels.enable(model, share=True, recompute="all")
    assert isinstance(path, kernels.FastPath) == known
    found = {}
    with UpdateMasks(model, None, 7) as masks:
        masks.begin(5)
        found |= {
            f"own layers, {name}": summed(model, lambda *p: plain_loss(model, *p), ps) for name, ps in parts.items()
        }
        assert not masks.unplaced
    if known:
        with UpdateMasks(model, path, 7) as masks:
            masks.begin(5)
            found |= {f"fast path, {name}": summed(model, path.loss_sum, ps) for name, ps in parts.items()}
    wanted_loss, wanted = found.pop("own layers, whole")
    for name, (loss, given) in found.items():
        torch.testing.assert_close(loss, wanted_loss, rtol=1e-5, atol=0, msg=name)
        assert largest_error(given, wanted) < 2e-5, name


@pytest.mark.parametrize("fast", [True, False])
def test_another_update_or_seed_draws_other_masks_and_the_model_is_left_as_it_was(fast):
    model, batch = build_model(lora=LORA), draw_with_prefixes()
    before, states = {name: type(m) for name, m in model.named_modules()}, torch.get_rng_state()
    path = kernels.enable(model) if fast else None
    losses = []
    for seed, update in ((7, 5), (7, 5), (7, 6), (8, 5)):
        with UpdateMasks(model, path, seed) as masks:
            masks.begin(update)
            losses.append(float((path.loss_sum(*batch) if fast else plain_loss(model, *batch)).detach()))
    assert losses[0] == losses[1]
    assert len(set(losses)) == 3
    assert {name: type(m) for name, m in model.named_modules()} == before
    assert torch.equal(torch.get_rng_state(), states)  # nothing else was drawn from
    first, second = (plain_loss(model, *batch).detach() for _ in range(2))
    assert first != second  # peft's own dropout is back


def test_every_layer_and_update_draws_the_share_that_is_asked_independently():
    ids, places = torch.arange(3, 403), torch.arange(400)
    keys = token_keys(ids, torch.zeros_like(places), places).to(torch.int32)
    masks = []
    for update in (1, 2):
        drawn = DropoutKeys.drawn(0.25, keys, update_seed(0, update))
        for group, member in ((0, 0), (0, 1), (0, 2), (1, 0)):
            masks.append(keep_mask(drawn.of(group, 3), member, (400, 64), ids.device).float().flatten())
    assert all(mask.mean().sub(0.75).abs() < 0.015 for mask in masks)
    assert torch.corrcoef(torch.stack(masks)).sub(torch.eye(len(masks))).abs().max() < 0.03
    rows = keep_mask(drawn.of(0, 1), 0, (400, 64), ids.device)
    assert len({tuple(row) for row in rows.tolist()}) == 400


def test_a_token_is_known_by_those_before_it_in_its_sample_alone():
    def keys(*samples):
        ids = torch.tensor([token for sample in samples for token in sample])
        begins = torch.tensor([sum(map(len, samples[:n])) for n, sample in enumerate(samples) for _ in sample])
        found = token_keys(ids, begins, torch.arange(len(ids))).tolist()
        assert found == token_keys(ids.numpy(), begins.numpy(), torch.arange(len(ids)).numpy()).tolist()
        return [[found.pop(0) for _ in sample] for sample in samples]

    first, second, third = keys([5, 6, 7, 8], [9, 9], [5, 6, 8, 7])
    assert [second, first] == keys([9, 9], [5, 6, 7, 8])
    assert first[:2] == third[:2]
    assert len({*first, *second, *third}) == 4 + 2 + 2


def test_a_layer_that_reads_other_rows_is_told_of():
    model, batch = build_model(lora={**LORA, "target_modules": ["lm_head"]}), draw_with_prefixes()
    base = model.get_base_model()
    with UpdateMasks(model, None, 0) as masks:
        masks.begin(1)
        hidden = base.model(input_ids=batch[0], position_ids=batch[1]).last_hidden_state
        base.lm_head(hidden)
        assert not masks.unplaced
        first = base.lm_head(hidden[:, :5])
        assert masks.unplaced
        base.model(input_ids=batch[0], position_ids=batch[1])
        assert not torch.equal(base.lm_head(hidden[:, :5]), first)  # the next pass drops others
