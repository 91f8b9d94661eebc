"""Triton kernels, each beside the stock operation that it must equal."""
