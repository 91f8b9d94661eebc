"""Ways to compute the loss of packed rows: the fast path where it applies, else the model's own layers."""

from collections.abc import Callable
from typing import Any

import torch

from medtune.accel.model.eligibility import HEAD_CHANGES, spec_refusal
from medtune.accel.train import FastPath, PackedBatch, Refusal, enable
from medtune.plugins.contracts import Job

__all__ = ["choose_route", "describe", "loss_of", "supervised_loss"]

_IGNORED = -100
Loss = Callable[..., dict[str, Any]]


def choose_route(job: Job) -> FastPath | Refusal:
    """Switch the fast path on for a job's model, or say why it stays off."""
    train, loaded = job.spec.train, job.loaded
    reason = spec_refusal(job.spec, loaded.scheme, loaded.compute_dtype)
    if reason is not None:
        return Refusal(reason)
    return enable(
        loaded.model,
        recompute="none" if train.recompute == "auto" else train.recompute,
        keep_dequantized=train.dequantized_weights == "keep",
        share=train.share_prefixes,
        most_tokens=train.per_device_batch_size * train.max_length,
    )


def describe(route: FastPath | Refusal) -> str:
    """Return the line about the fast path that a run's log and record hold."""
    if isinstance(route, Refusal):
        return str(route)
    return f"the fast path is on ({route.steps} form{', common prefixes once' if route.shares else ''})"


def loss_of(base: Any, route: FastPath | Refusal) -> Loss:
    """Return the ``forward`` that ``base`` has while it is trained; it takes and returns what ``supervised_loss`` does."""
    if isinstance(route, FastPath):
        return _by(route)
    return _own_loss if _head_is_changed(base.config) else supervised_loss


def _by(path: FastPath) -> Loss:
    def fast_loss(
        _base: Any, input_ids: Any, position_ids: Any, labels: Any, packed: PackedBatch | None = None, **_kwargs: Any
    ) -> dict[str, Any]:
        # a part of a micro-batch that had to be halved comes without its layout
        loss = path.loss_of(packed) if packed else path.loss_sum(input_ids, position_ids, labels)
        return {"loss_sum": loss, "token_losses": path.token_losses}

    return fast_loss


def supervised_loss(base: Any, input_ids: Any, position_ids: Any, labels: Any, **_kwargs: Any) -> dict[str, Any]:
    """Forward of a causal model that runs its head on supervised tokens only.

    Args:
        base: the model whose ``forward`` this replaces while training.
        input_ids: [rows, length] ids.
        position_ids: [rows, length], restarting at 0 with each sample; this is what isolates samples.
        labels: [rows, length], -100 where a token carries no loss.

    Returns:
        ``loss_sum``: summed cross entropy in nats, fp32; ``token_losses``: of each supervised token, fp32 [supervised],
        without a graph.
    """
    backbone = getattr(base, base.base_model_prefix)
    hidden = backbone(input_ids=input_ids, position_ids=position_ids, use_cache=False).last_hidden_state
    targets = labels[:, 1:]
    supervised = targets != _IGNORED
    logits = base.get_output_embeddings()(hidden[:, :-1][supervised])
    return _summed(logits.float(), targets[supervised])


def _own_loss(base: Any, input_ids: Any, position_ids: Any, labels: Any, **_kwargs: Any) -> dict[str, Any]:
    """As ``supervised_loss``, with all logits from the model's own forward."""
    logits = type(base).forward(base, input_ids=input_ids, position_ids=position_ids, use_cache=False).logits
    targets = labels[:, 1:]
    supervised = targets != _IGNORED
    return _summed(logits[:, :-1][supervised].float(), targets[supervised])


def _summed(logits: Any, targets: Any) -> dict[str, Any]:
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return {"loss_sum": losses.sum(), "token_losses": losses.detach()}


def _head_is_changed(config: Any) -> bool:
    """Whether logits are changed after the head, so that the loss takes the model's own forward."""
    return any(getattr(config, name, None) not in (None, 1.0) for name in HEAD_CHANGES)
