"""Decides beforehand how a run is done, what memory it needs and how long it takes; loads no weights."""
