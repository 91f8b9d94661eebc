"""Tells what answers without a shape of their own are: options, decisions, labels, lists, texts; or that it cannot be told."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medtune.evaluation.extracted_items import says_nothing
from medtune.evaluation.icd import are_codes, as_code
from medtune.evaluation.list_marks import ITEM_MARKS, LABEL_MARKS, LAST_ITEM_MARKS
from medtune.evaluation.medtuned import NLI_LABELS
from medtune.evaluation.negative_labels import says_something
from medtune.evaluation.plain_text import normal
from medtune.evaluation.tasks.label_sets import label_separator, perhaps_separator
from medtune.specs.tasks import TaskKind

if TYPE_CHECKING:
    from medtune.evaluation.source_survey import SourceRows

__all__ = ["Told", "tell_rest"]

_LONGEST_LABEL = 80
_REPEATED = 3
"""Rows for each label on average, from which short answers are a closed set."""
_LEAST_ROWS = 10
_NEARLY_ALL = 0.98
_FEW = 0.02
_COPIED = 0.8
_LISTED = 0.8
_WORDS, _LONG = 4, 8
_DISTINCT = 0.7


@dataclass(frozen=True, slots=True)
class Told:
    """What answers are.

    Attributes:
        kind: None where it cannot be told.
        reason: how it is known, or why it is not.
        separator: what parts labels or items.
        candidates: kinds that it may be.
    """

    kind: TaskKind | None
    reason: str
    separator: str = ""
    candidates: tuple[TaskKind, ...] = (
        "classification",
        "multi-label",
        "choice",
        "free-text",
        "extraction",
        "question",
    )

    @staticmethod
    def separator_of(answers: Counter[str], *, always: bool = False) -> str:
        """Return what parts labels; with ``always`` the likeliest where that cannot be measured."""
        found = label_separator(answers)
        if found or not always:
            return found
        return next((sign for sign in LABEL_MARKS if any(sign in answer for answer in answers)), ",")

    @staticmethod
    def items_separator(answers: Sequence[str], *, are_lists: bool = False) -> str:
        """Return what parts the items of answers: the least ambiguous sign that some has; fewer signs where they may be texts."""
        return next(
            (
                sign
                for sign in (*ITEM_MARKS, *LAST_ITEM_MARKS[: 1 + are_lists])
                if any(sign in answer.strip() for answer in answers)
            ),
            ";",
        )


def tell_rest(seen: "SourceRows", *, known_entities: bool) -> Told:
    """Tell what the rows of a source without a shape of their own are.

    Args:
        seen: of the source.
        known_entities: whether its name is that of a set of entities.
    """
    rows, choices, decisions = seen.shapes["rest"], seen.forms["choice"], seen.forms["decision"]
    texts = seen.forms["text"]
    answers = seen.answers.get("rest", Counter[str]())
    if choices >= _NEARLY_ALL * rows:
        return Told("choice", f"{choices:,} answers name an option")
    if decisions >= _NEARLY_ALL * rows:
        return Told("decision", f"{decisions:,} answers are yes, no or maybe")
    if texts <= _FEW * rows and choices + decisions > 0:
        return Told("question", f"{choices:,} answers name an option, {decisions:,} are yes, no or maybe")
    if listed := _lists(seen, known_entities=known_entities):
        return listed
    if choices <= _FEW * rows and (closed := _closed(answers, rows)):
        return closed
    if _is_text(seen):
        mixed = choices + decisions > _FEW * rows
        return Told(
            "question" if mixed else "free-text", f"{texts:,} answers are texts, {choices + decisions:,} are not"
        )
    short = sum(answers.values())
    if short == rows and len(answers) == 1:
        return Told(None, "all of them are the same, which may be a label or a text")
    why = f"{short:,} of {rows:,} are short, {len(answers):,} of them different"
    return Told(None, f"{why}: neither few labels given again and again nor plainly free text")


def _closed(answers: Counter[str], rows: int) -> Told | None:
    """Tell labels: short answers of which each is given three times on average, or codes."""
    counted = sum(answers.values())
    short = sum(times for answer, times in answers.items() if len(answer) <= _LONGEST_LABEL and "\n" not in answer)
    if counted >= _NEARLY_ALL * rows and (codes := _codes(answers, rows)):
        return codes
    if separator := label_separator(answers):
        total = sum(times * len(answer.split(separator)) for answer, times in answers.items())
        if counted >= _NEARLY_ALL * rows:
            return Told("multi-label", f"{total:,} labels in {rows:,} answers, each given several times", separator)
    if short < _NEARLY_ALL * rows or len(answers) < 2:  # noqa: PLR2004 - one answer tells no set
        return None
    if {*answers} <= {*NLI_LABELS} and {"Entailment", "Contradiction"} & {*answers}:
        return Told("inference", f"its {rows:,} answers are labels of inference")
    if rows >= _LEAST_ROWS and rows >= _REPEATED * len(answers):
        if sign := perhaps_separator(answers):
            why = f"{len(answers):,} different answers in {rows:,} rows, which may be labels or sets of labels joined by {sign!r}"
            return Told(None, why, candidates=("multi-label", "classification"))
        return Told("classification", f"{len(answers):,} different answers in {rows:,} rows")
    return None


def _codes(answers: Counter[str], rows: int) -> Told | None:
    """Tell codes of the ICD, one each or several; rows that say "none" and slips of the pen may stand among them."""
    said = says_something(answers)
    for separator in LABEL_MARKS:
        parts = [part.strip() for answer in said for part in answer.split(separator) if part.strip()]
        several = sum(all(map(as_code, whole)) for answer in said if len(whole := answer.split(separator)) > 1)
        if several and are_codes(says_something(parts)):
            return Told("multi-label", f"the answers of {rows:,} rows list codes of the ICD", separator)
    coded = sum(answers[answer] for answer in said)
    return Told("classification", f"{coded:,} of {rows:,} answers are codes of the ICD") if are_codes(said) else None


def _lists(seen: "SourceRows", *, known_entities: bool) -> Told | None:
    """Tell lists: of keys with values, or of parts that the question holds and other questions do not."""
    sample = [(normal(question), normal(answer)) for question, answer in seen.sample]
    texts = [answer.strip() for _question, answer in sample]
    paired = sum(all(_is_pair(line) for line in text.split("\n") if line.strip()) and ":" in text for text in texts)
    if paired >= _LISTED * len(texts) and any("\n" in text for text in texts):
        return Told("extraction", f"{paired:,} of {len(texts):,} answers are lines of keys and values", "\n")
    separator = Told.items_separator(texts)
    parted = [
        (question, [p.strip() for p in a.split(separator.strip() or separator) if p.strip()])
        for question, a in sample
        if not says_nothing(a)
    ]
    several = sum(len(parts) > 1 for _question, parts in parted)
    if not several:
        return None
    total = sum(len(parts) for _question, parts in parted)
    copied = sum(part.casefold() in question.casefold() for question, parts in parted for part in parts)
    if copied < _COPIED * total:
        return None
    if not known_entities and _are_offered(parted):
        return None
    return Told("extraction", f"{copied:,} of {total:,} listed items stand in the question", separator)


def _are_offered(parted: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether the parts stand in most questions, so that they are labels to choose from."""
    parts = [part.casefold() for part, _n in Counter(p for _q, of in parted for p in of).most_common(20)]
    questions = [question.casefold() for question, _parts in parted[:50]]
    held = sum(part in question for part in parts for question in questions)
    return held >= _COPIED * len(parts) * len(questions)


def _is_pair(line: str) -> bool:
    key, separator, value = line.partition(":")
    return (
        bool(separator and key.strip() and value.strip())
        and len(key) <= _LONGEST_LABEL
        and len(value) <= _LONGEST_LABEL
    )


def _is_text(seen: "SourceRows") -> bool:
    """Whether half of the answers are long, or longer than names and hardly ever the same."""
    rows, place = seen.shapes["rest"], 0
    middle = 0
    for length, times in sorted(seen.lengths.items()):
        place += times
        if 2 * place >= rows:
            middle = length
            break
    different = len(seen.answers.get("rest", ())) + seen.longer["rest"]
    return middle >= _LONG or (middle >= _WORDS and different >= _DISTINCT * rows)
