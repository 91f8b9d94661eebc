"""The loss of the validation rows: whether a run can have it, what its trainer measures, and how that is told."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medtune.data.held_out import HeldOut, held_out_rows
from medtune.data.prepare import encoder_of
from medtune.errors import SpecError
from medtune.plugins.contracts import Example, Loaded
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec
from medtune.workflow.together import losses_asked

__all__ = ["Losses", "in_log", "in_record", "measure", "require_losses", "rows_of", "told"]

Losses = Mapping[str, tuple[float, int]]
"""Source -> summed loss in nats, and supervised tokens."""


def require_losses(spec: RunSpec, host: PluginHost) -> Any:
    """Return the trainer of a run, which measures losses.

    Raises:
        SpecError: it measures none.
    """
    trainer = host.find("trainer", spec.train.backend)
    if not hasattr(trainer, "held_out_losses"):
        raise SpecError(
            f"eval.loss: trainer '{spec.train.backend}' measures no loss of other rows (it has no held_out_losses); set "
            "eval.loss=false, or use train.backend=trl"
        )
    return trainer


def rows_of(spec: RunSpec, tokenizer: Any, examples: Sequence[Example]) -> HeldOut:
    """Return validation rows as the trainer of a run takes them.

    Raises:
        DataError: none fits into a row.
    """
    return held_out_rows(spec, encoder_of(spec, tokenizer), examples)


def measure(loaded: Loaded, examples: Sequence[Example], spec: RunSpec, host: PluginHost) -> dict[str, Any]:
    """Return the loss of a model as it stands on validation rows, as ``told`` does.

    Raises:
        SpecError: the trainer measures none.
        DataError: no row fits.
        UnprovenBaseError: no way of computing the loss is right.
    """
    trainer = require_losses(spec, host)
    held = rows_of(spec, loaded.tokenizer, examples)
    return told(losses_asked(trainer, loaded, held.rows, spec), held)


def told(losses: Losses, held: HeldOut) -> dict[str, Any]:
    """Return losses as JSON values.

    Returns:
        ``loss`` (mean per supervised token in nats, None where it is not finite), ``tokens``, ``rows``, ``left_out`` (rows
        that are too long), and ``sources``: source -> ``loss`` and ``tokens``.
    """
    total, tokens = sum(loss for loss, _tokens in losses.values()), sum(tokens for _loss, tokens in losses.values())
    return {
        "loss": _mean(total, tokens),
        "tokens": tokens,
        "rows": held.used,
        "left_out": held.left_out,
        "sources": {source: {"loss": _mean(*of), "tokens": of[1]} for source, of in losses.items()},
    }


def in_log(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line of the log holds of what was told: nothing where nothing was."""
    if not found:
        return {}
    by_source = {source: of["loss"] for source, of in found["sources"].items()}
    return {"held_out_loss": found["loss"], "held_out_loss_by_source": by_source}


def in_record(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``run.json`` keeps of the two: nothing where neither was measured."""
    found = {name: of["loss"] for name, of in (("base", base), ("tuned", tuned)) if of}
    return {"held_out_loss": found} if found else {}


def _mean(loss: float, tokens: int) -> float | None:
    return loss / tokens if tokens and math.isfinite(loss) else None
