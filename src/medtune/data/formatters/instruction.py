"""Rows of an instruction or question with its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text, with_context
from medtune.plugins.contracts import Example, Message

__all__ = ["Alpaca", "Dolly", "MedicalReasoning", "QuestionAnswer", "SpanAnswer"]


class Alpaca:
    """``instruction``, ``input``, ``output`` and perhaps ``source``: MedTuned, Alpaca, medical_meadow, HealthCareMagic.

    Instruction and input are separated by a blank line; joined without one, as tutorials do, the model cannot tell
    where the instruction ends. An empty input is left out.
    """

    name = "alpaca"
    columns = frozenset({"instruction", "output"})
    optional_columns = frozenset({"input", "system"})
    label_columns = ("output",)
    further_text = "input"

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return instruction and input as the question, output as the answer."""
        given = optional_text(row, "input").strip()
        instruction = text(row, "instruction").strip()
        question = f"{instruction}\n\n{given}" if given else instruction
        return conversation(question, text(row, "output"), row)


class Dolly:
    """``instruction``, ``response`` and perhaps ``context``: databricks-dolly-15k."""

    name = "dolly"
    columns = frozenset({"instruction", "response"})
    optional_columns = frozenset({"context", "system"})
    further_text = "context"
    gives_way = True

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return instruction and context as the question, response as the answer."""
        given = with_context("", row).strip()
        instruction = text(row, "instruction").strip()
        return conversation(f"{instruction}\n\n{given}" if given else instruction, text(row, "response"), row)


class QuestionAnswer:
    """``question`` and ``answer`` as text, perhaps with a ``context`` before the question."""

    name = "question_answer"
    columns = frozenset({"question", "answer"})
    optional_columns = frozenset({"context", "system"})
    label_columns = ("answer",)
    further_text = "context"

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return question and answer as they are, a context before the question."""
        return conversation(with_context(text(row, "question"), row), text(row, "answer"), row)


class SpanAnswer:
    """``question``, ``context`` and ``answers`` {text}: SQuAD and what is written like it; the first answer counts."""

    name = "squad"
    columns = frozenset({"question", "context", "answers"})
    optional_columns = frozenset({"system"})
    further_text = "context"
    gives_way = True

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return context and question, and the first answer."""
        _ = text(row, "context")
        found: Any = row.get("answers")
        if isinstance(found, Mapping):
            found = cast("Mapping[str, Any]", found).get("text")
        first: Any = cast("Sequence[Any]", found)[0] if isinstance(found, list) and found else None
        if isinstance(first, Mapping):
            first = cast("Mapping[str, Any]", first).get("text")
        if not isinstance(first, str) or not first.strip():
            raise MalformedRowError("column 'answers' holds no answer")
        return conversation(with_context(text(row, "question"), row), first, row)


class MedicalReasoning:
    """``Question``, ``Complex_CoT``, ``Response``: medical-o1-reasoning-SFT, with its reasoning or the answer alone.

    Args:
        name: name of the formatter.
        with_reasoning: whether the answer carries the reasoning: where the chat template has a place for it, else at its
            beginning, a blank line between.
    """

    def __init__(self, name: str, *, with_reasoning: bool) -> None:
        self.name, self._with_reasoning = name, with_reasoning
        # The variant without reasoning is chosen by name only: the columns alone cannot tell.
        self.columns = frozenset({"Question", "Complex_CoT", "Response"} if with_reasoning else ())
        self.optional_columns = frozenset({"system"} if with_reasoning else {"Question", "Response", "system"})
        self.metadata_columns = frozenset[str](() if with_reasoning else {"Complex_CoT"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question and the response."""
        example = conversation(text(row, "Question"), text(row, "Response"), row)
        if not self._with_reasoning:
            return example
        answer: Message = {
            "role": "assistant",
            "content": text(row, "Response").strip(),
            "reasoning_content": text(row, "Complex_CoT").strip(),
            "reasoning_inline": True,
        }
        return replace(example, messages=[*example.messages[:-1], answer])
