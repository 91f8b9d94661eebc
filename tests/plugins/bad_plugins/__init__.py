"""Plugins that break their contract, each with the check that must catch it; and odd ones that keep it."""
