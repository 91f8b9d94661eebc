"""Synthetic instruction rows in the columns and shapes of Llama2-MedTuned-Instructions, from own templates and words."""

import math
from collections.abc import Callable, Collection, Iterator
from typing import Literal

from demo_base.curriculum import pretraining_text
from demo_base.draw import Draw, Split
from demo_base.hallmarks import hallmark_row
from demo_base.inference import inference_row
from demo_base.questions import consultation_row, question_row
from demo_base.relation import relation_row
from demo_base.tagging import TaggingTask

__all__ = ["FREE_TEXT_SOURCES", "Length", "SourceNames", "generate_rows", "pretraining_text", "source_names_of"]

SourceNames = Literal["demo", "medtuned"]
Length = Literal["short", "medtuned"]
_MakeRow = Callable[[Draw, int], tuple[str, str, str]]

_DISEASES = TaggingTask("disease", {"disease": ""}).row
_CHEMICALS = TaggingTask("chemical", {"chemical": ""}).row
_GENES = TaggingTask("gene or protein", {"gene": ""}).row
_EVENTS = TaggingTask("clinical event", {"disease": "PROBLEM", "test": "TEST", "chemical": "TREATMENT"}).row

_DEMO: dict[str, _MakeRow] = {
    "demo-ner-disease": _DISEASES,
    "demo-ner-chemical": _CHEMICALS,
    "demo-relation": relation_row,
    "demo-nli": inference_row,
    "demo-hallmarks": hallmark_row,
    "demo-qa": question_row,
}
_MEDTUNED: dict[str, _MakeRow] = {
    "NCBI-disease": _DISEASES,
    "BC5CDR-disease": _DISEASES,
    "BC5CDR-chem": _CHEMICALS,
    "BC2GM": _GENES,
    "JNLPBA": _GENES,
    "i2b2-2012": _EVENTS,
    "i2b2-2010": relation_row,
    "MedNLI": inference_row,
    "hoc": hallmark_row,
    "chatdoctor": consultation_row,
    "pmc_llama": question_row,
}
_SOURCES: dict[str, dict[str, _MakeRow]] = {"demo": _DEMO, "medtuned": _MEDTUNED}

# Words per row with length="medtuned": median and spread (standard deviation of the logarithm). Tagging and free text
# differ, because a tagged token stands in the row twice. Fitted to the real set in tokens of its default model: tagging
# has a median of about 240 and 99 % of about 500, free text is above 512 in about 15 % of rows, the others are a sentence.
_TAGGED_WORDS = (25.5, 0.4)
_FREE_WORDS = (140, 0.6)
_SENTENCE_WORDS = (30, 0.5)
FREE_TEXT_SOURCES = ("chatdoctor", "pmc_llama")
"""About half of the real set's rows; here a row in each turn like any other source."""


def source_names_of(source_names: SourceNames = "demo") -> tuple[str, ...]:
    """Return the sources that ``generate_rows`` makes rows of, in its order."""
    return tuple(_SOURCES[source_names])


def generate_rows(
    split: Split,
    rows_per_source: int,
    seed: int,
    source_names: SourceNames = "demo",
    length: Length = "short",
    sources: Collection[str] | None = None,
) -> Iterator[dict[str, str]]:
    """Yield rows with the columns ``instruction``, ``input``, ``output`` and ``source``.

    Sources take turns, so that any head of the stream is balanced. A row depends on its own place and the seed alone:
    asking for more rows never changes the earlier ones.

    Args:
        split: owner of the entities. No entity and no sentence of one split occurs in another, whatever the seed.
        rows_per_source: rows of each source.
        seed: anything else gives other rows.
        source_names: "demo" for the six sources of the demo, "medtuned" for the eleven of the real set.
        length: "short" for one sentence a row; "medtuned" for lengths like the real set's, with a tail of several
            thousand bytes.
        sources: only these; None for all.
    """
    makers = {name: make for name, make in _SOURCES[source_names].items() if sources is None or name in sources}
    for index in range(rows_per_source):
        for source, make in makers.items():
            draw = Draw(f"{seed}/{split}/{source}/{index}", split)
            instruction, text, output = make(draw, _wanted_words(draw, make, length))
            yield {"instruction": instruction, "input": text, "output": output, "source": source}


def _wanted_words(draw: Draw, make: _MakeRow, length: Length) -> int:
    if length == "short":
        return 6 + int(draw.rng.random() * 5)
    tagged = make in {_DISEASES, _CHEMICALS, _GENES, _EVENTS}
    free = make in {consultation_row, question_row}
    median, spread = _TAGGED_WORDS if tagged else _FREE_WORDS if free else _SENTENCE_WORDS
    return int(median * math.exp(draw.rng.gauss(0, spread)))
