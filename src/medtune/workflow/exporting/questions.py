"""What tuned model and artifact are asked: the prompt contract's samples, and validation rows of the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.data.contract import CONTRACT_FILE
from medtune.data.encode import Encoder
from medtune.data.prepare import validation_examples
from medtune.data.splits import draw_evenly
from medtune.errors import DataError, StorageError
from medtune.plugins.contracts import Example, Message
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec
from medtune.specs.bounded import json_file
from medtune.workflow.exporting.reload import Questions
from medtune.workflow.given_rows import Rows, rows_again

__all__ = ["MOST_PROMPTS", "NEW_TOKENS", "questions_of", "validation_rows"]

MOST_PROMPTS = 200
"""Validation rows that are asked, at most."""
NEW_TOKENS = 32
"""Tokens of an answer that are compared, at most."""


def validation_rows(
    folder: Path, record: Mapping[str, Any], spec: RunSpec, host: PluginHost, rows: Rows | None
) -> tuple[list[Example], str]:
    """Return validation rows, ``MOST_PROMPTS`` of each source where there are so many, and why there are none otherwise.

    Args:
        folder: the run folder.
        record: its ``run.json``.
        spec: the spec of that record.
        host: finds the formatter.
        rows: the training rows, where they were given in Python.
    """
    most = max(MOST_PROMPTS, spec.eval.rows_per_source)
    wide = spec.model_copy_with(eval=spec.eval.model_copy_with(rows_per_source=most))
    try:
        found = validation_examples(wide, host, rows=rows_again(folder, record, rows))
    except (DataError, StorageError) as error:
        return [], f"no validation rows could be read: {error}"
    return found, "" if found else "the run has no validation rows"


def questions_of(adapter_dir: Path, encoder: Encoder, examples: Sequence[Example], note: str, seed: int) -> Questions:
    """Return the questions: prompts as training encoded them.

    Args:
        adapter_dir: where the prompt contract lies.
        encoder: of the run.
        examples: validation rows; up to ``MOST_PROMPTS`` are asked, equally many of each source.
        note: why there are none.
        seed: the same seed draws the same rows.
    """
    samples: list[dict[str, Any]] = json_file(adapter_dir / CONTRACT_FILE)["samples"]
    prompts: list[Sequence[int]] = [sample["prompt_ids"] for sample in samples]
    for example in draw_evenly(examples, MOST_PROMPTS, seed):
        try:
            prompts.append(encoder.prompt_ids(encoder.placed(example).messages[:-1]))
        except DataError:
            continue  # preparation set it aside too
    plain = [sample for sample in samples if not _spells_control(encoder, sample["messages"][:-1])]
    return Questions(
        prompts,
        [NEW_TOKENS] * len(prompts),
        [sample["messages"][:-1] for sample in plain],
        [sample["prompt_ids"] for sample in plain],
        len(prompts) - len(samples),
        note,
    )


def _spells_control(encoder: Encoder, messages: Sequence[Message]) -> bool:
    """Say whether contents spell a control token: other readers take it for one, and medtune for text."""
    return any(encoder.spells_control(message["content"]) for message in messages)
