"""Spans written with offsets in any format come back as they were; tokens and sentences keep their places."""

import json
import random
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_cases import imported

from medtune.data.importers.documents import Document, Told
from medtune.data.importers.formats import format_of
from medtune.data.importers.labelling import label_passage
from medtune.data.importers.offsets import place_document
from medtune.data.importers.options import Marks, Tokens
from medtune.data.importers.reading import Input
from medtune.data.importers.words import Place, sentences_of, tokens_of

PIECES = (
    "Patient", "has", "IL-2", "0.5", "mg", "Dr.", "β-blocker", "e\u0301tat", "naïve", "😷", "💊x", "(MTX)", ",", ".",
    "?", "糖尿病", "x_y", "T3/T4", "“quoted”", "No", "&", "<5", "I", "A.", "vs.", "Größe", ":", "a:b", "\u200bzero", "5%",
)  # fmt: skip
GAPS = (" ", " ", " ", "  ", "", "\n")


def documents(count, seed):
    """Yield id, text of two lines or more, and mentions (start, end, type) that touch no token in part and do not overlap."""
    draw = random.Random(seed)
    for number in range(count):
        words = [draw.choice(PIECES) + draw.choice(GAPS) for _ in range(draw.randint(2, 40))]
        text = f"Title {number}\n" + "".join(words).rstrip() + " end"
        tokens = tokens_of(text, Tokens.WORDS)
        mentions, at = [], 0
        while at < len(tokens):
            length = draw.randint(1, 4)
            if draw.random() < 0.3 and at + length <= len(tokens):
                mentions.append(
                    (tokens[at].start, tokens[at + length - 1].end, draw.choice(("Disease", "Drug", "Gene")))
                )
                at += length
            at += 1
        yield f"d{number}", text, mentions


def one_line(text):
    """PubTator has a line for the title and one for the abstract: line ends become blanks, offsets stay."""
    title, _, rest = text.partition("\n")
    return title, rest.replace("\n", " ")


def pubtator(path, docs):
    with path.open("w", encoding="utf-8", newline="") as file:
        for name, text, mentions in docs:
            title, abstract = one_line(text)
            whole = f"{title}\n{abstract}"
            file.write(f"{name}|t|{title}\n{name}|a|{abstract}\n")
            file.writelines(
                f"{name}\t{a}\t{b}\t{whole[a:b]}\t{kind}\t-\n".replace("\n", " ")[:-1] + "\n" for a, b, kind in mentions
            )
            file.write("\n")


def brat(path, docs):
    path.mkdir()
    for name, text, mentions in docs:
        (path / f"{name}.txt").write_bytes(text.encode())
        lines = [f"T{i}\t{kind} {a} {b}\t{' '.join(text[a:b].split())}\n" for i, (a, b, kind) in enumerate(mentions)]
        (path / f"{name}.ann").write_text("".join(lines), "utf-8")


