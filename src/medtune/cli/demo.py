"""``medtune demo``: the whole story on the built-in tiny model, on a CPU, offline."""

import typer

from medtune.cli.options import AsJson, Out, Sets, Traceback, tuner_of

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(sets: Sets = None, out: Out = None, as_json: AsJson = False, traceback: Traceback = False) -> None:
    """Plan, score, train and score again on the built-in tiny model and sample data; needs no GPU and no network."""
    from medtune.cli.train import train_and_print

    given = sets or []
    if not any(
        each.startswith(("data.", "eval.show_texts")) for each in given
    ):  # rows that medtune made are nobody's texts
        given = ["eval.show_texts=true", *given]
    train_and_print(tuner_of(None, "demo", given, out), "auto", as_json=as_json)
