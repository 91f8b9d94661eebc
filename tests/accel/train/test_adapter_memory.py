"""The adapters of a model lie side by side in one memory, the second factors turned, whichever layers have one."""

import pytest
import torch

from medtune.accel.train.adapters import Adapters, Member


def member(inputs, outputs):
    return Member(torch.nn.Parameter(torch.randn(4, inputs)), torch.nn.Parameter(torch.randn(outputs, 4)))


def build(kind):
    """Return the adapters of three layers with four groups each, or with some missing."""
    adapters = Adapters(4, 1.0, torch.float32)
    for layer in range(3):
        is_whole = kind == "alike" or layer != 1
        adapters.add([member(16, 16), member(16, 8) if is_whole else None, member(16, 8)], 16, [16, 8, 8])
        if is_whole:
            adapters.add([member(16, 16)], 16, [16])
        adapters.add([member(16, 32), member(16, 32)], 16, [32, 32])
        adapters.add([member(32, 16)], 32, [16])
    return adapters


@pytest.mark.parametrize("kind", ["alike", "ragged"])
def test_every_layer_finds_its_factors_and_its_gradients(kind):
    adapters = build(kind)
    flat = adapters.memory()
    groups = adapters.begin(flat)
    assert not flat.any()
    values = iter(adapters.parameters)
    gradients = iter(adapters.gradients(flat))
    for group in groups:
        for index, (begin, end) in enumerate(zip(group.bounds[:-1], group.bounds[1:], strict=True)):
            down, up = group.down[4 * index : 4 * index + 4], group.up[:, begin:end]
            if not up.any():  # a layer without an adapter counts as zeros
                assert (kind, group.number, index) == ("ragged", 4, 1)
                assert not down.any()
                continue
            assert torch.equal(down, next(values))
            assert torch.equal(up, next(values).t())
            group.down_gradient[4 * index : 4 * index + 4] = float(index + 1)
            group.up_gradient[begin:end] = float(-index - 1)
            assert bool((next(gradients) == index + 1).all())
            assert bool((next(gradients) == -index - 1).all())
    assert next(values, None) is None


def test_todays_values_are_taken_at_every_pass():
    adapters = build("alike")
    adapters.begin(None)
    for parameter in adapters.parameters:
        parameter.data.mul_(2.0)
    groups = adapters.begin(None)
    assert torch.equal(groups[0].down[:4], adapters.parameters[0])
    assert torch.equal(groups[-1].up, adapters.parameters[-1].t())
