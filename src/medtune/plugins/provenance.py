"""What a run was made by: the plugins in use, their distributions and code, and what their backends say of themselves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.errors import PluginError
from medtune.plugins.code import code_hash

if TYPE_CHECKING:
    from medtune.plugins.host import PluginHost

__all__ = ["missing_of", "plugins_in_use"]


def plugins_in_use(host: "PluginHost", backends: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """Return the plugins that provide ``backends`` (kind -> name), and every other one that is not medtune's own.

    These may observe or score. Each is ``name``, ``distribution`` and ``version`` (both empty for an object that was handed
    over in Python), ``file`` (its name, for a module that was handed over), ``sha256`` of its code (None where it is not known), ``provides`` (kind -> names, of medtune's own plugins
    those in use) and ``describes`` (kind -> what the backend in use says of itself).

    Raises:
        PluginError: a backend describes itself by anything but a mapping of JSON values.
    """
    found: dict[str, dict[str, Any]] = {}
    things: dict[str, list[object]] = {}
    for label, plugin in sorted(host.manager.list_name_plugin()):
        origin = host.origin(label)
        facts: dict[str, Any] = {"name": label, "distribution": origin.distribution, "version": origin.version}
        if not origin.distribution and (file := getattr(plugin, "__file__", None)):
            facts["file"] = Path(file).name
        found[label] = {**facts, "sha256": None, "provides": {}, "describes": {}}
        things[label] = [plugin]
    for kind, name, thing, owner in host.everything():
        is_used = backends.get(kind) == name
        if is_used:
            found[owner]["describes"][kind] = _described(kind, name, thing)
        if is_used or not host.origin(owner).is_own:
            found[owner]["provides"].setdefault(kind, []).append(name)
            things[owner].append(thing)
    used = {label: facts for label, facts in found.items() if facts["provides"] or not host.origin(label).is_own}
    for label, facts in used.items():
        facts["sha256"] = code_hash(things[label], is_own=host.origin(label).is_own)
    return tuple(used.values())


def missing_of(host: "PluginHost", recorded: Any) -> Mapping[str, str]:
    """Return plugin -> how it is given again, for those of a record's ``plugins_in_use`` that a host does not have."""
    there = {label for label, plugin in host.manager.list_name_plugin() if plugin}
    known: list[Mapping[str, Any]] = [each for each in recorded if isinstance(each, Mapping)]
    return dict(_given_again(each) for each in known if each.get("provides") and each.get("name") not in there)


def _given_again(facts: Mapping[str, Any]) -> tuple[str, str]:
    brought, file = facts.get("distribution"), facts.get("file")
    if brought:
        how = f"'{brought}' brought it, version {facts.get('version')}: install that"
    elif file:
        how = f"it was given from the file '{file}': give it again, by --plugin {file}"
    else:
        how = "it was given in Python: give it again, as plugins=[...]"
    return str(facts.get("name")), f"the run was made with it, and {how}"


def _described(kind: str, name: str, thing: Any) -> dict[str, Any]:
    """Return what a backend says of itself; empty where it says nothing."""
    describe = getattr(thing, "describe", None)
    said = {} if describe is None else describe()
    try:
        json.dumps(said, allow_nan=False)
    except (TypeError, ValueError):
        said = None
    if not isinstance(said, Mapping):
        raise PluginError(f"{kind} '{name}' must describe itself by a mapping of JSON values")
    return dict(said)
