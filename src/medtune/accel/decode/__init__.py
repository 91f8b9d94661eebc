"""Decodes many prompts greedily with models of the Llama kind: own forward pass, slots for keys and values, graphs."""
