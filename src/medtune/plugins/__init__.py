"""The seams of medtune: what a backend must offer and how plugins are found."""

from medtune.plugins.hookspecs import HOOK_VERSION, hookimpl

__all__ = ["HOOK_VERSION", "hookimpl"]
