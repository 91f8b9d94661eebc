"""``medtune export``: a run's tuned model for another engine, proved before it is there."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from medtune.cli.options import AsJson, Plugins, Traceback, plugin_files_for
from medtune.errors import SpecError
from medtune.workflow.terminal import VisibleFormatter, say

__all__ = ["add_to"]

_OWN = ("to", "out", "score", "prove", "rows")
"""Names by which ``Run.export`` takes something else."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", readable=False, help="Run folder.")],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="merged, or another registered exporter.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the artifact.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the exporter, as dtype=bf16.")
    ] = None,
    score: Annotated[bool, typer.Option("--score", help="Score the artifact beside the adapter.")] = False,
    proof: Annotated[
        bool, typer.Option("--proof/--no-proof", help="Load the artifact again and compare; without, it is marked so.")
    ] = True,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Write a run's tuned model in another form; exit code 4 when what was written is not the tuned model."""
    from medtune.cli.console import print_json
    from medtune.workflow.run import Run

    opened, options = Run.open(run, plugins=plugin_files_for(run, plugins)), _options(sets)
    with _told_stages():
        exported = opened.export(to, out, score=score, prove=proof, **options)
    if as_json:
        shown = {"export": str(exported.path), "to": to, "state": exported.state}
        print_json({**shown, "facts": exported.facts, "usage": exported.usage})
        return
    say(f"{exported.path}\n{exported.state}: {_sentence(exported.facts['proof'])}")
    if uploaded := exported.facts.get("uploaded"):
        seen = "private" if uploaded["private"] else "public"
        say(
            f"{uploaded['url']} ({seen}), commit {uploaded['commit']}: {len(uploaded['files'])} files read back are equal"
        )
    for line in exported.usage:
        say(line)


def _options(sets: list[str] | None) -> dict[str, Any]:
    found = dict[str, Any]()
    for given in sets or ():
        key, is_pair, value = given.partition("=")
        if not is_pair or not key:
            raise SpecError(f"--set '{given}' is not KEY=VALUE")
        if key.strip() in _OWN:
            raise SpecError(f"--set {key.strip()} is no option of an exporter; see `medtune export --help`")
        found[key.strip().replace("-", "_")] = value.strip()
    return found


def _sentence(proof: dict[str, Any]) -> str:
    if not proof:
        return "nothing loaded it again after it was written"
    told = (
        f"{proof['equal']} of {proof['prompts']} greedy answers are equal, {proof['near_ties']} more differ at near ties, by "
        f"{proof['reader']}; logits differ by at most {proof['relative_error']:.2g} of the largest"
    )
    return told if proof["validation_prompts"] else f"{told}; {proof['note']}"


@contextmanager
def _told_stages() -> Iterator[None]:
    """Say on stderr what is being done in the block."""
    log, handler = logging.getLogger("medtune.workflow.exporting"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("medtune %(message)s"))
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
