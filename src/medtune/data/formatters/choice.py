"""Medical questions with options or a decision; answers are written so that the QA task can score them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text, with_context
from medtune.data.formatters.options import LETTERS, lettered, option_letters
from medtune.plugins.contracts import Example

__all__ = ["MedMCQA", "MedQA", "PubMedQA", "QuestionOptions"]


class MedMCQA:
    """``question``, ``opa`` to ``opd``, ``cop`` and perhaps ``exp``: openlifescienceai/medmcqa, or its first release.

    Args:
        name: name of the formatter.
        first: what ``cop`` calls the first option: 0 on the hub, 1 in the authors' own files. The columns alone cannot
            tell, so the variant of 1 is chosen by name only.
    """

    metadata_columns = frozenset({"id", "subject_name", "topic_name", "choice_type"})
    further_text = "context"

    def __init__(self, name: str, *, first: int) -> None:
        self.name, self._first = name, first
        needed = frozenset({"question", "opa", "opb", "opc", "opd", "cop"})
        self.columns = needed if first == 0 else frozenset[str]()
        self.optional_columns = frozenset({"answer", "exp", "context", "system"}) | (needed - self.columns)
        self.counted_from_zero = {"cop": (4, "medmcqa_one_based")} if first == 0 else {}

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its options; the answer names the option, after the explanation if any."""
        options = {letter.upper(): text(row, f"op{letter}") for letter in "abcd"}
        number = _number(row.get("cop"), self._first, self._first + len(options) - 1) - self._first
        return _choice(row, options, LETTERS[number], optional_text(row, "exp"))


class MedQA:
    """``question``, ``options`` {A..D}, or in a list, and ``answer_idx``; perhaps ``exp``: GBaker/MedQA-USMLE-4-options."""

    name = "medqa_usmle"
    columns = frozenset({"question", "options", "answer_idx"})
    optional_columns = frozenset({"answer", "context", "system", "exp", "explanation"})
    label_columns = ("answer_idx",)
    numbered_options: ClassVar = {"answer_idx": "options"}
    metadata_columns = frozenset({"meta_info", "metamap_phrases"})
    further_text = "context"

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its options under their own letters; the answer names one."""
        given = row.get("options")
        options = lettered(cast("Sequence[Any]", given), "options") if isinstance(given, list) else _by_letter(given)
        return _choice(row, options, option_letters(row.get("answer_idx"), options, "answer_idx"), explanation_of(row))


def _by_letter(given: Any) -> dict[str, str]:
    """Return letter -> option where the options stand under letters, and nothing else."""
    held: Mapping[Any, Any] = given if isinstance(given, Mapping) else {}
    options = {key: held[key] for key in sorted(k for k in held if isinstance(k, str)) if held[key] is not None}
    if not options or not all(k in LETTERS and isinstance(o, str) and o.strip() for k, o in options.items()):
        raise MalformedRowError("column 'options' is not a mapping of letters to options")
    return options


class PubMedQA:
    """``question``, ``context`` {contexts}, ``long_answer`` and ``final_decision``: qiaojin/PubMedQA."""

    name = "pubmedqa"
    columns = frozenset({"question", "context", "final_decision"})
    optional_columns = frozenset({"answer", "long_answer", "system"})
    metadata_columns = frozenset({"pubid", "context.labels", "context.meshes", "context.reasoning_required_pred"})

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


class QuestionOptions:
    """``question``, a list of options and ``answer``, which is one of them or its letter; perhaps a ``context``.

    Args:
        name: name of the formatter.
        options: column of the options: a list of texts, or of objects with letter and text, or letter -> text.
    """

    label_columns = ("answer",)
    further_text = "context"

    def __init__(self, name: str, options: str) -> None:
        self.name, self._options = name, options
        self.numbered_options = {"answer": options}
        self.columns = frozenset({"question", options, "answer"})
        self.optional_columns = frozenset({"context", "system", "exp", "explanation"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its lettered options; the answer names one, or several by their letters."""
        if self._options not in row:
            raise MalformedRowError(f"column '{self._options}' is missing")
        options = lettered(row[self._options], self._options)
        if not options:
            return conversation(with_context(text(row, "question"), row), text(row, "answer"), row)
        return _choice(row, options, option_letters(row.get("answer"), options, "answer"), explanation_of(row))


def explanation_of(row: Mapping[str, Any]) -> str:
    """Return what explains the answer, under either name that it has."""
    return optional_text(row, "exp") or optional_text(row, "explanation")


def _number(value: Any, first: int, last: int) -> int:
    """Read the number of an option: CSV holds text, and tables with gaps hold floats."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not first <= value <= last:
        raise MalformedRowError(f"column 'cop' is not a number from {first} to {last}")
    return value


def _choice(row: Mapping[str, Any], options: Mapping[str, str], correct: str, explanation: str) -> Example:
    lines = [f"{letter}. {option.strip()}" for letter, option in options.items()]
    question = with_context("\n".join([f"###Question: {text(row, 'question').strip()}", "###Options:", *lines]), row)
    answer = f"###Answer: OPTION {correct} IS CORRECT." if correct in options else f"###Answer: {correct}"
    if explanation.strip():
        answer = f"###Rationale: {explanation.strip()}\n\n{answer}"
    return conversation(question, answer, row)
