"""Finds the config.json of a base: in its folder, in the hub's cache, or as a bundle states it; downloads nothing."""

from collections.abc import Mapping
from typing import Any

from medtune.data.base.fault import Fault
from medtune.data.base.folder import folder_of, read_object
from medtune.errors import BaseDamagedError
from medtune.plugins.contracts import Bundle
from medtune.specs import RunSpec

__all__ = ["local_config", "model_config"]


def model_config(spec: RunSpec, bundles: list[Bundle]) -> Mapping[str, Any]:
    """Return the model's config.json from its folder, the local cache, or what a bundle states; never downloads."""
    local = local_config(spec)
    if local is not None or spec.model.path:
        return local or {}
    stated = [b.model_config for b in bundles if b.spec.model.name == spec.model.name]
    return stated[0] if stated else {}


def local_config(spec: RunSpec) -> Mapping[str, Any] | None:
    """Return the model's config.json from its folder or the local cache, None where it is in neither."""
    folder = folder_of(spec.model)
    file = None if folder is None else folder / "config.json"
    if file is None or not file.is_file():
        return None
    try:
        return read_object(file)
    except Fault as fault:
        raise BaseDamagedError("config", str(folder), fault.problem, fault.instead) from fault
