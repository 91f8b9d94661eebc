"""PubTator: title and abstract on marked lines, then a line per mention and relation."""

import re
from collections.abc import Iterable, Iterator

from medtune.data.importers.documents import Document, Mention, Passage, Relation, Told
from medtune.data.importers.reading import Input, lines_of, open_text

__all__ = ["looks_like_pubtator", "read_pubtator"]

_SECTION = re.compile(r"([^|\t]+)\|([a-z]\w*)\|(.*)")
"""Id, section (t for the title, a for the abstract) and text."""


def looks_like_pubtator(lines: Iterable[str]) -> bool:
    """Whether a title and an abstract of one id are among the lines: two pipes alone are a table's as well."""
    sections: dict[str, set[str]] = {"t": set(), "a": set()}
    for line in lines:
        if (found := _SECTION.fullmatch(line)) and found[2] in sections:
            sections[found[2]].add(found[1])
    return not sections["t"].isdisjoint(sections["a"])


def read_pubtator(source: Input, told: Told) -> Iterator[Document]:
    """Yield a document per block; a line end stands between its sections, as the format counts.

    Relations name concepts: such a one holds for mentions of both concepts.
    """
    with open_text(source.path, source.encoding, told) as text:
        block = _Block(source.path.name, told)
        for number, line in lines_of(text):
            if not line.strip():
                yield from block.end()
            elif (found := _SECTION.fullmatch(line)) and "\t" not in line[: found.start(3)]:
                if found[1] != block.id:
                    yield from block.end()
                block.add_section(found[1], found[3], number)
            else:
                block.add_line(line.split("\t"), number)
        yield from block.end()


class _Block:
    """The lines of one document."""

    def __init__(self, name: str, told: Told) -> None:
        self._name, self._told = name, told
        self.id = self._place = ""
        self._sections: list[str] = []
        self._mentions: list[Mention] = []
        self._relations: list[Relation] = []

    def add_section(self, document: str, text: str, number: int) -> None:
        if not self._sections:
            self.id, self._place = document, f"{self._name}:{number}"
        self._sections.append(text)

    def add_line(self, fields: list[str], number: int) -> None:
        place = f"{self._name}:{number}"
        if not self.id or fields[0] != self.id:
            self._told.leave_out("lines that belong to no document", place)
        elif len(fields) >= 5 and fields[1].isdigit() and fields[2].isdigit():  # noqa: PLR2004 - to the type
            concepts = re.split(r"[|,;]", fields[5]) if len(fields) > 5 else []  # noqa: PLR2004 - the concept
            known = tuple(c.strip() for c in concepts if c.strip() not in ("", "-", "-1"))
            at = (int(fields[1]), int(fields[2]))
            self._mentions.append(Mention(f"T{len(self._mentions)}", fields[4], (at,), fields[3], known))
        elif len(fields) in (4, 5) and not fields[1].isdigit():
            self._relations.append(Relation(fields[1], fields[2], fields[3], "concept"))
        else:
            self._told.leave_out("lines that are neither mention nor relation", place)

    def end(self) -> Iterator[Document]:
        if self._sections:
            passage = Passage("\n".join(self._sections), tuple(self._mentions))
            yield Document(self.id, self._place, (passage,), tuple(self._relations))
        self._clear()

    def _clear(self) -> None:
        self.id = self._place = ""
        self._sections, self._mentions, self._relations = [], [], []
