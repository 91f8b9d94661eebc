"""Several processes that train one run: who takes which rows, and what they count together."""
