"""The answers and scores that a run keeps of a model, and when they may stand for those that it would give now."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from medtune.data.prepare import encoder_of
from medtune.evaluation.predictions import read_predictions, write_predictions
from medtune.evaluation.scoring import Evaluation
from medtune.machine.owner_only import make_folder
from medtune.plugins.contracts import Example, Loaded, Prediction, Task
from medtune.runs.base_fingerprint import base_fingerprint
from medtune.runs.durable import attempt, replace_file, replace_written
from medtune.runs.manifest import file_digest
from medtune.specs import RunSpec
from medtune.specs.bounded import json_file
from medtune.version import __version__

__all__ = ["AnswerFiles", "circumstances_of", "questions_of"]

_ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class AnswerFiles:
    """Where the answers and scores of one model lie.

    Attributes:
        folder: the evaluation folder of a run.
        name: of the model, and so of its files.
        circumstances: under which it answers, from ``circumstances_of``; empty where nobody will ask for these answers
            again.
    """

    folder: Path
    name: Literal["base", "tuned"]
    circumstances: str = ""

    @property
    def predictions(self) -> Path:
        """The answers, a line each."""
        return self.folder / f"predictions-{self.name}.jsonl"

    @property
    def scores(self) -> Path:
        """The scores of these answers."""
        return self.folder / f"{self.name}.json"

    def write(self, evaluation: Evaluation, predictions: Sequence[Prediction], seconds: float) -> None:
        """Keep both, and how long the answers took; the scores last, which say what the answers are answers to."""
        attempt(lambda: make_folder(self.folder), "the scores", self.folder)
        replace_written(self.predictions, lambda path: write_predictions(path, predictions), "the predictions")
        values = {**evaluation.to_json(), "answering_seconds": round(seconds, 3)}
        if self.circumstances:
            values[_ANSWERED] = {"circumstances": self.circumstances, "predictions": file_digest(self.predictions)}
        replace_file(self.scores, json.dumps(values, indent=1).encode(), "the scores")

    def told(self, key: str) -> Any:
        """Return what the file of scores says under a key, None where it says nothing."""
        try:
            return json_file(self.scores, finite=False).get(key)
        except (OSError, ValueError):
            return None

    def kept(self, tasks: Sequence[Task]) -> list[Prediction] | None:
        """Return the answers that were given under the same circumstances, None when there are none."""
        return read_predictions(self.predictions, tasks) if self.is_whole else None

    @property
    def is_whole(self) -> bool:
        """Whether answers that were given under the same circumstances are there."""
        answered = self.told(_ANSWERED)
        if not (answered and self.predictions.is_file()):
            return False
        return bool(answered == {"circumstances": self.circumstances, "predictions": file_digest(self.predictions)})


def circumstances_of(spec: RunSpec, loaded: Loaded, examples: Sequence[Example]) -> str:
    """Identify what a base is asked and what decides its answers: the same text only for the same answers.

    How many prompts are answered together, and in how much memory, is left out: it changes no answer but by rounding.

    Args:
        spec: the run, its storage settled by the plan.
        loaded: the base in memory.
        examples: what it is asked, whole conversations.
    """
    facts: dict[str, Any] = {
        "medtune": __version__,
        "examples": [asdict(example) for example in examples],
        "base": base_fingerprint(spec.model),
        "attention": spec.model.attn_implementation,
        "prompts": encoder_of(spec, loaded.tokenizer).fingerprint,
        "quant": spec.quant.model_dump(mode="json"),
        "compute_dtype": loaded.compute_dtype,
        "stop_ids": loaded.stop_ids,
        "eval": _asked_of(spec),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def questions_of(spec: RunSpec, examples: Sequence[Example]) -> str | None:
    """Identify what a finished run was scored on and how, as far as the spec says it; None where nothing is scored."""
    if not (spec.eval.enabled and examples):
        return None
    facts = {"examples": [asdict(example) for example in examples], "eval": _asked_of(spec)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _asked_of(spec: RunSpec) -> dict[str, Any]:
    """Return the settings of scoring that change an answer or a score."""
    asked = spec.eval.model_dump(mode="json", include={"backend", "max_new_tokens", "label_likelihood", "alpha"})
    if spec.eval.loss:  # where it is not measured, what runs before it was there were asked stays the same
        asked["loss"] = True
    if spec.eval.constrained:
        asked["constrained"] = True
    declared = [task.model_dump(mode="json") for task in spec.tasks]
    return {**asked, "tasks": declared} if declared else asked
