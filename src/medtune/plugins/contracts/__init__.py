"""The contract between medtune and its plugins: the values they exchange and the protocols they satisfy."""

from medtune.plugins.contracts.answers import AnswerRequest, Completion, GenerationRequest, TokenScores
from medtune.plugins.contracts.encoding import EncoderJob, EncoderKind, EncoderResult, EncoderRow, EncoderTrainer
from medtune.plugins.contracts.exporting import Exported, ExportSource
from medtune.plugins.contracts.loading import AdapterSet, Loaded
from medtune.plugins.contracts.protocols import (
    Adapter,
    AnswerScorer,
    ContinuousGenerator,
    Exporter,
    FinishedRun,
    Generator,
    PromptFormatter,
    Quantizer,
    RequestFeed,
    Task,
    TokenScorer,
    Trainer,
)
from medtune.plugins.contracts.reading import Reader
from medtune.plugins.contracts.records import StepRecord
from medtune.plugins.contracts.values import (
    Bundle,
    Checkpoints,
    EncodedExample,
    Example,
    Job,
    Message,
    PackedRow,
    PackedRows,
    Prediction,
    TaskScore,
    TrainResult,
)

__all__ = [
    "Adapter",
    "AdapterSet",
    "AnswerRequest",
    "AnswerScorer",
    "Bundle",
    "Checkpoints",
    "Completion",
    "ContinuousGenerator",
    "EncodedExample",
    "EncoderJob",
    "EncoderKind",
    "EncoderResult",
    "EncoderRow",
    "EncoderTrainer",
    "Example",
    "ExportSource",
    "Exported",
    "Exporter",
    "FinishedRun",
    "GenerationRequest",
    "Generator",
    "Job",
    "Loaded",
    "Message",
    "PackedRow",
    "PackedRows",
    "Prediction",
    "PromptFormatter",
    "Quantizer",
    "Reader",
    "RequestFeed",
    "StepRecord",
    "Task",
    "TaskScore",
    "TokenScorer",
    "TokenScores",
    "TrainResult",
    "Trainer",
]
