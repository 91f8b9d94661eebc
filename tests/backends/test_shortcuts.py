"""The shortcuts of a training loop leave modes and gradients as torch's own walk does."""

import torch
from torch import nn

from medtune.backends.shortcuts import shortcuts


def build():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2))
    model[0].requires_grad_(requires_grad=False)
    return model, list(model[2].parameters())


def test_a_model_is_in_training_mode_afterwards_and_every_change_of_mode_reaches_all_parts():
    model, trained = build()
    model[1].eval()
    with shortcuts(model, trained):
        assert model[1].training
        assert model.train() is model
        model.eval()
        assert not model[1].training
        model.train()
        assert all(part.training for part in model.modules())
    assert "train" not in vars(model)
    assert "zero_grad" not in vars(model)


def test_gradients_of_trained_parameters_are_dropped_or_zeroed():
    model, trained = build()
    with shortcuts(model, trained):
        model(torch.ones(1, 2)).sum().backward()
        model.zero_grad(set_to_none=False)
        assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in trained)
        model.zero_grad()
        assert all(p.grad is None for p in trained)
