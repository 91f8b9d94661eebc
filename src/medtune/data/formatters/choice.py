"""Medical questions with options or a decision; answers are written so that the QA task can score them."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.data.formatters.columns import conversation, optional_text, text
from medtune.plugins.contracts import Example

__all__ = ["MedMCQA", "MedQA", "PubMedQA"]

_LETTERS = "ABCDEFGHIJ"


class MedMCQA:
    """``question``, ``opa`` to ``opd``, ``cop`` (0 to 3) and perhaps ``exp``: openlifescienceai/medmcqa."""

    name = "medmcqa"
    columns = frozenset({"question", "opa", "opb", "opc", "opd", "cop"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its options; the answer is letter and option, after the explanation if any."""
        options = [text(row, f"op{letter}") for letter in "abcd"]
        correct = row.get("cop")
        if not isinstance(correct, int) or isinstance(correct, bool) or not 0 <= correct < len(options):
            raise ValueError("column 'cop' is not a number from 0 to 3")
        return _choice(row, options, correct, optional_text(row, "exp"))


class MedQA:
    """``question``, ``options`` {A..D} and ``answer_idx``: GBaker/MedQA-USMLE-4-options."""

    name = "medqa_usmle"
    columns = frozenset({"question", "options", "answer_idx"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its options; the answer is letter and option."""
        options = row.get("options")
        if not isinstance(options, Mapping) or not options:
            raise ValueError("column 'options' is not a mapping of letters to options")
        letters = sorted(key for key, value in options.items() if isinstance(value, str) and value)
        correct = text(row, "answer_idx").strip()
        if correct not in letters:
            raise ValueError("column 'answer_idx' names no option")
        return _choice(row, [options[letter] for letter in letters], letters.index(correct), "")


class PubMedQA:
    """``question``, ``context`` {contexts}, ``long_answer`` and ``final_decision``: qiaojin/PubMedQA."""

    name = "pubmedqa"
    columns = frozenset({"question", "context", "final_decision"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return abstract and question; the answer is the long answer, then the decision."""
        context = row.get("context")
        paragraphs = context.get("contexts") if isinstance(context, Mapping) else None
        if not isinstance(paragraphs, list) or not all(isinstance(p, str) for p in paragraphs) or not paragraphs:
            raise ValueError("column 'context' holds no list of texts under 'contexts'")
        decision = text(row, "final_decision").strip().lower()
        if decision not in ("yes", "no", "maybe"):
            raise ValueError("column 'final_decision' is not yes, no or maybe")
        reasons = optional_text(row, "long_answer").strip()
        question = "\n\n".join([*paragraphs, f"###Question: {text(row, 'question').strip()}"])
        return conversation(question, "\n\n".join(filter(None, (reasons, f"###Answer: {decision}"))), row)


def _choice(row: Mapping[str, Any], options: Sequence[str], correct: int, explanation: str) -> Example:
    lines = [f"{letter}. {option.strip()}" for letter, option in zip(_LETTERS, options, strict=False)]
    question = "\n".join([f"###Question: {text(row, 'question').strip()}", "###Options:", *lines])
    answer = f"###Answer: OPTION {_LETTERS[correct]} IS CORRECT."
    if explanation.strip():
        answer = f"###Rationale: {explanation.strip()}\n\n{answer}"
    return conversation(question, answer, row)
