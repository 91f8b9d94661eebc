"""BRAT: a folder of texts (.txt), each with its annotations (.ann) beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

from medtune.data.importers.documents import Document, Mention, Passage, Relation, Told
from medtune.data.importers.reading import Input, lines_of, open_text, whole_text
from medtune.errors import DataError

__all__ = ["annotation_files", "read_brat"]

_MENTION = re.compile(r"(T\S+)\t(\S+) (\d+ \d+(?:;\d+ \d+)*)(?:\t(.*))?")
_RELATION = re.compile(r"(R\S+)\t(\S+) \S+:(\S+) \S+:(\S+)\s*")
_OTHERS = {
    "E": "events", "A": "attributes", "M": "attributes", "N": "links into vocabularies", "#": "notes of annotators",
    "*": "equivalences",
}  # fmt: skip


def annotation_files(path: Path) -> list[Path]:
    """Return the .ann files that a folder, or one file of a pair, stands for, in the order of their names."""
    if path.is_dir():
        return sorted(f for f in path.rglob("*.ann") if not any(p.startswith(".") for p in f.relative_to(path).parts))
    beside = path.with_suffix(".ann")
    return [beside] if path.suffix in (".ann", ".txt") and beside.is_file() else []


def read_brat(source: Input, told: Told) -> Iterator[Document]:
    """Yield a document per pair of files; its id is the path below the folder, without the ending.

    Texts keep their line ends, since BRAT counts them. A text without annotations, or annotations without a text, are
    counted and left out.
    """
    root = source.path if source.path.is_dir() else source.path.parent
    files = annotation_files(source.path)
    if source.path.is_dir():
        _count_lone_texts(root, told)
    for file in files:
        name = file.relative_to(root).with_suffix("").as_posix()
        if not file.with_suffix(".txt").is_file():
            told.leave_out("annotations without a text beside them", name)
            continue
        text = whole_text(file.with_suffix(".txt"), source.encoding, told)
        yield _document(name, file, text, source, told)


def _count_lone_texts(root: Path, told: Told) -> None:
    for text in sorted(root.rglob("*.txt")):
        if not text.with_suffix(".ann").is_file():
            told.leave_out("texts without annotations beside them", text.relative_to(root).as_posix())


def _document(name: str, file: Path, text: str, source: Input, told: Told) -> Document:
    mentions: list[Mention] = []
    relations: list[Relation] = []
    with open_text(file, source.encoding, told) as annotations:
        for number, line in lines_of(annotations):
            place = f"{name}.ann:{number}"
            if found := _MENTION.fullmatch(line):
                mentions.append(Mention(found[1], found[2], _fragments(found[3]), found[4]))
            elif found := _RELATION.fullmatch(line):
                relations.append(Relation(found[2], found[3], found[4]))
            elif line.strip():
                _leave_out(line, place, told)
    return Document(name, f"{name}.ann", (Passage(text, tuple(mentions)),), tuple(relations))


def _leave_out(line: str, place: str, told: Told) -> None:
    if line[0] in "TR" and re.match(r"[TR]\d+\t", line):
        raise DataError(f"'{place}' is no BRAT annotation: it needs an id, a type and offsets, a tab after the id")
    told.leave_out(_OTHERS.get(line[0], "lines that are no BRAT annotation"), place)


def _fragments(offsets: str) -> tuple[tuple[int, int], ...]:
    pairs = (piece.split() for piece in offsets.split(";"))
    return tuple((int(start), int(end)) for start, end in pairs)
