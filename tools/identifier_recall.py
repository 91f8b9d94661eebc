"""Measures what the rules for identifiers find in synthetic notes, and what they flag where there is nothing."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import clinical_notes
import ward_notes
from medtune.data.identifiers.finding import find_identifiers

__all__ = ["Measured", "measure", "measure_ward"]

_SENTENCE = re.compile(r"[^\n.!?]+(?:[.!?](?!\s)[^\n.!?]*)*[.!?]?")
_TOKEN = re.compile(r"\S+")


@dataclass
class Measured:
    """Counts over notes with identifiers and over clean ones.

    An identifier is found when findings cover each of its letters and digits; ``touched`` when they cover one.
    ``there_in`` and ``found_in`` count by genre.
    """

    there: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    there_in: Counter[str] = field(default_factory=Counter)
    found_in: Counter[str] = field(default_factory=Counter)
    notes: int = 0
    flagged_notes: int = 0
    sentences: int = 0
    flagged_sentences: int = 0
    tokens: int = 0
    flagged_tokens: int = 0
    outside_tokens: int = 0
    flagged_outside: int = 0

    @property
    def recall(self) -> float:
        """Share of the identifiers that are found."""
        return self.found.total() / max(1, self.there.total())

    @property
    def false_alarms(self) -> float:
        """Share of the sentences of clean notes in which something is flagged."""
        return self.flagged_sentences / max(1, self.sentences)

    def take(self, text: str, identifiers: Iterable[tuple[str, int, int]], genre: str = "") -> None:
        """Count what is found of the identifiers of a note."""
        findings = find_identifiers(text)
        covered = _covered(text, findings)
        inside = bytearray(len(text))
        for kind, start, end in identifiers:
            inside[start:end] = b"\1" * (end - start)
            places = [at for at in range(start, end) if text[at].isalnum()]
            whole = all(covered[at] for at in places)
            self.there[kind] += 1
            self.found[kind] += whole
            self.there_in[genre] += 1
            self.found_in[genre] += whole
            self.touched[kind] += any(covered[at] for at in places)
            self.named[kind] += any(f.kind == kind and f.start < end and start < f.end for f in findings)
        for token in _TOKEN.finditer(text):
            if not any(inside[token.start() : token.end()]):
                self.outside_tokens += 1
                self.flagged_outside += any(covered[token.start() : token.end()])

    def take_clean(self, text: str) -> None:
        """Count what is flagged in a note without identifiers."""
        covered = _covered(text, find_identifiers(text))
        self.notes += 1
        self.flagged_notes += any(covered)
        for counted, flagged, pattern in (
            ("sentences", "flagged_sentences", _SENTENCE),
            ("tokens", "flagged_tokens", _TOKEN),
        ):
            spans = [m.span() for m in pattern.finditer(text) if m[0].strip()]
            setattr(self, counted, getattr(self, counted) + len(spans))
            setattr(self, flagged, getattr(self, flagged) + sum(any(covered[a:b]) for a, b in spans))


def measure(languages: Iterable[str], seeds: Iterable[int], count: int) -> Measured:
    """Return what is found in ``count`` notes, and in as many clean ones, of each language and seed."""
    measured = Measured()
    for language in languages:
        for seed in seeds:
            for note in clinical_notes.notes(language, seed, count):
                measured.take(note.text, [(i.kind, i.start, i.end) for i in note.identifiers])
            for note in clinical_notes.clean_notes(language, seed, count):
                measured.take_clean(note.text)
    return measured


def measure_ward(languages: Iterable[str], half: str, seeds: Iterable[int], count: int) -> Measured:
    """Return the same of one half of the second set of notes."""
    measured = Measured()
    for language in languages:
        for seed in seeds:
            for genre, note in ward_notes.notes(language, half, seed, count):
                measured.take(note.text, [(i.kind, i.start, i.end) for i in note.identifiers], genre)
            for note in ward_notes.clean_notes(language, half, seed, count):
                measured.take_clean(note.text)
    return measured


def _covered(text: str, findings: Iterable[tuple[object, int, int]]) -> bytearray:
    covered = bytearray(len(text))
    for _kind, start, end in findings:
        covered[start:end] = b"\1" * (end - start)
    return covered
