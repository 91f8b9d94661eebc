"""BRAT: a folder of texts (.txt), each with its annotations (.ann) beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

from medtune.data.importers.documents import Document, Mention, Passage, Relation, Told
from medtune.data.importers.reading import Input, lines_of, open_text, whole_text
from medtune.data.sources.paths import odd_file
from medtune.errors import DataError

__all__ = ["annotation_files", "read_brat"]

_TEXT, _ANNOTATIONS = ".txt", ".ann"
_SETTINGS = ("annotation.conf", "visual.conf", "tools.conf", "kb_shortcuts.conf")
"""What BRAT itself keeps beside the texts: how marks are drawn, and nothing that was marked."""
_MENTION = re.compile(r"(T\S+)\t(\S+) (\d+ \d+(?:;\d+ \d+)*)(?:\t(.*))?")
_RELATION = re.compile(r"(R\S+)\t(\S+) \S+:(\S+) \S+:(\S+)\s*")
_OTHERS = {
    "E": "events", "A": "attributes", "M": "attributes", "N": "links into vocabularies", "#": "notes of annotators",
    "*": "equivalences",
}  # fmt: skip


def annotation_files(path: Path) -> list[Path]:
    """Return the .ann files that a folder, or one file of a pair, stands for, in the order of their names."""
    if path.is_dir():
        return [file for file in _files_below(path) if file.suffix.lower() == _ANNOTATIONS and file.is_file()]
    beside = _beside(path, _ANNOTATIONS) if path.suffix.lower() == _TEXT else path
    return [beside] if beside is not None and beside.suffix.lower() == _ANNOTATIONS and beside.is_file() else []


def read_brat(source: Input, told: Told) -> Iterator[Document]:
    """Yield a document per pair of files; its id is the path below the folder, without the ending.

    Texts keep their line ends, since BRAT counts them. A text without annotations, annotations without a text, and files
    that are neither are counted and left out.
    """
    root = source.path if source.path.is_dir() else source.path.parent
    files = annotation_files(source.path)
    if source.path.is_dir():
        _count_others(root, told)
    for file in files:
        text = _beside(file, _TEXT)
        if text is None:
            told.leave_out("annotations without a text beside them", file.relative_to(root).as_posix())
            continue
        name = file.relative_to(root).with_suffix("").as_posix()
        yield _document(name, file, whole_text(text, source.encoding, told), source, told)


def _files_below(folder: Path) -> list[Path]:
    """Return what lies in a folder and is neither hidden nor a folder itself."""
    paths = (f for f in folder.rglob("*") if not any(part.startswith(".") for part in f.relative_to(folder).parts))
    return sorted(f for f in paths if f.is_symlink() or not f.is_dir())


def _beside(file: Path, suffix: str) -> Path | None:
    """Return the other file of a pair, whose ending may be written in capitals as well."""
    found = (file.with_suffix(ending) for ending in (suffix, suffix.upper()))
    pairs = [other for other in found if other.is_file()]
    same = [other for other in pairs if other.suffix.isupper() == file.suffix.isupper()]
    return next(iter(same or pairs), None)


def _count_others(root: Path, told: Told) -> None:
    for file in _files_below(root):
        suffix, name = file.suffix.lower(), file.relative_to(root).as_posix()
        if (odd := odd_file(file)) and odd != "empty":
            told.leave_out(f"files that cannot be read: {odd}", name)
        elif suffix == _TEXT and _beside(file, _ANNOTATIONS) is None:
            told.leave_out("texts without annotations beside them", name)
        elif suffix not in (_TEXT, _ANNOTATIONS) and file.name not in _SETTINGS:
            told.leave_out("files that are neither .txt nor .ann", name)


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
