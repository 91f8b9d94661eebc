"""Stage two: the frozen base with a fresh adapter, in memory."""

from dataclasses import replace

from medtune.data.prepare import encoder_of
from medtune.machine.forked import note_threads, refuse_forked
from medtune.machine.hardware import seed_all
from medtune.plugins.contracts import Adapter, Loaded, Quantizer
from medtune.plugins.contracts.loading import told_apart
from medtune.workflow.saved_adapter import probe, prove_base_only
from medtune.workflow.state import RunState

__all__ = ["load"]


def load(state: RunState) -> Loaded:
    """Load the base as the plan stores it, and attach the adapter, its first values drawn by the seed.

    Raises:
        ForkedProcessError: the process was forked from one in which a model was used.
        UnsafeArtifactError: without its adapter the model would not answer as the base.
    """
    asked, plan = state.asked, state.plan
    refuse_forked()
    quant = plan.settle(asked.spec).quant
    is_there = asked.leg is not None and asked.leg.holds(asked.spec.model, quant)
    asked.on_stage(f"{'taking' if is_there else 'loading'} the base model ({plan.scheme}){' in memory' * is_there}")
    seed_all(asked.spec.seed)
    quantizer: Quantizer = asked.host.find("quantizer", quant.quantizer)
    adapter: Adapter = asked.host.find("adapter", asked.spec.lora.backend)
    leg, model = asked.leg, asked.spec.model
    base = quantizer.load(model, quant) if leg is None else leg.base(model, quant, lambda: quantizer.load(model, quant))
    note_threads()
    stop_ids = encoder_of(asked.spec, base.tokenizer).stop_ids  # one set, whoever loaded it
    base = replace(base, stop_ids=stop_ids, base=asked.spec.model)
    alone = probe(base)
    loaded = adapter.attach(base, asked.spec.lora)
    if leg is not None:
        leg.attached(loaded)
    if loaded.base_only is not base.base_only:  # else nobody said how, and scoring the base is refused
        prove_base_only(loaded, alone)
    return told_apart(loaded)
