"""The four stages of a run, in order: prepare, load, fit, score. Each takes what those before made, and returns its own."""
