"""Lets lm-evaluation-harness ask the tuned model, and the base beside it."""

from collections.abc import Sequence
from functools import partial

from medtune.plugins.contracts import Loaded

__all__ = ["ask_harness"]


def ask_harness(
    loaded: Loaded, tasks: Sequence[str], *, baseline: bool, limit: int | None, chat: bool, folder: str | None
) -> dict[str, dict[str, dict[str, float]]]:
    """Return ``tuned``, with ``baseline`` also ``base``: figures by task, as ``medtune.evaluation.harness.run_harness`` gives them."""
    from medtune.evaluation.harness import run_harness

    run = partial(run_harness, loaded, tasks, limit=limit, chat=chat, folder=folder)
    found = {"tuned": run()}
    if baseline:
        with loaded.base_only():
            found["base"] = run()
    return found
