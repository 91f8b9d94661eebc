"""Runs tasks of lm-evaluation-harness (the extra ``lm-eval``) on a model that is loaded already, with its adapter."""
# pyright: reportMissingImports=false

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from medtune.errors import HubUnreachableError, RemoteNameError, SpecError
from medtune.errors.locked_mode import is_locked
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Loaded

__all__ = ["MEDICAL_TASKS", "run_harness"]

MEDICAL_TASKS = ("medqa_4options", "medmcqa", "pubmedqa")
"""Names that lm-evaluation-harness gives its medical question sets."""


def run_harness(
    loaded: Loaded, tasks: Sequence[str], *, limit: int | None = None, chat: bool = False, folder: str | None = None
) -> dict[str, dict[str, float]]:
    """Answer the tasks with the adapter as it is and return their figures.

    The harness reads its data sets from the hub, or from the hub's cache where ``HF_HUB_OFFLINE`` is set. No question and
    no answer is kept.

    Args:
        loaded: model, with or without an adapter, and tokenizer.
        tasks: names that the harness knows.
        limit: questions per task, None for all.
        chat: whether questions are put through the model's chat template; the harness' published figures are without.
        folder: further task files (YAML) of the user's own.

    Returns:
        Task -> figure -> value; ``NAME_stderr`` is its standard error and ``rows`` the number of questions.

    Raises:
        SpecError: the harness is not installed, or does not know a task.
        HubUnreachableError: the data of a task are not here and the hub cannot be reached.
    """
    if is_locked() and folder is None:
        raise RemoteNameError(
            "tasks of the harness read data sets of the hub", "give --task-folder tasks on files here"
        )
    with quiet_libraries(), _quiet_harness():
        _require_harness()
        found = _asked(loaded, tasks, folder, {"limit": limit, "apply_chat_template": chat})
    return {task: _figures(found, task) for task in found["results"]}


def _require_harness() -> None:
    try:
        for module in ("evaluator", "models.huggingface", "tasks"):  # with what they need in turn
            import_module(f"lm_eval.{module}")
    except ModuleNotFoundError as error:
        raise SpecError(
            f"tasks of lm-evaluation-harness need it, and '{error.name}' is not installed: pip install 'medtune[lm-eval]'"
        ) from None


def _asked(loaded: Loaded, tasks: Sequence[str], folder: str | None, options: Mapping[str, Any]) -> Any:
    """Return what the harness finds."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=folder)
    _require_known(tasks, manager.all_tasks)
    model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=8)
    fixed = {"task_manager": manager, "log_samples": False, "bootstrap_iters": 0}
    try:
        return simple_evaluate(model, tasks=list(tasks), **fixed, **options)
    except ConnectionError:
        raise HubUnreachableError(
            "the data of", ", ".join(tasks), "a filled hub cache (HF_HOME) and HF_HUB_OFFLINE=1"
        ) from None


def _require_known(tasks: Sequence[str], known: Sequence[str]) -> None:
    for task in tasks:
        if task not in known:
            near = get_close_matches(task, sorted({*MEDICAL_TASKS, *known}))
            raise SpecError(f"lm-evaluation-harness has no task '{task}'; near it are {', '.join(near) or 'none'}")


@contextmanager
def _quiet_harness() -> Iterator[None]:
    """Silence what the harness warns of whenever it is handed a loaded model; its errors still show."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _figures(found: Any, task: str) -> dict[str, float]:
    """Return the numbers of a task; the harness writes names as ``acc,none`` and ``acc_stderr,none``."""
    values = {name.partition(",")[0]: value for name, value in found["results"][task].items()}
    rows = values.pop("sample_len", 0)
    numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
    return {**numbers, "rows": float(found.get("n-samples", {}).get(task, {}).get("effective", rows))}