def doccano(path, docs):
    rows = ({"id": name, "text": text, "label": [list(m) for m in mentions]} for name, text, mentions in docs)
    path.write_text("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))


def bioc(path, docs):
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE collection SYSTEM "BioC.dtd"><collection>')
        for name, text, mentions in docs:
            marks = "".join(
                f'<annotation id="{i}"><infon key="type">{kind}</infon><location offset="{100 + a}" length="{b - a}"/>'
                f"<text>{escape(text[a:b])}</text></annotation>"
                for i, (a, b, kind) in enumerate(mentions)
            )
            file.write(
                f"<document><id>{name}</id><passage><offset>100</offset><text>{escape(text)}</text>{marks}</passage>"
            )
            file.write("</document>")
        file.write("</collection>")


def utf16(path, docs):
    """Doccano's lines with offsets as JavaScript counts them."""

    def units(text, at):
        return len(text[:at].encode("utf-16-le")) // 2

    docs = [(name, text, [(units(text, a), units(text, b), k) for a, b, k in marks]) for name, text, marks in docs]
    with path.open("w") as file:
        for number, (name, text, marks) in enumerate(docs):
            spans = [
                {"id": str(i), "type": "labels",
                 "value": {"start": a, "end": b, "labels": [k], "text": text.encode("utf-16-le")[2 * a : 2 * b].decode("utf-16-le")}}
                for i, (a, b, k) in enumerate(marks)
            ]  # fmt: skip
            task = {"id": name, "data": {"text": text}, "annotations": [{"result": spans}]}
            file.write(("[" if number == 0 else ",") + json.dumps(task))
        file.write("]")


WRITERS = {
    "pubtator.txt": pubtator,
    "brat": brat,
    "doccano.jsonl": doccano,
    "bioc.xml": bioc,
    "label-studio.json": utf16,
}


def spans_read(path):
    """Return document -> spans as (start, end, type), decoded from the labels of its tokens."""
    source, found = Input(path), {}
    for document in format_of(source).read(source, Told()):
        assert isinstance(document, Document)
        told = Told()
        placed = place_document(document, Told())  # which may note another unit
        assert placed is not None, document.id
        spans = found.setdefault(document.id, [])
        for sentence in label_passage(placed.passages[0], Marks(), told, ""):
            for (start, end), label in zip(sentence.tokens, sentence.labels, strict=True):
                if label.startswith("B"):
                    spans.append((start, end, label[2:]))
                elif label.startswith("I"):
                    spans[-1] = (spans[-1][0], end, spans[-1][2])
        assert not told.left_out
        assert not told.noted
    return found


def round_trip(folder, count, seed):
    docs = list(documents(count, seed))
    wanted = {name: mentions for name, _text, mentions in docs}
    assert sum(map(len, wanted.values())) > count
    for name, write in WRITERS.items():
        write(folder / name, docs)
        assert spans_read(folder / name) == wanted, name


def test_spans_come_back_as_they_were_from_every_format(tmp_path):
    round_trip(tmp_path, 150, 1)


@pytest.mark.proof
def test_spans_of_ten_thousand_documents_come_back_as_they_were_from_every_format(tmp_path):
    round_trip(tmp_path, 10_000, 2)


@given(st.text(), st.sampled_from([Tokens.WORDS, Tokens.SPACES]))
def test_tokens_are_all_that_is_visible_and_lie_in_sentences(text, rule):
    tokens = tokens_of(text, rule)
    assert "".join(text[a:b] for a, b in tokens) == "".join(text.split())
    sentences = sentences_of(text)
    assert "".join("".join(text[a:b].split()) for a, b in sentences) == "".join(text.split())
    for token in tokens:
        assert any(a <= token.start and token.end <= b for a, b in sentences)


@given(st.text(alphabet="ab. \nAB", max_size=40), st.data())
def test_no_sentence_ends_inside_what_is_to_stay_whole(text, data):
    ends = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2)))
    whole = Place(*ends)
    borders = {place.end for place in sentences_of(text, [whole])}
    visible = [i for i in range(*ends) if not text[i].isspace()]
    assert not [b for b in borders if visible and visible[0] < b <= visible[-1]]


def test_the_same_sentences_give_the_same_rows_from_every_format(tmp_path):
    draw = random.Random(3)
    docs, columns = [], []
    for number in range(60):
        tokens = [draw.choice(("Loss", "of", "APC2", ",", "T", "-", "cell", "(", "0.5", ")", "B.", "p.R117H", ":"))
                  for _ in range(draw.randint(3, 30))] + ["."]  # fmt: skip
        tags, marks, at = [], [], 0
        for token in tokens:
            goes_on = bool(tags) and tags[-1] != "O" and draw.random() < 0.4
            tags.append("I-Disease" if goes_on else draw.choice(("O", "O", "O", "B-Disease")))
            if goes_on:
                marks[-1] = (marks[-1][0], at + len(token), "Disease")
            elif tags[-1] != "O":
                marks.append((at, at + len(token), "Disease"))
            at += len(token) + 1
        docs.append((f"d{number}", " ".join(tokens), marks))
        columns.append(
            f"-DOCSTART- (d{number})\n\n" + "".join(f"{t}\t{g}\n" for t, g in zip(tokens, tags, strict=True))
        )
    (tmp_path / "columns.txt").write_text("\n".join(columns))
    _report, wanted = imported(tmp_path / "columns.txt", tmp_path, source="same")
    for name, write in WRITERS.items():
        write(tmp_path / name, docs)
        report, rows = imported(tmp_path / name, tmp_path, source="same")
        assert report.tokens == "spaces"
        assert by_document(rows) == by_document(wanted), name


def by_document(rows):
    """BRAT's documents come by their names."""
    return sorted(rows, key=lambda row: row["document"])
