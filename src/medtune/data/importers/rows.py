"""From what was read to rows: labelled tokens, masked pairs of mentions, and questions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from medtune.data.formatters import MalformedRowError, provide_formatters
from medtune.data.importers.documents import Document, Mention, Question, Sentence, Told
from medtune.data.importers.labelling import label_passage, reach
from medtune.data.importers.offsets import place_document
from medtune.data.importers.options import Marks, Task
from medtune.data.importers.schemes import tag_of
from medtune.data.importers.survey import Survey, ends_of
from medtune.data.importers.words import Place, sentences_of

__all__ = ["NO_RELATION", "ImportedRow", "RowMaker"]

NO_RELATION = "No Relations"
"""What MedTuned's rows answer where there is none."""
_ASKED = {
    "medqa_usmle": "Answer the question with the letter of the right option.",
    "medmcqa": "Answer the question with the letter of the right option.",
    "pubmedqa": "Read the text and answer the question with yes, no or maybe.",
    "question_answer": "Answer the question.",
    "text_label": "Name the class of the text.",
}


class ImportedRow(NamedTuple):
    """One row as it is written: MedTuned's columns and the document that it comes from."""

    instruction: str
    input: str
    output: str
    source: str
    document: str


class RowMaker:
    """Makes the rows of a file.

    Args:
        source: name given to all rows.
        surveyed: what the file holds, seen before.
        marks: how mentions become labels.
        first_option: number of the first option in MedMCQA's ``cop``.
        told: counts what is not taken over.
    """

    def __init__(self, source: str, surveyed: Survey, marks: Marks, first_option: int, told: Told) -> None:
        self._source, self._survey, self._marks = source, surveyed, marks
        self._first_option, self._told = first_option, told
        self._formatters = {f.name: f for f in provide_formatters()}
        self._tagging = _tagging(sorted(surveyed.types))
        self._relating = _relating(sorted(surveyed.relation_types))
        self.makers: Mapping[Task, Callable[[Any], Iterator[ImportedRow]]] = {
            Task.NER: self.tagged,
            Task.RELATION: self.related,
            Task.QA: self.asked,
        }

    def tagged(self, record: Document | Sentence) -> Iterator[ImportedRow]:
        """Yield a row per sentence: its tokens, and a line ``token : label`` for each."""
        if isinstance(record, Sentence):
            labels = self._survey.scheme.to_iob2(record.tags, self._told, record.place)
            yield self._tokens_row(record.tokens, labels, record.document)
            return
        self._told.leave_out("relations, which --task relation makes rows of", record.place, len(record.relations))
        placed = place_document(record, self._told)
        for passage in placed.passages if placed else ():
            for sentence in label_passage(passage, self._marks, self._told, record.place):
                tokens = [passage.text[a:b] for a, b in sentence.tokens]
                yield self._tokens_row(tokens, sentence.labels, record.id)

    def related(self, document: Document) -> Iterator[ImportedRow]:
        """Yield a row per pair of mentions in a sentence whose types stand in a relation somewhere in the file."""
        placed = place_document(document, self._told)
        if placed is None:
            return
        known = self._known(placed)
        used: set[int] = set()
        for passage in placed.passages:
            mentions = sorted(passage.mentions, key=reach)
            for sentence in sentences_of(passage.text, map(reach, mentions), by_lines=self._marks.by_lines):
                inside = [m for m in mentions if sentence.start <= reach(m).start < sentence.end]
                for first, second in combinations(inside, 2):
                    yield from self._pair(passage.text, sentence, (first, second), known, used, placed)
        lost = sum(number not in used for number in range(len(placed.relations)))
        self._told.leave_out("relations whose ends stand in no sentence together", document.place, lost)

    def asked(self, question: Question) -> Iterator[ImportedRow]:
        """Yield the row of a question, worded as its formatter words it."""
        row = dict(question.row)
        if question.formatter == "medmcqa":
            row["cop"] -= self._first_option
        try:
            example = self._formatters[question.formatter].format(row)
        except MalformedRowError as error:
            self._told.leave_out(f"questions in which {error}", question.place)
            return
        asked, answer = (message["content"] for message in example.messages)
        yield ImportedRow(_ASKED[question.formatter], asked, answer, self._source, question.document)

    def _tokens_row(self, tokens: Sequence[str], labels: Sequence[str], document: str) -> ImportedRow:
        lines = "\n".join(f"{token} : {label}" for token, label in zip(tokens, labels, strict=True))
        return ImportedRow(self._tagging, " ".join(tokens), lines, self._source, document)

    def _known(self, document: Document) -> dict[tuple[int, int], list[tuple[int, str]]]:
        """Return pairs of mentions (by identity), in either order, with the number and type of each of their relations."""
        known: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for number, relation in enumerate(document.relations):
            first, second = ends_of(relation, document)
            if not first or not second:
                self._told.note("relations with an end that is no mention", document.place)
            for a in first:
                for b in second:
                    known.setdefault((id(a), id(b)), []).append((number, relation.type))
        return known

    def _pair(
        self,
        text: str,
        sentence: Place,
        pair: tuple[Mention, Mention],
        known: Mapping[tuple[int, int], list[tuple[int, str]]],
        used: set[int],
        document: Document,
    ) -> Iterator[ImportedRow]:
        """Yield the row of a pair; a pair of types that never stand in a relation gives none."""
        first, second = pair
        if frozenset((first.type, second.type)) not in self._survey.pairs:
            return
        if reach(second).start < reach(first).end:
            self._told.leave_out("pairs of mentions that overlap", document.place)
            return
        there, back = known.get((id(first), id(second)), []), known.get((id(second), id(first)), [])
        used.update(number for number, _type in (*there, *back))
        kinds = list(dict.fromkeys(kind for _number, kind in (*there, *back)))
        self._told.note("relations written though their ends stand in the other order", document.place, len(back))
        self._told.leave_out("further relations of a pair", document.place, max(0, len(kinds) - 1))
        answer = kinds[0] if kinds else NO_RELATION
        yield ImportedRow(self._relating, _masked(text, sentence, pair), answer, self._source, document.id)


def _masked(text: str, sentence: Place, pair: tuple[Mention, Mention]) -> str:
    """Return the sentence with both mentions replaced by ``@type$``, white space as single blanks."""
    (a, b), (c, d) = map(reach, pair)
    first, second = (f"@{tag_of('', m.type or 'entity').removeprefix('-').lower()}$" for m in pair)
    pieces = (text[sentence.start : a], first, text[b:c], second, text[d : sentence.end])
    return " ".join("".join(pieces).split())


def _tagging(types: Sequence[str]) -> str:
    named = [kind for kind in types if kind]
    if not named:
        labels = "B where a mention begins, I where it goes on, O elsewhere"
    else:
        listed = ", ".join(f"{tag_of('B', kind)} and {tag_of('I', kind)}" for kind in named)
        labels = f"{listed} where a mention of that type begins and goes on, O elsewhere"
    return f"Label every token of the text: {labels}. Write one line per token: the token, ' : ' and its label."


def _relating(types: Sequence[str]) -> str:
    return f"Name the relation between the two masked mentions: {', '.join(types)}, or {NO_RELATION}."
