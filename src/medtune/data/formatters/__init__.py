"""The formatters that medtune brings along, one per shape of row, and what it takes to write another."""

from collections.abc import Sequence

from medtune.data.formatters.automatic import choose_formatter
from medtune.data.formatters.choice import MedMCQA, MedQA, PubMedQA
from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text
from medtune.data.formatters.decorator import formatter
from medtune.data.formatters.instruction import Alpaca, MedicalReasoning, QuestionAnswer
from medtune.data.formatters.turns import Messages, PromptCompletion
from medtune.plugins.contracts import PromptFormatter
from medtune.plugins.hookspecs import hookimpl

__all__ = [
    "MalformedRowError",
    "choose_formatter",
    "conversation",
    "formatter",
    "optional_text",
    "provide_formatters",
    "text",
]


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
