"""The bundles that medtune brings along, read from the TOML files beside this one."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from medtune.plugins.contracts import Bundle
from medtune.plugins.hookspecs import hookimpl
from medtune.specs import RunSpec

__all__ = ["provide_bundles", "read_bundle"]

_PACKAGE_SCHEME = "package:"
"""Marks a path inside an installed package: ``package:medtune.demo/base``."""


@hookimpl
def provide_bundles() -> Sequence[Bundle]:
    """Provide every TOML file of this folder."""
    texts = sorted((f.name, f.read_text("utf-8")) for f in files(__name__).iterdir() if f.name.endswith(".toml"))
    return [read_bundle(text) for _name, text in texts]


def read_bundle(text: str) -> Bundle:
    """Read a bundle from TOML: a ``[bundle]`` table about it, the other tables are its run spec."""
    tables = tomllib.loads(text)
    about = tables.pop("bundle")
    return Bundle(
        name=about["name"],
        spec=RunSpec.model_validate(_resolve_packages(tables)),
        summary=about.get("summary", ""),
        licences=about.get("licences", {}),
        model_config=about.get("model_config", {}),
        train_tokens=about.get("train_tokens"),
        sources=about.get("sources"),
    )


def _resolve_packages(value: Any) -> Any:
    """Replace ``package:NAME/PATH`` by the path of that file in the installed package."""
    if isinstance(value, dict):
        return {key: _resolve_packages(v) for key, v in value.items()}
    if isinstance(value, str) and value.startswith(_PACKAGE_SCHEME):
        package, _, path = value.removeprefix(_PACKAGE_SCHEME).partition("/")
        return str(files(package).joinpath(path))
    return value
