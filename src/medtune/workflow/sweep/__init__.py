"""Tries several settings of one spec on one loaded base, and chooses one of them."""
