"""Ways to compute the loss of packed rows: by the fast path, by the model's own layers, or each sample alone."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch

from medtune.accel.model.agreement import own_forward
from medtune.accel.model.eligibility import spec_refusal
from medtune.accel.train import FastPath, PackedBatch, Refusal, enable
from medtune.accel.train.logit_rows import rows_at_once
from medtune.plugins.contracts import Job

__all__ = ["Loss", "choose_route", "describe", "fast_loss", "loss_alone", "own_loss", "supervised_loss"]

_IGNORED = -100
_LIKE = 0.75
"""Share of the longest sample's length from which a shorter one is computed beside it."""
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
    told = [
        f"{route.steps} form",
        *["common prefixes once"] * route.shares,
        *["loss scaling"] * (route.scale is not None),
    ]
    return f"the fast path is on ({', '.join(told)})"


def fast_loss(path: FastPath) -> Loss:
    """Return what computes the loss by the fast path; it takes and returns what ``supervised_loss`` does."""

    def loss(
        _base: Any, input_ids: Any, position_ids: Any, labels: Any, packed: PackedBatch | None = None, **_kwargs: Any
    ) -> dict[str, Any]:
        # a part of a micro-batch that had to be halved comes without its layout
        found = path.loss_of(packed) if packed else path.loss_sum(input_ids, position_ids, labels)
        return {"loss_sum": found, "token_losses": path.token_losses}

    return loss


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
    head, kept = base.get_output_embeddings(), hidden[:, :-1][supervised]
    if torch.is_grad_enabled():
        return _summed(head(kept).float(), targets[supervised])
    # nothing is kept for a backward pass, so logits exist in parts: a base that the fast path trains has no room for all
    parts = zip(*(of.split(rows_at_once(len(head.weight))) for of in (kept, targets[supervised])), strict=True)
    losses = torch.cat([_summed(head(part).float(), wanted)["token_losses"] for part, wanted in parts])
    return {"loss_sum": losses.sum(), "token_losses": losses}


def own_loss(base: Any, input_ids: Any, position_ids: Any, labels: Any, **_kwargs: Any) -> dict[str, Any]:
    """As ``supervised_loss``, with all logits from the model's own forward."""
    logits = own_forward(base, input_ids=input_ids, position_ids=position_ids).logits
    targets = labels[:, 1:]
    supervised = targets != _IGNORED
    return _summed(logits[:, :-1][supervised].float(), targets[supervised])


def loss_alone(base: Any, input_ids: Any, position_ids: Any, labels: Any, **_kwargs: Any) -> dict[str, Any]:
    """As ``own_loss``, every sample of a row in a sequence of its own: for models that packing would mix up.

    Samples of like lengths are computed together, the shorter ones padded at their ends.
    """
    logits: list[Any] = []
    targets: list[Any] = []
    places: list[Any] = []
    pad = int(getattr(base.config, "pad_token_id", None) or 0)
    for group in _of_like_length(_spans(position_ids, labels)):
        length = max(end - start for _row, start, end in group)
        ids = input_ids.new_full((len(group), length), pad)
        seen, marked = torch.zeros_like(ids), labels.new_full(ids.shape, _IGNORED)
        place = torch.zeros_like(ids)
        for line, (row, start, end) in enumerate(group):
            ids[line, : end - start] = input_ids[row, start:end]
            marked[line, : end - start] = labels[row, start:end]
            seen[line, : end - start] = 1
            place[line, : end - start] = row * labels.shape[1] + torch.arange(start, end, device=ids.device)
        mask = {} if bool(seen.all()) else {"attention_mask": seen}
        found = own_forward(base, input_ids=ids, **mask).logits
        supervised = marked[:, 1:] != _IGNORED
        logits.append(found[:, :-1][supervised].float())
        targets.append(marked[:, 1:][supervised])
        places.append(place[:, 1:][supervised])
    order = torch.cat(places).argsort()
    return _summed(torch.cat(logits)[order], torch.cat(targets)[order])


def _spans(position_ids: Any, labels: Any) -> list[tuple[int, int, int]]:
    """Return row, begin and end of every sample with loss, at least one; read on the host."""
    begins = position_ids.cpu() == 0
    begins[:, 0] = True
    marked = labels.cpu() != _IGNORED
    spans: list[tuple[int, int, int]] = []
    for row, starts in enumerate(begins):
        edges = [*starts.nonzero().flatten().tolist(), begins.shape[1]]
        spans += [(row, start, end) for start, end in pairwise(edges) if marked[row, start:end].any()]
    return spans or [(0, 0, begins.shape[1])]


def _of_like_length(spans: Sequence[tuple[int, int, int]]) -> list[list[tuple[int, int, int]]]:
    """Return the samples in groups of which padding takes a quarter at most, longest first."""
    groups: list[list[tuple[int, int, int]]] = []
    longest = 0
    for span in sorted(spans, key=lambda span: span[1] - span[2]):
        length = span[2] - span[1]
        if not groups or length < _LIKE * longest:
            groups.append([])
            longest = length
        groups[-1].append(span)
    return groups


def _summed(logits: Any, targets: Any) -> dict[str, Any]:
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return {"loss_sum": losses.sum(), "token_losses": losses.detach()}
