"""Says which of medtune's own tasks an example belongs to, by its source or else by its shape."""

import re
from collections.abc import Sequence
from functools import lru_cache

from medtune.evaluation.spans import read_label
from medtune.plugins.contracts import Example

__all__ = ["HALLMARKS", "NLI_LABELS", "NO_RELATION", "RELATIONS", "answer_of", "question_of", "recognise"]

SOURCES = {
    "ncbi-disease": "ner",
    "bc5cdr-disease": "ner",
    "bc5cdr-chem": "ner",
    "bc2gm": "ner",
    "jnlpba": "ner",
    "i2b2-2012": "ner",
    "i2b2-2010": "relation",
    "mednli": "nli",
    "hoc": "classification",
    "chatdoctor": "qa",
    "pmc_llama": "qa",
}
"""Sources of Llama2-MedTuned-Instructions, in lower case, and their task."""

NLI_LABELS = ("Contradiction", "Entailment", "Neutral")
NO_RELATION = "No Relations"
RELATIONS = ("PIP", "TeCP", "TeRP", "TrAP", "TrCP", "TrIP", "TrNAP", "TrWP", NO_RELATION)
HALLMARKS = (
    "Sustaining proliferative signaling (PS)",
    "Evading growth suppressors (GS)",
    "Resisting cell death (CD)",
    "Enabling replicative immortality (RI)",
    "Inducing angiogenesis (A)",
    "Activating invasion & metastasis (IM)",
    "Genome instability & mutation (GI)",
    "Tumor-promoting inflammation (TPI)",
    "Deregulating cellular energetics (CE)",
    "Avoiding immune destruction (ID)",
)

_MASK = re.compile(r"@(problem|test|treatment)\$")
_PAIR = re.compile(r"^Sentence 1:.*^Sentence 2:", re.DOTALL | re.MULTILINE)
_HALLMARK_WORDS = re.compile(r"\bhallmarks?\b", re.IGNORECASE)


def question_of(example: Example) -> str:
    """Return what was asked: every message but the last, joined by blank lines."""
    return "\n\n".join(message["content"] for message in example.messages[:-1])


def answer_of(example: Example) -> str:
    """Return the gold answer."""
    return example.messages[-1]["content"]


def recognise(example: Example) -> str | None:
    """Return the one task of medtune's own that fits ``example``, None when it has no gold answer.

    A known source decides. Otherwise the shape does, the most specific one first: lines of tokens with labels, masked
    concepts, a pair of sentences, hallmark labels; anything else that was answered is a question with its answer.
    """
    if known := SOURCES.get(example.source.lower()):
        return known
    if len(example.messages) < 2:  # noqa: PLR2004 - a question and an answer
        return None
    return _by_shape(question_of(example), answer_of(example))


@lru_cache(maxsize=8)  # every task asks about the same example, one right after the other
def _by_shape(question: str, answer: str) -> str | None:
    lines = [line.strip() for line in answer.split("\n") if line.strip()]
    if not lines:
        return None
    if _labels_every_token(question, lines):
        return "ner"
    if _MASK.search(question) and lines in ([label] for label in RELATIONS):
        return "relation"
    if lines in ([label] for label in NLI_LABELS) or _PAIR.search(question):
        return "nli"
    if _HALLMARK_WORDS.search(question) and set(lines[0].split(", ")) <= {*HALLMARKS, "None"}:
        return "classification"
    return "qa"


def _labels_every_token(question: str, lines: Sequence[str]) -> bool:
    """Say whether all lines are a token with its label.

    A single line only counts when its token was asked about, and so do labels of rarer schemes, which are also words.
    """
    parts = [line.rpartition(" : ") if " : " in line else line.rpartition("\t") for line in lines]
    labels = [read_label(label.strip()) for _token, _separator, label in parts]
    if not all(token and label for (token, _separator, _label), label in zip(parts, labels, strict=True)):
        return False
    is_plain = len(parts) > 1 and all(label.prefix in "BIO" for label in labels if label)
    return is_plain or all(token.strip() in question for token, _separator, _label in parts)
