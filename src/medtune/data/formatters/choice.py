"""Medical questions with options or a decision; answers are written so that the QA task can score them."""

from collections.abc import Mapping
from typing import Any

from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text
from medtune.plugins.contracts import Example

__all__ = ["MedMCQA", "MedQA", "PubMedQA"]

_LETTERS = tuple("ABCDEFGHIJ")


class MedMCQA:
    """``question``, ``opa`` to ``opd``, ``cop`` (0 to 3) and perhaps ``exp``: openlifescienceai/medmcqa."""

    name = "medmcqa"
    columns = frozenset({"question", "opa", "opb", "opc", "opd", "cop"})
    optional_columns = frozenset({"answer", "exp"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its options; the answer names the option, after the explanation if any."""
        options = {letter.upper(): text(row, f"op{letter}") for letter in "abcd"}
        return _choice(row, options, _LETTERS[_number(row.get("cop"), len(options))], optional_text(row, "exp"))


class MedQA:
    """``question``, ``options`` {A..D} and ``answer_idx``: GBaker/MedQA-USMLE-4-options."""

    name = "medqa_usmle"
    columns = frozenset({"question", "options", "answer_idx"})
    optional_columns = frozenset({"answer"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its options under their own letters; the answer names one."""
        given = row.get("options")
        if not isinstance(given, Mapping):
            raise MalformedRowError("column 'options' is not a mapping of letters to options")
        options = {key: given[key] for key in sorted(k for k in given if isinstance(k, str)) if given[key] is not None}
        if not options or not all(k in _LETTERS and isinstance(o, str) and o.strip() for k, o in options.items()):
            raise MalformedRowError("column 'options' is not a mapping of letters to options")
        correct = text(row, "answer_idx").strip()
        if correct not in options:
            raise MalformedRowError("column 'answer_idx' names no option")
        return _choice(row, options, correct, "")


class PubMedQA:
    """``question``, ``context`` {contexts}, ``long_answer`` and ``final_decision``: qiaojin/PubMedQA."""

    name = "pubmedqa"
    columns = frozenset({"question", "context", "final_decision"})
    optional_columns = frozenset({"answer", "long_answer"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return abstract and question; the answer is the long answer, then the decision."""
        context = row.get("context")
        paragraphs = context.get("contexts") if isinstance(context, Mapping) else None
        if not isinstance(paragraphs, list) or not all(isinstance(p, str) for p in paragraphs) or not paragraphs:
            raise MalformedRowError("column 'context' holds no list of texts under 'contexts'")
        decision = text(row, "final_decision").strip().lower()
        if decision not in ("yes", "no", "maybe"):
            raise MalformedRowError("column 'final_decision' is not yes, no or maybe")
        reasons = optional_text(row, "long_answer").strip()
        question = "\n\n".join([*paragraphs, f"###Question: {text(row, 'question').strip()}"])
        return conversation(question, "\n\n".join(filter(None, (reasons, f"###Answer: {decision}"))), row)


def _number(value: Any, options: int) -> int:
    """Read the number of an option: CSV holds text, and tables with gaps hold floats."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < options:
        raise MalformedRowError(f"column 'cop' is not a number from 0 to {options - 1}")
    return value


def _choice(row: Mapping[str, Any], options: Mapping[str, str], correct: str, explanation: str) -> Example:
    lines = [f"{letter}. {option.strip()}" for letter, option in options.items()]
    question = "\n".join([f"###Question: {text(row, 'question').strip()}", "###Options:", *lines])
    answer = f"###Answer: OPTION {correct} IS CORRECT."
    if explanation.strip():
        answer = f"###Rationale: {explanation.strip()}\n\n{answer}"
    return conversation(question, answer, row)
