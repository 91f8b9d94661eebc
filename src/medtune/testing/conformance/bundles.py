"""Checks on bundles."""

# pyright: reportUnnecessaryIsInstance=false
# What foreign code gives may be anything, whatever its types say.

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.planning.required import require_backends
from medtune.plugins.contracts import Bundle
from medtune.plugins.host import create_host
from medtune.specs import RunSpec
from medtune.testing.conformance.checks import Case, NotTriedError, check

__all__: list[str] = []


@check("bundle-spec", "bundle", "spec is a RunSpec; summary a sentence; the counts are whole numbers or None.")
def has_spec(case: Case) -> str | None:
    """Look at its fields."""
    if not isinstance(case.thing, Bundle):
        raise NotTriedError("it is no medtune.Bundle")
    if not isinstance(case.thing.spec, RunSpec):
        return f"spec is a {type(case.thing.spec).__name__}"
    for name in ("train_tokens", "sources"):
        value = getattr(case.thing, name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            return f"{name} is {value!r:.20}"
    return None if isinstance(case.thing.summary, str) else "summary is no text"


@check("bundle-json", "bundle", "spec is the same after it was written as JSON and read again, all and set fields.")
def survives_json(case: Case) -> str | None:
    """Write and read."""
    spec = _spec(case)
    for unset in (True, False):
        if RunSpec.model_validate_json(spec.model_dump_json(exclude_unset=unset)) != spec:
            return "spec is another one after JSON"
    return None


@check("bundle-file", "bundle", "spec is the same after it was written as a file of TOML and read again.")
def survives_file(case: Case) -> str | None:
    """Write a file as a user would, and start from it."""
    from medtune.tuner import MedTuner

    file = case.bench.fresh("bundle") / "run.toml"
    file.write_text(_toml(_spec(case).model_dump(mode="json", exclude_unset=True)), "utf-8")
    plugins = [] if case.subject.is_own else [case.subject.plugin]
    found = MedTuner.from_file(file, plugins=create_host(plugins, autoload=False)).spec
    return None if found == _spec(case) else "spec is another one after TOML"


@check("bundle-licences", "bundle", "licences say the terms of what it names, as texts that are not empty.")
def has_licences(case: Case) -> str | None:
    """Look at the terms."""
    licences: Any = case.thing.licences
    if not isinstance(licences, Mapping) or not licences:
        return "licences are empty; say the terms of the model and of the rows"
    wrong = [name for name, terms in licences.items() if not (isinstance(terms, str) and terms.strip())]
    return f"the terms of '{wrong[0]}' are empty" if wrong else None


@check(
    "bundle-backends", "bundle", "Every backend and the formatter that spec names are medtune's own or this plugin's."
)
def has_backends(case: Case) -> str | None:
    """Look up what it names."""
    plugins = [] if case.subject.is_own else [case.subject.plugin]
    require_backends(_spec(case), create_host(plugins, autoload=False))
    return None


@check("bundle-portable", "bundle", "spec holds no path of the author's machine: what it names comes with a package.")
def is_portable(case: Case) -> str | None:
    """Look for paths that are absolute and not there."""
    for place, value in _texts(_spec(case).model_dump(mode="json", exclude_unset=True)):
        path = Path(value)
        if path.is_absolute() and not (path.exists() and _is_packaged(path)):
            return f"{place} is a path outside any installed package"
    return None


def _spec(case: Case) -> RunSpec:
    if not isinstance(getattr(case.thing, "spec", None), RunSpec):
        raise NotTriedError("it has no RunSpec as spec")
    found: RunSpec = case.thing.spec
    return found


def _is_packaged(path: Path) -> bool:
    """Say whether a folder above the path is a package."""
    return any((above / "__init__.py").exists() for above in [path, *path.parents])


def _texts(values: Any, place: str = "") -> list[tuple[str, str]]:
    if isinstance(values, Mapping):
        return [pair for key, value in values.items() for pair in _texts(value, f"{place}.{key}".lstrip("."))]
    if isinstance(values, list):
        return [pair for value in values for pair in _texts(value, place)]
    return [(place, values)] if isinstance(values, str) else []


def _toml(values: Mapping[str, Any]) -> str:
    """Return a spec's JSON values as TOML: plain fields before tables, null left out."""
    import json

    def inline(value: Any) -> str:
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items() if v is not None) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return json.dumps(value)

    plain = [f"{key} = {inline(v)}" for key, v in values.items() if v is not None and not isinstance(v, Mapping)]
    tables = [(key, table) for key, table in values.items() if isinstance(table, Mapping)]
    lines = [*plain]
    for key, table in tables:
        lines += [f"[{key}]", *(f"{json.dumps(name)} = {inline(v)}" for name, v in table.items() if v is not None)]
    return "\n".join(lines) + "\n"
