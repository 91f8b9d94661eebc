"""The task of answering a question: by an option, by yes or no, or in free text."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from medtune.evaluation.overlap import rouge_l, token_f1
from medtune.evaluation.recognition import answer_of, recognise
from medtune.evaluation.tasks.labels import FAILURES, bare_answer
from medtune.plugins.contracts import Example, Prediction, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.tally import Array, Tally

__all__ = ["Answer", "QaTask"]

Kind = Literal["choice", "decision", "text"]

_ANSWER_TOKENS = 512
_MARK = re.compile(r"#{1,3}\s*Answer\s*:", re.IGNORECASE)
_OPTION_SENTENCE = re.compile(r"\boption\s+\(?([a-j])\)?\s+is\s+correct\b", re.IGNORECASE)
_OPTION_ALONE = re.compile(r"(?:(?i:option)\s+)?\(?([A-J])\)?(?:\s*[.):]\s.*)?", re.DOTALL)
_DECISION = re.compile(r"(yes|no|maybe)\b", re.IGNORECASE)
_GOLD_DECISION = re.compile(r"(yes|no|maybe)", re.IGNORECASE)
_COLUMNS = (
    "rows", "choices", "choices_right", "decisions", "decisions_right", "texts", "rouge_l", "token_f1",
    "unanswered", "truncated", "empty",
)  # fmt: skip


class Answer(NamedTuple):
    """``value`` is an option's letter, a decision in lower case, or a text; None when there is no answer."""

    kind: Kind
    value: str | None


class QaTask:
    """Scores the option or decision where the gold answer is one, else the text's overlap with the gold answer."""

    name = "qa"

    def matches(self, example: Example) -> bool:
        """Match what has a gold answer and belongs to no other task of medtune's own."""
        return recognise(example) == self.name

    def max_new_tokens(self, example: Example, prompt_tokens: int) -> int:  # noqa: ARG002 - a rationale may be long
        """Return room for a rationale before the answer."""
        return _ANSWER_TOKENS

    def parse(self, text: str, example: Example) -> Answer:
        """Return the answer in ``text``, of the kind that the gold answer has."""
        return _read(text, _gold(answer_of(example)).kind)

    def score(self, predictions: Sequence[Prediction]) -> TaskScore:
        """Score accuracy of options and decisions, ROUGE-L and token F1 of texts."""
        from medtune.evaluation.statistics import summarise

        return summarise(self.tally(predictions))

    def tally(self, predictions: Sequence[Prediction]) -> "Tally":
        """Count right answers, overlap and missing answers per row."""
        import numpy as np

        from medtune.evaluation.tally import Tally

        counts = np.array([_row(p) for p in predictions], dtype=np.float64).reshape(len(predictions), len(_COLUMNS))
        closed = bool(counts[:, [1, 3]].any())

        def details(chosen: Sequence[int]) -> dict[str, Any]:
            sums = counts[np.asarray(chosen, dtype=np.intp)].sum(axis=0)
            return {"kinds": {kind: int(sums[i]) for kind, i in (("choice", 1), ("decision", 3), ("text", 5))}}

        return Tally("accuracy" if closed else "rouge_l", counts, _figures, FAILURES, details)


def _row(prediction: Prediction) -> tuple[float, ...]:
    gold = _gold(answer_of(prediction.example))
    found = _read(prediction.text, gold.kind)
    right = found.value is not None and found.value == gold.value
    is_text = gold.kind == "text"
    texts = (found.value or "", gold.value or "")
    return (
        1,
        gold.kind == "choice",
        gold.kind == "choice" and right,
        gold.kind == "decision",
        gold.kind == "decision" and right,
        is_text,
        rouge_l(*texts) if is_text else 0,
        token_f1(*texts) if is_text and found.value else 0,
        found.value is None,
        prediction.truncated,
        not prediction.text.strip(),
    )


def _gold(text: str) -> Answer:
    """Say what a gold answer is; its rationale, if any, is not scored."""
    final = _final_part(text)
    if found := _OPTION_SENTENCE.search(final):
        return Answer("choice", found[1].upper())
    bare = bare_answer(final)
    if re.fullmatch(r"[A-J]", bare):
        return Answer("choice", bare)
    if _GOLD_DECISION.fullmatch(bare):
        return Answer("decision", bare.lower())
    return Answer("text", final.strip())


def _read(text: str, kind: Kind) -> Answer:
    final = _final_part(text)
    if kind == "choice":
        return Answer(kind, _option(final))
    if kind == "decision":
        found = _DECISION.match(bare_answer(final))
        return Answer(kind, found[1].lower() if found else None)
    return Answer(kind, final.strip() or None)


def _final_part(text: str) -> str:
    """Return what stands behind the last answer mark, the whole text without one."""
    return _MARK.split(text)[-1]


def _option(text: str) -> str | None:
    """Return the one option that ``text`` names; None when it names none, or several."""
    named = {letter.upper() for letter in _OPTION_SENTENCE.findall(text)}
    if not named and (alone := _OPTION_ALONE.fullmatch(bare_answer(text))):
        named = {alone[1]}
    return named.pop() if len(named) == 1 else None


def _figures(sums: "Array") -> dict[str, "Array"]:
    import numpy as np

    from medtune.evaluation.tally import ratio

    of = {name: sums[..., i] for i, name in enumerate(_COLUMNS)}
    right = of["choices_right"] + of["decisions_right"]
    return {
        "accuracy": ratio(right, of["choices"] + of["decisions"], np.nan),
        "choice_accuracy": ratio(of["choices_right"], of["choices"], np.nan),
        "decision_accuracy": ratio(of["decisions_right"], of["decisions"], np.nan),
        "rouge_l": ratio(of["rouge_l"], of["texts"], np.nan),
        "token_f1": ratio(of["token_f1"], of["texts"], np.nan),
        "invalid_answer": ratio(of["unanswered"], of["rows"]),
        "truncated": ratio(of["truncated"], of["rows"]),
        "empty": ratio(of["empty"], of["rows"]),
    }
