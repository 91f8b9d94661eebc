"""Annotation formats read into rows: what was marked where, checked against the text, and what was left out counted."""
