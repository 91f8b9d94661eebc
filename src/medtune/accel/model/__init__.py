"""Reads a transformers model: what its layers, heads and weights are."""
