"""Proves on this machine what a plan announces: the stages of a run up to the trainer's proof, and no further."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from medtune.data.base.folder import weights_are_here
from medtune.errors import SpecError
from medtune.machine.hardware import Machine
from medtune.plugins.contracts import Job
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec
from medtune.workflow.stages.fit import job_of
from medtune.workflow.stages.load import load
from medtune.workflow.stages.prepare import encode
from medtune.workflow.state import RunRequest

__all__ = ["prove_plan"]


def prove_plan(
    spec: RunSpec, host: PluginHost, plan: Plan, machine: Machine | None, rows: Iterable[Mapping[str, Any]] | None
) -> Plan:
    """Return the plan with what the trainer proves of its loss on the first micro-batch; the run folder stays as it is.

    Args:
        spec: the run, at pinned commits.
        host: finds quantizer, adapter and trainer.
        plan: how the base is stored and trained.
        machine: that it was planned for, None for this one.
        rows: training rows instead of ``spec.data.source``.

    Raises:
        SpecError: it was planned for another machine, the weights are not here, or the trainer proves nothing.
        OutOfMemoryError: the plan does not fit here.
        UnprovenBaseError: no way of computing the loss is right.
        DataError: the rows cannot be used as asked.
    """
    if machine is not None:
        raise SpecError("a proof is made on this machine; plan for another GPU without --prove, or prove without --gpu")
    prove: Callable[[Job], Mapping[str, Any]] | None = getattr(host.find("trainer", spec.train.backend), "prove", None)
    if prove is None:
        raise SpecError(f"trainer '{spec.train.backend}' proves nothing (it has no prove); plan without --prove")
    if not weights_are_here(spec.model):
        raise SpecError(
            f"the weights of '{spec.model.path or spec.model.name}' are not on this machine, so nothing can be proved of them; "
            "set model.path to a folder that holds them, or plan without --prove: training proves it once they are fetched"
        )
    plan.require_fit()
    state, _tokenizer = encode(RunRequest(spec, host, plan, rows))
    state = replace(state, plan=plan)  # its storage and micro-batch are what is told, so they are what is proved
    return plan.with_proof(prove(job_of(state, load(state), lambda: None)))
