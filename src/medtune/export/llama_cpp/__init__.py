"""Writes GGUF files that llama.cpp and what is built on it read: weights, vocabulary, chat template, adapters."""
