"""Stage two: the frozen base with a fresh adapter, in memory."""

from collections.abc import Callable
from dataclasses import replace

from medtune.data.prepare import encoder_of
from medtune.errors import SpecError
from medtune.machine.forked import note_threads, refuse_forked
from medtune.machine.hardware import describe_machine, seed_all, world_size
from medtune.planning.base_config import model_config
from medtune.plugins.contracts import Adapter, Loaded, Quantizer
from medtune.plugins.contracts.loading import told_apart
from medtune.specs import ModelSpec, QuantSpec
from medtune.workflow.kernels_ahead import compiled_ahead, job_for
from medtune.workflow.saved_adapter import probe, prove_base_only
from medtune.workflow.state import RunState
from medtune.workflow.together import in_company

__all__ = ["load"]


def load(state: RunState) -> Loaded:
    """Load the base as the plan stores it, and attach the adapter, its first values drawn by the seed.

    Raises:
        ForkedProcessError: the process was forked from one in which a model was used.
        UnsafeArtifactError: without its adapter the model would not answer as the base.
    """
    asked, plan = state.asked, state.plan
    refuse_forked()
    config = model_config(asked.spec, asked.host.all("bundle"))
    leg, settled = asked.leg, plan.settle(asked.spec)
    is_there = leg is not None and leg.holds(asked.spec.model, settled.quant)  # takes the last adapter off: asked once
    gpu = None if is_there else describe_machine().accelerator
    job = None if gpu is None else job_for(settled, plan, config, gpu.memory_gib, world_size())
    with compiled_ahead(job, asked.on_stage):
        return _load(state, is_there=is_there)


def _load(state: RunState, *, is_there: bool) -> Loaded:
    asked, plan = state.asked, state.plan
    way = ("taking", " in memory") if is_there else ("loading", "")
    asked.on_stage(f"{way[0]} the base model ({plan.scheme}){way[1]}")
    seed_all(asked.spec.seed)
    leg, model, quant = asked.leg, asked.spec.model, plan.settle(asked.spec).quant
    quantizer: Quantizer = asked.host.find("quantizer", quant.quantizer)
    adapter: Adapter = asked.host.find("adapter", asked.spec.lora.backend)
    read = _loader(quantizer, plan.parallel)
    base = read(model, quant) if leg is None else leg.base(model, quant, lambda: read(model, quant))
    note_threads()
    stop_ids = encoder_of(asked.spec, base.tokenizer).stop_ids  # one set, whoever loaded it
    base = replace(base, stop_ids=stop_ids, base=asked.spec.model)
    alone = probe(base)
    loaded = adapter.attach(base, asked.spec.lora)
    if leg is not None:
        leg.attached(loaded)
    if loaded.base_only is not base.base_only:  # else nobody said how, and scoring the base is refused
        prove_base_only(loaded, alone)
    return in_company(told_apart(loaded), asked.host)


def _loader(quantizer: Quantizer, parallel: str) -> Callable[[ModelSpec, QuantSpec], Loaded]:
    """Return what loads the base: whole, or its layers sharded over all processes.

    Raises:
        SpecError: the quantizer cannot shard one.
    """
    if parallel != "fsdp":
        return quantizer.load
    load_sharded: Callable[[ModelSpec, QuantSpec], Loaded] | None = getattr(quantizer, "load_sharded", None)
    if load_sharded is None:
        raise SpecError(
            f"train.parallel=fsdp needs a quantizer that shards a base, and '{quantizer.name}' has no load_sharded; use "
            "train.parallel=ddp"
        )
    return load_sharded
