"""Serves the runs on one base as an OpenAI-compatible endpoint, and talks to such endpoints."""
