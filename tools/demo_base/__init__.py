"""Builds what `medtune demo` brings along: its sample rows and its tiny base."""
