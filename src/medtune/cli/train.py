"""``medtune train``: the main job."""

from typing import TYPE_CHECKING, Annotated

import typer

from medtune.cli.options import AsJson, BundleName, Out, Sets, SpecFile, Traceback, tuner_of

if TYPE_CHECKING:
    from medtune.tuner import MedTuner

__all__ = ["add_to", "train_and_print"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    spec: SpecFile = None,
    bundle: BundleName = None,
    sets: Sets = None,
    out: Out = None,
    resume: Annotated[str, typer.Option(help="auto, never, or a checkpoint folder.")] = "auto",
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Score the base, train the adapter, score it again."""
    train_and_print(tuner_of(spec, bundle, sets, out), resume, as_json=as_json)


def train_and_print(tuner: "MedTuner", resume: str, *, as_json: bool) -> None:
    """Train with progress on stderr and print the result."""
    from medtune.cli.console import Narrator, print_json, print_plan, print_scores

    plan = tuner.plan()
    if not as_json:
        print_plan(plan.to_json())
    plan.require_fit()
    with Narrator() as narrator:
        run = tuner.train(resume, on_step=narrator.step, on_stage=narrator.stage)
    if as_json:
        print_json(run.metrics)
    else:
        print_scores(run.metrics)
