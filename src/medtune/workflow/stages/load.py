"""Stage two: the frozen base with a fresh adapter, in memory."""

from dataclasses import replace

from medtune.data.prepare import encoder_of
from medtune.machine.hardware import seed_all
from medtune.plugins.contracts import Adapter, Loaded, Quantizer
from medtune.workflow.state import RunState

__all__ = ["load"]


def load(state: RunState) -> Loaded:
    """Load the base as the plan stores it, and attach the adapter, its first values drawn by the seed."""
    asked, plan = state.asked, state.plan
    asked.on_stage(f"loading the base model ({plan.scheme})")
    seed_all(asked.spec.seed)
    quant = plan.settle(asked.spec).quant
    quantizer: Quantizer = asked.host.find("quantizer", quant.quantizer)
    adapter: Adapter = asked.host.find("adapter", asked.spec.lora.backend)
    base = quantizer.load(asked.spec.model, quant)
    base = replace(base, stop_ids=encoder_of(asked.spec, base.tokenizer).stop_ids)  # one set, whoever loaded it
    return adapter.attach(base, asked.spec.lora)
