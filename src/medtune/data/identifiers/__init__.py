"""Identifiers of people in rows: what kinds there are, where they stand, and what a policy makes of them."""
