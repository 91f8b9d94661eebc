"""For authors of backends: a tiny model, a tiny run, and the laboratory that makes writes fail."""
