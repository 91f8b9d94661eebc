"""The hooks that a plugin may implement, with their exact signatures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from medtune.plugins.contracts import (
        Adapter,
        Bundle,
        EncoderTrainer,
        Exporter,
        FinishedRun,
        Generator,
        PromptFormatter,
        Quantizer,
        Reader,
        Task,
        Trainer,
    )
    from medtune.plugins.plan import Plan
    from medtune.specs import RunSpec

PROJECT = "medtune"

HOOK_VERSION = 2
"""Version of the contract with plugins: raised when hooks or protocols gain something that a plugin may rely on.

What an earlier version had stays. A plugin that relies on a version says so by ``medtune_hook_version = 2``.
"""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def provide_quantizers() -> "Sequence[Quantizer]":  # type: ignore[empty-body]
    """Return backends that load a frozen base model; chosen by ``quant.backend``."""


@hookspec
def provide_adapters() -> "Sequence[Adapter]":  # type: ignore[empty-body]
    """Return backends that attach trainable parameters; chosen by ``lora.backend``."""


@hookspec
def provide_trainers() -> "Sequence[Trainer]":  # type: ignore[empty-body]
    """Return backends that fit the adapter; chosen by ``train.backend``."""


@hookspec
def provide_generators() -> "Sequence[Generator]":  # type: ignore[empty-body]
    """Return backends that generate answers; chosen by ``eval.backend``."""


@hookspec
def provide_formatters() -> "Sequence[PromptFormatter]":  # type: ignore[empty-body]
    """Return formatters that turn a row into an example; chosen by ``data.formatter``."""


@hookspec
def provide_tasks() -> "Sequence[Task]":  # type: ignore[empty-body]
    """Return tasks that parse and score answers."""


@hookspec
def provide_bundles() -> "Sequence[Bundle]":  # type: ignore[empty-body]
    """Return named run specs with their licence notices."""


@hookspec
def provide_exporters() -> "Sequence[Exporter]":  # type: ignore[empty-body]
    """Return exporters of a finished run."""


@hookspec
def provide_encoders() -> "Sequence[EncoderTrainer]":  # type: ignore[empty-body]
    """Return backends that fine-tune an encoder on a run's rows; `medtune baseline --encoder` takes one by its name."""


@hookspec
def provide_readers() -> "Sequence[Reader]":  # type: ignore[empty-body]
    """Return readers of kinds of files that medtune does not read itself; chosen by the files' suffix."""


@hookspec
def run_started(spec: "RunSpec", plan: "Plan", run_id: str) -> None:
    """Observe that a run begins, or goes on; ``run_id`` stays the same then."""


@hookspec
def step_logged(record: Mapping[str, Any], run_id: str) -> None:
    """Observe a line of ``log.jsonl``: step, loss, learning_rate, tokens, tokens_per_second and more."""


@hookspec
def run_finished(run: "FinishedRun", run_id: str) -> None:
    """Observe that a run finished."""


@hookspec
def run_failed(spec: "RunSpec", error: BaseException, run_id: str) -> None:
    """Observe that a run failed or was interrupted; follows every ``run_started`` that no ``run_finished`` follows."""
