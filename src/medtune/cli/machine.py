"""``medtune doctor`` and ``schema``: what this machine can run, and what a spec may hold."""

from typing import Any

import typer

from medtune.cli.options import AsJson, Traceback
from medtune.errors.locked_mode import LOCKED_MEANS
from medtune.workflow.terminal import say

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (doctor, schema):
        app.command()(command)


def doctor(as_json: AsJson = False, traceback: Traceback = False) -> None:
    """Say what this machine can run, which versions are installed, and what to install."""
    from medtune.cli.console import print_json
    from medtune.machine.diagnosis import diagnose

    found = diagnose()
    if as_json:
        print_json(found)
    else:
        _print_diagnosis(found)


def schema(as_json: AsJson = False, traceback: Traceback = False) -> None:
    """Print the JSON schema of a run spec, with a description of every field, and of the options that backends take."""
    from pydantic import BaseModel

    from medtune.cli.console import print_json
    from medtune.plugins.host import create_host
    from medtune.specs import RunSpec

    options: dict[str, dict[str, Any]] = {}
    for kind, name, thing, _owner in create_host().everything():
        model = getattr(thing, "options", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            options.setdefault(kind, {})[name] = model.model_json_schema()
    print_json({**RunSpec.model_json_schema(), "x-backend-options": options})


def _print_diagnosis(found: dict[str, Any]) -> None:
    say(f"CPU        {found['cpu_cores']} cores, {found['memory_gib']:.1f} GiB memory")
    say(f"locked     {LOCKED_MEANS if found['locked'] else 'no; MEDTUNE_LOCKED=1 or --locked refuses the network'}")
    for device in found["accelerators"]:
        say(f"GPU        {device['name']}, {device['memory_gib']:.1f} GiB, capability {device['capability']}")
    if not found["accelerators"]:
        say("GPU        none that CUDA can see")
    for name, state in found["packages"].items():
        say(f"{name:<16} {state['version'] or 'missing':<12} {state['problem']}".rstrip())
    for sentence in found["advice"]:
        say(sentence)
