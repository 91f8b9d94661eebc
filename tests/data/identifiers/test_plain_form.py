"""What a reader cannot tell apart, the rules do not either: each identifier is found in every form of writing, and masked whole."""

import html
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.identifiers.finding import find_identifiers
from medtune.data.identifiers.plain_form import plain_form
from medtune.data.identifiers.row_values import masked_row

PLAIN = "Herr Müller kam am 12. 03. 2020, SSN 123-45-6789."
MASKED = "Herr [NAME] kam am [DATE], SSN [SSN]."
FORMS = {
    "composed": PLAIN,
    "decomposed": unicodedata.normalize("NFD", PLAIN),
    "no-break spaces": PLAIN.replace(". ", ".\u00a0"),
    "narrow spaces": PLAIN.replace(". ", ".\u202f"),
    "no-break hyphens": PLAIN.replace("-", "\u2011"),
    "en dashes": PLAIN.replace("-", "\u2013"),
    "soft hyphens": PLAIN.replace("lle", "l\u00adle"),
    "no width": PLAIN.replace(". 03", ".\u200b 03").replace("Mü", "Mü\u200d"),
    "entities": PLAIN.replace("ü", "&uuml;").replace("-", "&#8209;"),
    "escapes of JSON": PLAIN.replace("ü", "\\u00fc").replace("-", "\\u2011"),
    "escapes of JSON, decomposed": PLAIN.replace("ü", "u\\u0308"),
    "tags": PLAIN.replace("Müller", "<b>Müller</b>").replace("Herr", '<span class="t">Herr</span>'),
    "full width": "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in PLAIN),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_identifier_is_found_and_masked_whole_in_every_form(form):
    row, _found = masked_row({"text": FORMS[form]})
    left = plain_form(row["text"]).text
    assert left == MASKED


def test_a_name_of_one_column_is_known_in_another_form_in_the_next():
    row, _found = masked_row(
        {"a": "Herr Zwierlein-Müller kam.", "b": unicodedata.normalize("NFD", "Bei Müller war nichts.")}
    )
    assert "ller" not in row["b"]


@pytest.mark.parametrize("text", ["p<0.05 and b>3", "a < b > c", "R&D; AT&T", "10 \u2013 20 mg", "if a<b then"])
def test_signs_of_a_text_are_no_marks_of_html(text):
    assert not find_identifiers(text)
    assert plain_form(text).text == text.replace("\u2013", "-")


def test_what_json_escapes_hides_no_cue_and_a_backslash_elsewhere_is_one():
    found = find_identifiers('{"note": "seen\\nMr Quillfeather\\ton 3 May 2021"}')
    assert [f.kind.value for f in found] == ["name", "date"]
    assert plain_form(r"\alpha \theta \nabla").text == r"\alpha \theta \nabla"
    assert plain_form(r"half \ud800 of one").text == r"half \ud800 of one"


@given(st.text(st.sampled_from('aü\u0308\u00a0\u200b-\u2011&<>b;/#1 ﬁＡ\u202f\n\\3d8"'), max_size=40))
def test_every_character_of_the_plain_form_has_its_place(text):
    plain = plain_form(text)
    if plain.places is None:
        assert plain.text == text
        return
    assert len(plain.places) == len(plain.text)
    assert all(0 <= start < end <= len(text) for start, end in plain.places)
    assert plain.places == sorted(plain.places)


def test_marks_of_html_part_words_or_not_as_a_reader_sees_it():
    assert plain_form("<td>Name</td><td>Harrow</td>").text.split() == ["Name", "Harrow"]
    assert plain_form("Har<b>row</b>").text == "Harrow"
    assert plain_form(html.escape("a & b") + " &eacute;").text == "a & b é"


@pytest.mark.parametrize("text", ["Patient name is Zbigniew.", "Der Name ist Karl Zwierlein.", "Her name was Harrow."])
def test_a_name_behind_the_word_for_one_is_found_in_a_sentence(text):
    assert [finding.kind.value for finding in find_identifiers(text)] == ["name"]
