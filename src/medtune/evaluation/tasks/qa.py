"""The task of answering a question: by an option, by yes or no, or in free text."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from medtune.evaluation.missing_text import is_missing
from medtune.evaluation.overlap import rouge_l, token_f1
from medtune.evaluation.recognition import answer_of, question_of
from medtune.evaluation.task_contracts import Contracts
from medtune.evaluation.tasks.choices import choice_in, options_in, says_option
from medtune.evaluation.tasks.labels import FAILURES, bare_answer
from medtune.evaluation.tasks.mentions import is_denied
from medtune.evaluation.text_flags import agreement
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Array, Tally

__all__ = ["Answer", "Kind", "QaTask", "gold_kind"]

Kind = Literal["choice", "decision", "text"]

_ANSWER_TOKENS = 512
_LONGEST_CHOICE = 300
_MARK = re.compile(r"#{1,3}\s*Answer\s*:", re.IGNORECASE)
_DECISION = re.compile(r"\b(yes|no|maybe)\b", re.IGNORECASE)
_SAID_DECISION = re.compile(r"\banswer\b(?:\s+(?:is|would\s+be|:))*\s*[:=]?\s*\W*(yes|no|maybe)\b", re.IGNORECASE)
_OPEN_DECISION = re.compile(
    r"\W*(?:either\W+)?(?:yes|no|maybe)\W*(?:\b(?:or|and|and/or|/)\b|/|\||&)\W*(?:yes|no|maybe)\b|(?:\W*\b(?:yes|no|maybe)\b){2,}\W*$",
    re.IGNORECASE,
)
"""Two decisions side by side, as a question offers them: "yes or no", "yes/no", "Yes. No."."""
_GOLD_DECISION = re.compile(r"(yes|no|maybe)", re.IGNORECASE)
_DECISIONS = ("yes", "no", "maybe")
_COLUMNS = (
    "rows", "choices", "choices_right", "choices_lenient", "decisions", "decisions_right", "decisions_lenient", "texts",
    "rouge_l", "token_f1", "negations", "negations_agree", "numbers", "numbers_agree", "unanswered", "truncated", "empty",
    *(f"{name}_{part}" for name in _DECISIONS for part in ("right", "said", "gold")),
)  # fmt: skip
_ABOUT = {
    "choice_accuracy": "choices", "choice_accuracy_lenient": "choices", "decision_accuracy": "decisions",
    "decision_macro_f1": "decisions", "decision_f1_yes": "decisions", "rouge_l": "texts", "token_f1": "texts",
    "negation_agreement": "texts", "number_agreement": "texts",
}  # fmt: skip
"""Figure -> the rows that it is about; where a task has none such, it is left out instead of undefined."""
_ROWS_OF: dict[str, tuple[str, ...]] = {
    **{name: (column,) for name, column in _ABOUT.items()},
    **dict.fromkeys(("accuracy", "accuracy_lenient"), ("choices", "decisions")),
    "negation_agreement": ("negations",), "number_agreement": ("numbers",),
}  # fmt: skip
_KINDS: dict[str, Kind] = {"choice": "choice", "decision": "decision", "free-text": "text"}


class Answer(NamedTuple):
    """``value`` is an option's mark (several joined by commas), a decision in lower case, or a text; None without answer."""

    kind: Kind
    value: str | None


