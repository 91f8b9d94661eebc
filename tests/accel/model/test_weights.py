"""Joined layers and the products with the head."""

import pytest
import torch

from medtune.accel.model.weights import join, logits_memory, multiply_back, write_logits


def linears(parts):
    """Return frozen layers over weights, each where it lies."""
    layers = [
        torch.nn.Linear(part.shape[1], len(part), bias=False).requires_grad_(requires_grad=False) for part in parts
    ]
    for layer, part in zip(layers, parts, strict=True):
        layer.weight.data = part
    return layers


def test_layers_look_into_the_joint_weights():
    parts = [torch.randn(4, 5), torch.randn(1, 5), torch.randn(3, 5)]
    layers = linears([part.clone() for part in parts])
    joint = join(layers)
    assert torch.equal(joint, torch.cat(parts))
    joint[4] = 7
    assert torch.equal(layers[1].weight, torch.full((1, 5), 7.0))
    assert all(layer.weight.untyped_storage().data_ptr() == joint.untyped_storage().data_ptr() for layer in layers)


def test_weights_that_lie_side_by_side_stay_where_they_are():
    whole = torch.randn(7, 5)
    assert join(linears(whole.split([4, 3]))).data_ptr() == whole.data_ptr()
    assert join(linears([whole])).data_ptr() == whole.data_ptr()


@pytest.mark.parametrize("order", [[1, 0], [0, 2]], ids=["swapped", "gap"])
def test_weights_of_one_memory_in_another_order_are_moved(order):
    parts = torch.randn(6, 5).split(2)
    wanted = torch.cat([parts[i] for i in order])
    assert torch.equal(join(linears([parts[i] for i in order])), wanted)


@pytest.mark.parametrize("vocabulary", [64, 61, 5])
def test_products_with_the_head_of_any_size(vocabulary):
    hidden, head, gradient = torch.randn(3, 16), torch.randn(vocabulary, 16), torch.randn(3, vocabulary)
    logits = logits_memory(3, vocabulary, hidden)
    assert logits.stride(0) % 8 == 0
    write_logits(hidden, head, logits)
    torch.testing.assert_close(logits, hidden @ head.t())
    out, given = torch.empty(3, 16), logits_memory(3, vocabulary, hidden)
    given.copy_(gradient)
    multiply_back(given, head, out)
    torch.testing.assert_close(out, gradient @ head)


def test_weights_that_answering_joined_can_be_trained_over():
    layers = linears([torch.randn(4, 5), torch.randn(3, 5)])
    with torch.inference_mode():
        join(layers)
    x = torch.randn(2, 5, requires_grad=True)
    sum(layer(x).sum() for layer in layers).backward()
    assert torch.allclose(x.grad, sum(layer.weight.sum(0) for layer in layers).expand(2, 5))
