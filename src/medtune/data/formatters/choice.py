"""Medical questions with options or a decision; answers are written so that the QA task can score them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text, with_context
from medtune.plugins.contracts import Example

__all__ = ["MedMCQA", "MedQA", "PubMedQA", "QuestionOptions"]

_LETTERS = tuple("ABCDEFGHIJ")


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
        return _choice(row, options, _LETTERS[number], optional_text(row, "exp"))


class MedQA:
    """``question``, ``options`` {A..D} and ``answer_idx``: GBaker/MedQA-USMLE-4-options."""

    name = "medqa_usmle"
    columns = frozenset({"question", "options", "answer_idx"})
    optional_columns = frozenset({"answer", "context", "system"})
    metadata_columns = frozenset({"meta_info", "metamap_phrases"})
    further_text = "context"

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
        self.columns = frozenset({"question", options, "answer"})
        self.optional_columns = frozenset({"context", "system", "exp", "explanation"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the question with its lettered options; the answer names one, or several by their letters."""
        if self._options not in row:
            raise MalformedRowError(f"column '{self._options}' is missing")
        options = lettered(row[self._options], self._options)
        if not options:
            return conversation(with_context(text(row, "question"), row), text(row, "answer"), row)
        value = row.get("answer")
        answers: Sequence[Any] = cast("Sequence[Any]", value) if isinstance(value, list) and value else [value]
        correct = ", ".join(sorted({_letter_of(answer, options) for answer in answers}))
        return _choice(row, options, correct, optional_text(row, "exp") or optional_text(row, "explanation"))


def lettered(given: Any, column: str) -> dict[str, str]:
    """Return letter -> option, whichever way a column holds them; empty when it holds none."""
    if isinstance(given, Mapping):
        given = cast("Mapping[str, Any]", given)
        texts, labels = given.get("text"), given.get("label")
        if isinstance(texts, list) and isinstance(labels, list):  # as ARC has them
            given = dict(zip(map(str, cast("Sequence[Any]", labels)), cast("Sequence[Any]", texts), strict=False))
        if set(given) <= set(_LETTERS):
            found = {key: given[key] for key in sorted(given) if given[key] is not None}
        else:
            found = dict(zip(_LETTERS, given.values(), strict=False))
    elif isinstance(given, list):
        elements = [_option_text(option) for option in cast("Sequence[Any]", given)]
        if len(elements) > len(_LETTERS):
            raise MalformedRowError(f"column '{column}' holds more than {len(_LETTERS)} options")
        found = dict(zip(_LETTERS, elements, strict=False))
    elif given is None:
        return {}
    else:
        raise MalformedRowError(f"column '{column}' is not a list of options")
    if not all(isinstance(option, str) and option.strip() for option in found.values()):
        raise MalformedRowError(f"column '{column}' holds options that are not text")
    return found


def _option_text(option: Any) -> Any:
    """Return the text of an option that may be an object of letter and text."""
    if not isinstance(option, Mapping):
        return str(option) if isinstance(option, int | float) and not isinstance(option, bool) else option
    held = cast("Mapping[str, Any]", option)
    return next((held[key] for key in ("text", "value", "option") if key in held), None)


def _letter_of(answer: Any, options: Mapping[str, str]) -> str:
    """Return the letter of an answer, which is a letter or the text of an option."""
    if isinstance(answer, int | float):
        raise MalformedRowError(
            "column 'answer' is a number, which may count from 0 or 1; say which option each is, as in "
            'data.labels.answer=["A", "B", "C", "D"]'
        )
    if not isinstance(answer, str) or not answer.strip():
        raise MalformedRowError("column 'answer' is empty, missing or null")
    wanted = answer.strip()
    same = [letter for letter, option in options.items() if option.strip().casefold() == wanted.casefold()]
    named = wanted.strip("().").upper()
    if named in options and (not same or same == [named]):
        return named
    if len(same) != 1 or named in options:
        raise MalformedRowError(f"column 'answer' names {'more than one' if same else 'no'} option")
    return same[0]


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
