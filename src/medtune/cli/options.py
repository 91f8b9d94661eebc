"""The options that several commands share, and the tuner that they describe."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medtune.tuner import MedTuner

__all__ = [
    "AsJson",
    "BundleName",
    "Out",
    "Plugins",
    "Sets",
    "SpecFile",
    "Traceback",
    "plugin_files",
    "plugin_files_for",
    "tuner_of",
]

SpecFile = Annotated[
    Path | None,
    typer.Argument(metavar="[SPEC]", readable=False, help="TOML, YAML or JSON; none is the default bundle."),
]
BundleName = Annotated[str | None, typer.Option("--bundle", help="Start from this registered bundle.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field, as lora.r=32.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Run folder.")]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Also use the plugin in this file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")]


def plugin_files(paths: list[Path] | None, allowed: Sequence[str] | None = None) -> list[object]:
    """Import the plugins that ``--plugin`` names, as far as the spec's list of plugins lets them."""
    from medtune.plugins.single_file import load_plugin_file

    return [load_plugin_file(path, allowed) for path in paths or ()]


def plugin_files_for(run: Path, paths: list[Path] | None) -> list[object]:
    """Import the plugins that ``--plugin`` names beside a run, as far as its spec lets them; a run that says so locks first."""
    from medtune.workflow.locked import lock_as

    return plugin_files(paths, lock_as(run)) if paths else []


def tuner_of(
    spec: Path | None,
    bundle: str | None,
    sets: list[str] | None,
    out: Path | None,
    plugins: list[Path] | None = None,
) -> "MedTuner":
    """Build the tuner that a command line describes."""
    from medtune.errors import SpecError
    from medtune.plugins.host import create_host
    from medtune.specfile import apply_overrides, read_spec_file, stated_lock, stated_plugins, validate_spec
    from medtune.tuner import DEFAULT_BUNDLE, MedTuner
    from medtune.workflow.locked import lock_where

    overrides = [*(sets or ())]
    written = {} if spec is None else read_spec_file(spec)
    lock_where(stated_lock(written, overrides, spec))  # before a plugin is imported
    allowed = stated_plugins(written, overrides, spec)
    given = plugin_files(plugins, allowed)
    if spec is not None:
        if bundle is not None:
            raise SpecError(f"give a SPEC or --bundle, not both; a spec starts from a bundle with bundle = '{bundle}'")
        tuner = MedTuner.from_file(spec, overrides, plugins=given)
        values: dict[str, Any] = tuner.spec.model_dump(mode="json", exclude_unset=True)
        host = tuner.host
    else:
        host = create_host(given, allowed=allowed)
        below = host.find("bundle", bundle or DEFAULT_BUNDLE).spec.model_dump(mode="json", exclude_unset=True)
        values = apply_overrides(below, overrides)
    if out is not None:
        values["output_dir"] = str(out)
    return MedTuner(validate_spec(values), plugins=host)
