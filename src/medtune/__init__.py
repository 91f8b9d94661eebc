"""medtune fine-tunes an open language model on medical instruction data and proves what that bought.

A research tool: nothing it trains or reports is medical advice or a medical device.
"""

import logging
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from medtune.version import __version__

# Telemetry of every dependency is off unless the user's environment says otherwise on purpose.
for _name, _value in {
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",  # trackio's pages
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "WANDB_ERROR_REPORTING": "false",
}.items():
    os.environ.setdefault(_name, _value)
if "huggingface_hub.constants" in sys.modules and os.environ["HF_HUB_DISABLE_TELEMETRY"].upper() in (
    "1",
    "ON",
    "TRUE",
    "YES",
):
    sys.modules["huggingface_hub.constants"].HF_HUB_DISABLE_TELEMETRY = True  # it read the variable as it was loaded

# Before anything else is imported. A child of a locked process is locked by its environment.
if os.environ.get("MEDTUNE_LOCKED", "") not in ("", "0"):
    import_module("medtune.machine.network").lock()

# A library says nothing on its own: who embeds it decides where its log goes.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from medtune.errors import MedtuneError
    from medtune.plugins.contracts import Bundle, EncodedExample, Example, PromptFormatter, StepRecord, Task
    from medtune.plugins.hookspecs import hookimpl
    from medtune.plugins.plan import Plan
    from medtune.specs import DataSpec, EvalSpec, LoraSpec, ModelSpec, QuantSpec, RunSpec, TrainSpec
    from medtune.tuner import MedTuner
    from medtune.workflow.adoption import adopt
    from medtune.workflow.run import Run

_HOMES = {
    "Bundle": "medtune.plugins.contracts",
    "DataSpec": "medtune.specs",
    "EncodedExample": "medtune.plugins.contracts",
    "EvalSpec": "medtune.specs",
    "Example": "medtune.plugins.contracts",
    "LoraSpec": "medtune.specs",
    "MedTuner": "medtune.tuner",
    "MedtuneError": "medtune.errors",
    "ModelSpec": "medtune.specs",
    "Plan": "medtune.plugins.plan",
    "PromptFormatter": "medtune.plugins.contracts",
    "QuantSpec": "medtune.specs",
    "Run": "medtune.workflow.run",
    "RunSpec": "medtune.specs",
    "StepRecord": "medtune.plugins.contracts",
    "Task": "medtune.plugins.contracts",
    "TrainSpec": "medtune.specs",
    "adopt": "medtune.workflow.adoption",
    "hookimpl": "medtune.plugins.hookspecs",
}

__all__ = [
    "Bundle",
    "DataSpec",
    "EncodedExample",
    "EvalSpec",
    "Example",
    "LoraSpec",
    "MedTuner",
    "MedtuneError",
    "ModelSpec",
    "Plan",
    "PromptFormatter",
    "QuantSpec",
    "Run",
    "RunSpec",
    "StepRecord",
    "Task",
    "TrainSpec",
    "__version__",
    "adopt",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``import medtune`` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'medtune' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