class QaTask:
    """Scores the option or decision where the gold answer is one, else the text's overlap with the gold answer."""

    name = "qa"

    def __init__(self, contracts: Contracts | None = None) -> None:
        self.contracts = contracts or Contracts()

    def matches(self, example: Example) -> bool:
        """Match what has a gold answer and belongs to no other task of medtune's own."""
        return self.contracts.task_of(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - a rationale may be long
        """Return room for a rationale before the answer."""
        return _ANSWER_TOKENS

    def parse(self, text: str, example: Example) -> Answer:
        """Return the answer in ``text``, of the kind that the gold answer has."""
        return _read(text, self._gold(example).kind, example)

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score accuracy of options and decisions, ROUGE-L and token F1 of texts."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count right answers, overlap and missing answers per row."""
        import numpy as np

        from medtune.evaluation.tally import Tally

        rows = [_row(p, self._gold(p.example)) for p in predictions]
        counts = np.array(rows, dtype=np.float64).reshape(len(predictions), len(_COLUMNS))
        kinds = [_COLUMNS.index(name) for name in ("choices", "decisions", "texts")]
        closed = bool(counts[:, kinds[:2]].any())
        absent = {
            name for name, column in _ABOUT.items() if len(counts) and not counts[:, _COLUMNS.index(column)].any()
        }

        def figures(sums: "Array") -> dict[str, "Array"]:
            return {name: value for name, value in _figures(sums).items() if name not in absent}

        def details(chosen: Sequence[int]) -> dict[str, Any]:
            sums = counts[np.asarray(chosen, dtype=np.intp)].sum(axis=0)
            return {
                "kinds": {kind: int(sums[i]) for kind, i in zip(("choice", "decision", "text"), kinds, strict=True)}
            }

        def rows_of(chosen: Sequence[int]) -> dict[str, int]:
            sums = counts[np.asarray(chosen, dtype=np.intp)].sum(axis=0)
            return {name: int(sum(sums[_COLUMNS.index(c)] for c in columns)) for name, columns in _ROWS_OF.items()}

        main = "accuracy" if closed else "rouge_l"
        return Tally(main, counts, figures, FAILURES, details, secondary="rouge_l", rows_of=rows_of)

    def _gold(self, example: Example) -> Answer:
        contract = self.contracts.of(example)
        kind = _KINDS.get(contract.kind) if contract is not None else None
        if kind is None:
            found = _gold(answer_of(example), question_of(example))
        else:
            found = _read(answer_of(example), kind, example)
        return Answer(found.kind, None) if is_missing(answer_of(example)) else found


def gold_kind(answer: str, question: str) -> Kind:
    """Say what a gold answer is: an option that the question lists, yes, no or maybe, or a text."""
    return _gold(answer, question).kind


def _row(prediction: Prediction, gold: Answer) -> tuple[float, ...]:
    example = prediction.example
    found = _read(prediction.text, gold.kind, example)
    right = found.value is not None and found.value == gold.value
    leniently = right
    if gold.kind != "text" and gold.value is not None and not right:
        leniently = _leniently(prediction.text, gold.kind, example) == gold.value
    is_choice, is_decision, is_text = (gold.kind == kind for kind in ("choice", "decision", "text"))
    texts = (found.value or "", gold.value or "")
    agrees = agreement(*texts) if is_text and found.value and gold.value else None
    return (
        1,
        is_choice,
        is_choice and right,
        is_choice and leniently,
        is_decision,
        is_decision and right,
        is_decision and leniently,
        is_text,
        rouge_l(*texts) if is_text and gold.value else 0,
        token_f1(*texts) if is_text and found.value and gold.value else 0,
        agrees is not None and agrees.negation is not None,
        agrees is not None and agrees.negation is True,
        agrees is not None and agrees.number is not None,
        agrees is not None and agrees.number is True,
        found.value is None,
        prediction.truncated,
        not prediction.text.strip(),
        *(is_decision and part for name in _DECISIONS for part in _of_decision(name, found.value, gold.value)),
    )


def _of_decision(name: str, found: str | None, gold: str | None) -> tuple[bool, bool, bool]:
    return found == gold == name, found == name, gold == name


def _gold(text: str, question: str) -> Answer:
    """Say what a gold answer is; its rationale, if any, is not scored."""
    final = _final_part(text)
    if len(final) <= _LONGEST_CHOICE or says_option(final):
        options = options_in(question)
        bare = bare_answer(final)
        mark = choice_in(final, options)
        if mark is None and says_option(final):  # of several, or of one that is not listed
            return Answer("choice", None)
        if mark is not None and (options or "option" in final.lower() or (len(bare) == 1 and bare.isupper())):
            return Answer("choice", mark)
        if _GOLD_DECISION.fullmatch(bare):
            return Answer("decision", bare.lower())
    return Answer("text", final.strip())


def _read(text: str, kind: Kind, example: Example) -> Answer:
    final = _final_part(text)
    if kind == "choice":
        return Answer(kind, choice_in(final, options_in(question_of(example))))
    if kind == "decision":
        bare = bare_answer(final)
        if (plain := bare.lower()) in _DECISIONS:  # as nearly all are
            return Answer(kind, plain)
        found = _DECISION.match(bare)
        is_said = found and not _is_open(bare, found[1]) and not is_denied(bare, 0, found.end())
        return Answer(kind, found[1].lower() if found and is_said else None)
    return Answer(kind, final.strip() or None)


def _leniently(text: str, kind: Kind, example: Example) -> str | None:
    """Return the option or decision that stands in a sentence."""
    final = _final_part(text)
    if kind == "choice":
        return choice_in(final, options_in(question_of(example)), lenient=True)
    said = [each for each in _SAID_DECISION.finditer(final) if not _is_open(final[each.start(1) :], each[1])]
    if not said and _OPEN_DECISION.search(final):
        return None
    places = [each for each in said or _DECISION.finditer(final) if not is_denied(final, each.start(1), each.end(1))]
    words = {each[1].lower() for each in places}
    return words.pop() if len(words) == 1 else None


def _is_open(text: str, said: str) -> bool:
    """Whether a text begins with another decision beside the one that is said first."""
    found = _OPEN_DECISION.match(text)
    return found is not None and {word.lower() for word in _DECISION.findall(found[0])} != {said.lower()}


def _final_part(text: str) -> str:
    """Return what stands behind the last answer mark, the whole text without one."""
    return _MARK.split(text)[-1]


def _figures(sums: "Array") -> dict[str, "Array"]:
    from medtune.evaluation.tally import f1, ratio

    of = {name: sums[..., i] for i, name in enumerate(_COLUMNS)}
    closed = of["choices"] + of["decisions"]
    return {
        "accuracy": ratio(of["choices_right"] + of["decisions_right"], closed),
        "accuracy_lenient": ratio(of["choices_lenient"] + of["decisions_lenient"], closed),
        "choice_accuracy": ratio(of["choices_right"], of["choices"]),
        "choice_accuracy_lenient": ratio(of["choices_lenient"], of["choices"]),
        "decision_accuracy": ratio(of["decisions_right"], of["decisions"]),
        "decision_macro_f1": _macro(of),
        "decision_f1_yes": f1(of["yes_right"], of["yes_said"], of["yes_gold"]),
        "rouge_l": ratio(of["rouge_l"], of["texts"]),
        "token_f1": ratio(of["token_f1"], of["texts"]),
        "negation_agreement": ratio(of["negations_agree"], of["negations"]),
        "number_agreement": ratio(of["numbers_agree"], of["numbers"]),
        "invalid_answer": ratio(of["unanswered"], of["rows"]),
        "truncated": ratio(of["truncated"], of["rows"]),
        "empty": ratio(of["empty"], of["rows"]),
    }


def _macro(of: "dict[str, Array]") -> "Array":
    """Return the mean F1 of the decisions that occur in gold answers."""
    import numpy as np

    from medtune.evaluation.tally import f1, ratio

    each = [np.nan_to_num(f1(*(of[f"{name}_{part}"] for part in ("right", "said", "gold")))) for name in _DECISIONS]
    occurs = [of[f"{name}_gold"] > 0 for name in _DECISIONS]
    return ratio(np.sum([e * o for e, o in zip(each, occurs, strict=True)], axis=0), np.sum(occurs, axis=0))
