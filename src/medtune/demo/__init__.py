"""What `medtune demo` brings along: a tiny base model with its tokenizer, and sample rows."""
