"""Imports the machine learning libraries before plugin code is watched: what they leave behind is not the plugin's."""

from functools import cache
from importlib import import_module

__all__ = ["warm_up"]

_NAMES = ("peft", "trl", "transformers.models.mistral.modeling_mistral", "medtune.backends.sft_trainer")


@cache
def warm_up() -> None:
    """Import them once in a process."""
    from medtune.machine.libraries import import_bitsandbytes, quiet_libraries

    import_bitsandbytes()
    with quiet_libraries():
        for name in _NAMES:
            import_module(name)
