"""What a user writes: every setting of a run as frozen values, with its unit and where its default comes from."""

from medtune.specs.canaries import CanarySpec
from medtune.specs.data import DataSpec, SourceSpec
from medtune.specs.encoder import EncoderSpec
from medtune.specs.model import LoraSpec, ModelSpec, QuantSpec
from medtune.specs.run import RunSpec
from medtune.specs.tasks import TaskSpec
from medtune.specs.train import EvalSpec, TrainSpec

__all__ = [
    "CanarySpec",
    "DataSpec",
    "EncoderSpec",
    "EvalSpec",
    "LoraSpec",
    "ModelSpec",
    "QuantSpec",
    "RunSpec",
    "SourceSpec",
    "TaskSpec",
    "TrainSpec",
]
