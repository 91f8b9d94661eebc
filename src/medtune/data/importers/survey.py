"""Looks over a whole file before anything is written: which types there are, in which scheme, cut how."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from medtune.data.importers.documents import Document, Mention, Record, Relation, Sentence, Told
from medtune.data.importers.offsets import place_document
from medtune.data.importers.schemes import Scheme, split_tag
from medtune.data.importers.words import SpacedWords
from medtune.errors import DataError

__all__ = ["Survey", "ends_of", "survey"]

_MOST_TYPES = 1000
_MISPLACED = 0.5
"""Share of mentions that are not at their offsets from which the offsets are another text's."""
_FIRST, _LAST = 1, 4
"""Numbers that the options of MedMCQA's own release have."""


@dataclass
class Survey:
    """What a file holds.

    Attributes:
        documents: texts, or -- for tags and questions -- distinct names of documents.
        mentions: marked entities.
        relations: marked relations.
        types: of mentions, as often as they occur.
        relation_types: of relations.
        pairs: unordered pairs of mention types between which a relation stands.
        scheme: of the tags, for a file of columns.
        spaced: whether texts were cut into tokens before.
        option_numbers: values of MedMCQA's ``cop``.
    """

    documents: int = 0
    mentions: int = 0
    relations: int = 0
    types: Counter[str] = field(default_factory=Counter[str])
    relation_types: Counter[str] = field(default_factory=Counter[str])
    pairs: set[frozenset[str]] = field(default_factory=set[frozenset[str]])
    scheme: Scheme = field(default_factory=Scheme)
    spaced: SpacedWords = field(default_factory=SpacedWords)
    option_numbers: Counter[int] = field(default_factory=Counter[int])

    def first_option(self, path: str) -> int:
        """Return the number of the first option in ``cop``: 0 or 1, by what occurs.

        Raises:
            DataError: both 0 and 4 occur, or neither does, so that nobody knows.
        """
        numbers = set(self.option_numbers)
        if numbers - set(range(_LAST + 1)) or {0, _LAST} <= numbers:
            raise DataError(
                f"'{path}' has options numbered from {min(numbers)} to {max(numbers)} in 'cop'; there are four"
            )
        if 0 in numbers:
            return 0
        if _LAST in numbers:
            return _FIRST
        raise DataError(
            f"'{path}' has neither 0 nor 4 in 'cop', so its options may be counted from 0 or from 1; say which with "
            "--first-option"
        )


def survey(records: Iterable[Record], path: str) -> Survey:
    """Look over all records.

    Raises:
        DataError: the offsets are not those of these texts, or there are too many types to be labels.
    """
    found, told = Survey(), Told()
    named: set[str] = set()
    for record in records:
        if isinstance(record, Document):
            _look_at_document(record, found, told)
            continue
        if record.document not in named:
            named.add(record.document)
        if isinstance(record, Sentence):
            _look_at_tags(record, found)
        elif record.formatter == "medmcqa":
            found.option_numbers[record.row["cop"]] += 1
    found.documents = found.documents or len(named - {""})
    misplaced = told.left_out["mentions whose text is not at their offsets"]
    if misplaced > _MISPLACED * found.mentions:
        place = told.places["mentions whose text is not at their offsets"]
        raise DataError(
            f"{misplaced} of {found.mentions} mentions in '{path}' are not at their offsets (first in {place}), counted in "
            "characters, in UTF-16 code units or in UTF-8 bytes; the offsets belong to another text: export both again"
        )
    if len(found.types) > _MOST_TYPES:
        raise DataError(
            f"'{path}' has {len(found.types)} types of mentions; more than {_MOST_TYPES} are no set of labels"
        )
    return found


def ends_of(relation: Relation, document: Document) -> tuple[list[Mention], list[Mention]]:
    """Return the mentions at either end of a relation; a concept has all its mentions."""
    every = [m for passage in document.passages for m in passage.mentions]
    if relation.by == "mention":
        return [m for m in every if m.id == relation.first], [m for m in every if m.id == relation.second]
    return [m for m in every if relation.first in m.concepts], [m for m in every if relation.second in m.concepts]


def _look_at_document(document: Document, found: Survey, told: Told) -> None:
    found.documents += 1
    found.mentions += sum(len(passage.mentions) for passage in document.passages)
    found.relations += len(document.relations)
    placed = place_document(document, told)
    if placed is None:
        return
    for passage in placed.passages:
        found.spaced.look_at(passage.text)
        found.types.update(m.type for m in passage.mentions)
    for relation in placed.relations:
        found.relation_types[relation.type] += 1
        first, second = ends_of(relation, placed)
        found.pairs |= {frozenset((a.type, b.type)) for a in first for b in second}


def _look_at_tags(sentence: Sentence, found: Survey) -> None:
    found.scheme.look_at(sentence.tags, bare=sentence.bare)
    for prefix, kind in map(split_tag, sentence.tags):
        if prefix in "BSU":
            found.mentions += 1
        if prefix != "O":
            found.types[kind] += 1
