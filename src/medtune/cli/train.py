"""``medtune train``: the main job."""

from typing import TYPE_CHECKING, Annotated

import typer

from medtune.cli.durations import minutes_of
from medtune.cli.options import AsJson, BundleName, Out, Plugins, Sets, SpecFile, Traceback, tuner_of

if TYPE_CHECKING:
    from medtune.plugins.plan import Plan
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
    resume: Annotated[
        str, typer.Option(metavar="auto|never|PATH", help="PATH is a checkpoint folder of this run.")
    ] = "auto",
    max_time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Save and stop after it, as 90m, 3h30m or 01:30:00; exits with 75."),
    ] = None,
    save_every_minutes: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Write a checkpoint that often, besides train.save_strategy."),
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Score the base, train the adapter, score it again."""
    overrides = list(sets or ())
    if max_time is not None:
        overrides.append(f"train.max_minutes={minutes_of(max_time, '--max-time')!r}")
    if save_every_minutes is not None:
        overrides.append(f"train.save_every_minutes={save_every_minutes!r}")
    train_and_print(tuner_of(spec, bundle, overrides, out, plugins), resume, as_json=as_json)


def train_and_print(tuner: "MedTuner", resume: str, *, as_json: bool) -> None:
    """Train with progress on stderr and print the result; of several processes the first one does, and the others are quiet."""
    from medtune.cli.console import print_json, print_plan, print_scores
    from medtune.machine.hardware import is_first_rank
    from medtune.workflow.narration import Narrator

    plans: list[Plan] = []
    tells = is_first_rank()

    def tell(plan: "Plan") -> None:
        plans.append(plan)
        if tells and not as_json:
            print_plan(plan.to_json())

    with Narrator() as narrator:
        run = tuner.train(
            resume,
            on_step=narrator.step,
            on_stage=narrator.stage if tells else lambda _: None,
            on_plan=tell,
            on_download=narrator.download,
        )
    if not tells:
        return
    if as_json:
        print_json({**run.metrics, "licences": list(plans[-1].licences)})
    else:
        print_scores(run.metrics)
