"""Which runs can shard their base over processes: each rule once, on values that a spec states."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medtune.specs.run import RunSpec

__all__ = ["SHARDED_SCHEMES", "sharding_refusal"]

SHARDED_SCHEMES = ("none", "fp8")
"""Schemes whose weights keep their values when rows of them lie on several GPUs."""
_CHANGE_BASE = ("pissa", "olora", "loftq")


def sharding_refusal(spec: "RunSpec", scheme: str) -> str | None:
    """Return why the base of a run cannot be sharded over processes (FSDP2), as a sentence; None where it can.

    Args:
        spec: of the run.
        scheme: how the base is to be stored; of "auto" nothing is known yet.
    """
    train, lora = spec.train, spec.lora
    if scheme in ("nf4", "fp4", "int8"):
        return (
            f"train.parallel=fsdp does not shard a base in {scheme}: FSDP2 with bitsandbytes is not supported upstream (accelerate "
            "issue 3874: a sharded weight is without the state that dequantizes it); use train.parallel=ddp, where each GPU holds "
            f"its own {scheme} copy, or quant.scheme=fp8 or none"
        )
    reasons = {
        f"lora.init '{lora.init}' takes its first values out of whole weights; use lora.init=default": lora.init
        in _CHANGE_BASE,
        "lora.use_dora needs the norms of whole weights; use lora.use_dora=false": lora.use_dora,
        f"lora.bias '{lora.bias}' trains values of the base; use lora.bias=none": lora.bias != "none",
        "train.on_oom=halve runs a pass again on one GPU, for which the others would not gather; use train.on_oom=stop": (
            train.on_oom == "halve"
        ),
        f"trainer '{train.backend}' does not say that it trains one; use train.backend=trl": train.backend != "trl",
        f"adapter '{lora.backend}' does not say that it takes one; use lora.backend=peft": lora.backend != "peft",
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    return None if reason is None else f"train.parallel=fsdp shards the base, and {reason}, or train.parallel=ddp"
