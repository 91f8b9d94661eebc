"""The fast path: reads a transformers model, trains and decodes it with fused steps."""
