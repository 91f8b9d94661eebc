"""Says the figures of a plan in words."""

from collections.abc import Mapping
from typing import Any

__all__ = ["cluster_in_words", "minutes_in_words", "proof_in_words", "size_in_words"]

_ROUND = 10
"""Minutes from which fractions are not told."""


def size_in_words(count: float) -> str:
    """Return bytes as people write them: in kB, MB or GB of 1,000."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def cluster_in_words(cluster: Mapping[str, Any]) -> list[str]:
    """Return sentences on how a plan is spread over several processes; none where there is one."""
    if not cluster:
        return []
    way = {"ddp": "each with the whole base (DDP)", "fsdp": "each with a share of the base (FSDP2)"}[
        cluster["parallel"]
    ]
    place = f"{cluster['processes']} processes, {cluster['gpus']} on each of {cluster['nodes']} machines"
    told = [f"{place}, {way}, since {cluster['reason']}; {cluster['rows_per_process']} rows of each update for each"]
    send, compute = cluster.get("communication_seconds_per_update"), cluster.get("compute_seconds_per_update")
    if send is not None and compute is not None:
        share = cluster["share_of_linear"]
        linear = "" if share is None else f", {share:.0%} of {cluster['processes']} times as fast as one"
        sent = size_in_words(cluster["bytes_per_update"])
        over = f" over {cluster['link']}" if cluster.get("link") else ""
        told.append(
            f"each sends {sent} an update; {compute:.3g} s of computing, {send:.2g} s of exchanging{over}{linear}"
        )
    return told


def minutes_in_words(minutes: Mapping[str, float | None], basis: Mapping[str, str]) -> list[str]:
    """Return a line for each stage up to the score: about how many minutes, or that they are not estimated, and why."""
    return [f"{name}: {_about(told)}{basis.get(name, 'not estimated')}" for name, told in minutes.items()]


def _about(minutes: float | None) -> str:
    return "" if minutes is None else f"about {minutes:,.{1 if minutes < _ROUND else 0}f}; "


def proof_in_words(proof: Mapping[str, Any]) -> list[str]:
    """Return sentences on what is proved of the loss before training, and on what came of it where it was proved."""
    if not proof:
        return []
    bounds, first = proof["bounds"], proof["ways"][0]
    told = [
        f"the {first}, else what is right, beside the model's own forward on the first micro-batch; {_bounds(bounds)}"
    ]
    if "route" in proof:
        told.append(
            f"{proof['route']}, in {proof['seconds']:.1f} s on {proof['tokens']:,} tokens: loss off by "
            f"{proof['loss_error']:.2g}, gradients by {proof['gradient_error']:.2g}, other samples by {proof['leak']:.2g}, "
            f"later tokens by {proof['foresight']:.2g}"
        )
        told += [f"passed over: {way}, since {reason}" for way, reason in proof["passed_over"].items()]
    return told


def _bounds(bounds: Mapping[str, float]) -> str:
    return (
        f"loss within {bounds['loss']:.2g}, gradients {bounds['gradient']:.2g}, other samples and later tokens "
        f"{max(bounds['leak'], bounds['foresight']):.2g}"
    )
