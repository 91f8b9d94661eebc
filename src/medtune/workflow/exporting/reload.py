"""Loads an artifact in a fresh process, by a program that knows no medtune, and returns what it answered."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import UnsafeArtifactError
from medtune.machine.own_program import command_of
from medtune.plugins.contracts import Message

__all__ = ["Answers", "Questions", "ask_again"]

_READERS = Path(__file__).parent / "readers"
_LAST_LINE = 200  # characters of a reader's complaint that are shown


@dataclass(frozen=True, slots=True)
class Questions:
    """What tuned model and artifact are both asked.

    Attributes:
        prompts: token ids of each.
        limits: most new tokens of each.
        conversations: the prompt contract's samples up to their answers, those that spell no control token.
        conversation_ids: the ids that these must become.
        validation: how many of the prompts are validation rows; the others are the contract's samples.
        note: why there are no validation rows, where there are none.
    """

    prompts: Sequence[Sequence[int]]
    limits: Sequence[int]
    conversations: Sequence[Sequence[Message]] = ()
    conversation_ids: Sequence[Sequence[int]] = ()
    validation: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered.

    Attributes:
        ids: of each answer, without the id that ends it.
        ended: whether such an id came in time.
        logits: after each prompt, in fp32 [prompts, vocabulary]; NaN where the reader gives no value.
        normalised: whether ``logits`` are log-probabilities.
        stop_ids: what ends an answer; None where the reader cannot say.
        prompts: ids of the conversations by the artifact's own tokenizer and template; None where the reader cannot say.
        reader: what answered, in words.
    """

    ids: Sequence[Sequence[int]]
    ended: Sequence[bool]
    logits: Any
    normalised: bool = False
    stop_ids: Sequence[int] | None = None
    prompts: Sequence[Sequence[int]] | None = None
    reader: str = "medtune"


def ask_again(reader: str, job: Mapping[str, Any], questions: Questions, said: str) -> Answers:
    """Ask an artifact the questions in a fresh process.

    Args:
        reader: a program of ``readers``, by the name of its file.
        job: what the program needs besides the questions.
        questions: they are kept in a folder of this process's own, and deleted.
        said: what the reader is, in words.

    Raises:
        UnsafeArtifactError: the artifact cannot be loaded, or answers nothing.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="medtune-proof-") as folder:  # readable by its owner only
        file = Path(folder) / "job.json"
        asked = {"prompts": questions.prompts, "limits": questions.limits, "conversations": questions.conversations}
        file.write_text(json.dumps({**job, **asked, "out": folder}), "utf-8")
        command = command_of(_READERS / f"{reader}.py", str(file))
        done = subprocess.run(  # noqa: S603 - a program of medtune's own
            command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise UnsafeArtifactError(
                f"the artifact cannot be loaded by {said} ({_complaint(done.returncode, done.stderr)}); nothing was proved"
            )
        found: dict[str, Any] = json.loads((Path(folder) / "answers.json").read_text("utf-8"))
        logits = np.load(Path(folder) / "logits.npy", allow_pickle=False)
    return Answers(
        found["ids"],
        found["ended"],
        logits,
        bool(found.get("normalised")),
        found.get("stop_ids"),
        found.get("prompts"),
        said,
    )


def _environment() -> dict[str, str]:
    """Return this process's environment, offline and quiet."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
    }


def _complaint(code: int, text: str) -> str:
    """Return the type of the error that a program ended with, never a prompt."""
    if code < 0:
        return f"signal {-code} ended it; where memory was short, prove it on a larger machine, or leave it unproved by --no-proof"
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "\t"))]
    return lines[-1].partition(": ")[0][:_LAST_LINE] if lines else "it said nothing"
