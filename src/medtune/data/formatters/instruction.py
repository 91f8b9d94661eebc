"""Rows of an instruction or question with its answer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medtune.data.formatters.columns import conversation, optional_text, text
from medtune.plugins.contracts import Example, Message

__all__ = ["Alpaca", "MedicalReasoning", "QuestionAnswer"]


class Alpaca:
    """``instruction``, ``input``, ``output`` and perhaps ``source``: MedTuned, Alpaca, medical_meadow, HealthCareMagic.

    Instruction and input are separated by a blank line; joined without one, as tutorials do, the model cannot tell
    where the instruction ends. An empty input is left out.
    """

    name = "alpaca"
    columns = frozenset({"instruction", "output"})
    optional_columns = frozenset({"input"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return instruction and input as the question, output as the answer."""
        given = optional_text(row, "input").strip()
        instruction = text(row, "instruction").strip()
        question = f"{instruction}\n\n{given}" if given else instruction
        return conversation(question, text(row, "output"), row)


class QuestionAnswer:
    """``question`` and ``answer`` as text."""

    name = "question_answer"
    columns = frozenset({"question", "answer"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return question and answer as they are."""
        return conversation(text(row, "question"), text(row, "answer"), row)


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

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question and the response."""
        example = conversation(text(row, "Question"), text(row, "Response"), row)
        if not self._with_reasoning:
            return example
        answer: Message = {"role": "assistant", "content": text(row, "Response").strip()}
        answer |= {"reasoning_content": text(row, "Complex_CoT").strip(), "reasoning_inline": True}
        return replace(example, messages=[example.messages[0], answer])
