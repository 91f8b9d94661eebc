"""The formatters that medtune brings along, one per shape of row; ``"auto"`` chooses by the columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medtune.data.formatters.choice import MedMCQA, MedQA, PubMedQA
from medtune.data.formatters.conversation import Messages, PromptCompletion
from medtune.data.formatters.instruction import Alpaca, MedicalReasoning, QuestionAnswer
from medtune.errors import DataError
from medtune.plugins.contracts import Example, PromptFormatter
from medtune.plugins.hookspecs import hookimpl

__all__ = ["choose_formatter", "formatter", "provide_formatters"]


@hookimpl
def provide_formatters() -> Sequence[PromptFormatter]:
    """Provide the built-in formatters."""
    return [
        Alpaca(),
        MedMCQA(),
        MedQA(),
        MedicalReasoning("medical_o1", with_reasoning=True),
        MedicalReasoning("medical_o1_answer", with_reasoning=False),
        Messages(),
        PromptCompletion(),
        PubMedQA(),
        QuestionAnswer(),
    ]


def choose_formatter(columns: Iterable[str], formatters: Sequence[PromptFormatter]) -> PromptFormatter:
    """Choose by the columns: of the formatters whose ``columns`` are all there, the one that asks for most.

    Args:
        columns: names in the data set.
        formatters: candidates; those without a ``columns`` attribute are chosen by name only.

    Raises:
        DataError: none fits, or several do and none asks for more than the others.
    """
    there = set(columns)
    fitting = [f for f in formatters if _wanted(f) and _wanted(f) <= there]
    most = max((len(_wanted(f)) for f in fitting), default=0)
    best = [f for f in fitting if len(_wanted(f)) == most]
    if len(best) == 1:
        return best[0]
    names = ", ".join(f"'{f.name}'" for f in sorted(best or formatters, key=lambda f: f.name))
    listed = ", ".join(f"'{c}'" for c in sorted(there))
    if best:
        raise DataError(f"the columns {listed} fit several formatters: {names}; name one as data.formatter")
    raise DataError(f"no formatter fits the columns {listed}; name one as data.formatter ({names}) or write one")


def formatter(
    name: str, columns: Iterable[str] = ()
) -> Callable[[Callable[[Mapping[str, Any]], Example]], PromptFormatter]:
    """Make a formatter of a function from row to example.

    Args:
        name: what ``data.formatter`` takes.
        columns: columns by which ``"auto"`` recognises it; empty to be chosen by name only.

    >>> @formatter("notes", columns=["note", "summary"])
    ... def notes(row):
    ...     return Example([{"role": "user", "content": row["note"]}, {"role": "assistant", "content": row["summary"]}])
    >>> notes.name
    'notes'
    """
    return lambda function: _FunctionFormatter(name, function, frozenset(columns))


@dataclass(slots=True)
class _FunctionFormatter:
    name: str
    function: Callable[[Mapping[str, Any]], Example]
    columns: frozenset[str]

    def format(self, row: Mapping[str, Any]) -> Example:
        """Call the function."""
        return self.function(row)


def _wanted(candidate: PromptFormatter) -> frozenset[str]:
    return frozenset(getattr(candidate, "columns", ()))
