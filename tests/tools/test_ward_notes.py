"""The second set of notes: exact spans, halves that share nothing, clean lines that stay clean."""

import re
from collections import Counter
from datetime import date
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_notes import KINDS
from ward_notes import HALVES, LANGUAGES, clean_notes, notes
from ward_notes.filling import Filling
from ward_notes.spoken import spoken_day
from ward_notes.typing_habits import HABITS
from ward_notes.words import load_words

languages, halves, seeds = st.sampled_from(LANGUAGES), st.sampled_from(HALVES), st.integers(0, 10**6)
OWN = ("given", "family", "city", "area", "street", "world given", "world family")


@given(languages, halves, seeds)
@settings(max_examples=100, deadline=None)
def test_spans_are_whole_in_order_and_apart(language, half, seed):
    ((_, note),) = notes(language, half, seed, 1)
    end = 0
    assert note.identifiers
    for found in note.identifiers:
        assert found.kind in KINDS
        assert end <= found.start < found.end <= len(note.text)
        assert note.text[found.start : found.end].strip() == note.text[found.start : found.end]
        end = found.end


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_halves_share_no_line_and_no_word(language):
    dev, held = (load_words(language, half) for half in HALVES)
    assert dev.lines.keys() == held.lines.keys()
    for genre in dev.lines:
        assert dev.lines[genre]
        assert not set(dev.lines[genre]) & set(held.lines[genre])
    for key in OWN:
        assert len(dev.lists[key]) > 2
        assert not set(dev.lists[key]) & set(held.lists[key])


def test_there_are_more_than_four_hundred_lines_with_identifiers():
    halves = [load_words(language, half) for language in LANGUAGES for half in HALVES]
    assert sum(len(lines) for words in halves for genre, lines in words.lines.items() if genre != "clean") > 430


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_slot_is_filled_and_clean_lines_hold_none(language):
    for half in HALVES:
        words = load_words(language, half)
        for genre, lines in words.lines.items():
            for line in lines:
                pieces = Filling(words, Random(line)).fill(line)
                assert not re.search(r'\{[^{}"]+\}|%[a-zA-Z]', "".join(piece.text for piece in pieces))
                assert any(piece.kind for piece in pieces) == (genre != "clean"), line


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_and_habit_comes_and_notes_are_the_same_again(language):
    drawn = [note for half in HALVES for _, note in notes(language, half, 0, 200)]
    assert drawn == [note for half in HALVES for _, note in notes(language, half, 0, 200)]
    assert set(Counter(found.kind for note in drawn for found in note.identifiers)) >= set(KINDS) - {
        "ip_address",
        "biometric",
    }
    assert {note.habit for note in drawn} == set(HABITS)
    assert all(note.text and not note.identifiers for note in clean_notes(language, "dev", 0, 20))


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(1951, 8, 21), "august twenty first nineteen fifty one"),
        (date(2000, 5, 30), "may thirtieth two thousand"),
        (date(2003, 1, 31), "january thirty first two thousand three"),
        (date(2024, 2, 12), "february twelfth twenty twenty four"),
        (date(1907, 3, 1), "march first nineteen oh seven"),
    ],
)
def test_a_day_is_said(day, words):
    assert spoken_day(day) == words


def test_an_unknown_half_is_refused():
    with pytest.raises(ValueError, match=r"^no notes in 'en', 'test'; there are en, de, fr, es with dev and held$"):
        next(notes("en", "test", 0, 1))
