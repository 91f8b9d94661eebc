"""The stages of a run, in order: fetch, prepare, load, fit, score. Each takes what those before made, and returns its own."""
