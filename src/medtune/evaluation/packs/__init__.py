"""Recipes of public benchmark sets: where they are, on what terms, their official splits and published figures; no rows."""
