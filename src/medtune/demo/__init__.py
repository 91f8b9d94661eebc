"""The embedded default: a tiny base model, its tokenizer, and the generator of its sample rows."""

from medtune.demo.generator import generate_rows, pretraining_text, source_names_of

__all__ = ["generate_rows", "pretraining_text", "source_names_of"]
