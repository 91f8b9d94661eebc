"""Chooses how several processes share a run: each with the whole base, or its layers sharded over all of them."""

from medtune.planning.choices import Choices
from medtune.specs import RunSpec
from medtune.specs.parallel import SHARDED_SCHEMES, sharding_refusal

__all__ = ["parallel_of"]


def parallel_of(spec: RunSpec, choices: Choices | None) -> str:
    """Return "ddp" or "fsdp": what the spec says, else "fsdp" where the run fits several GPUs only so.

    A storage that is open too is tried whole first: in 4 bits most bases fit one GPU.

    Args:
        spec: the run.
        choices: of the machine, with the number of its processes; None where the base's dimensions are unknown.
    """
    if spec.train.parallel != "auto":
        return spec.train.parallel
    if choices is None or choices.processes == 1 or choices.machine.accelerator is None:
        return "ddp"  # without GPUs all processes share one memory
    if spec.quant.scheme not in SHARDED_SCHEMES or sharding_refusal(spec, spec.quant.scheme) or choices.best(spec).fits:
        return "ddp"
    sharded = spec.model_copy_with(train=spec.train.model_copy_with(parallel="fsdp"))
    return "fsdp" if choices.best(sharded).fits else "ddp"
