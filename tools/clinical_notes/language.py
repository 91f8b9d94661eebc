"""What a language brings: names, frames and formats, read from the text files beside this module."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

LANGUAGES = ("en-US", "en-GB", "de", "fr", "es")
"""The five varieties."""


@dataclass(frozen=True)
class Section:
    """Alternatives of one slot.

    Attributes:
        lines: One alternative each.
        kind: The identifier that each alternative is as a whole; empty for plain text.
        detail: What the identifier is called.
    """

    lines: tuple[str, ...]
    kind: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Language:
    """The words of one variety.

    Attributes:
        code: One of `LANGUAGES`.
        names: Lists of names by what they name.
        sections: Frames and formats by slot.
        gendered: Words that follow the sex of a person: the male and the female one.
    """

    code: str
    names: Mapping[str, tuple[str, ...]]
    sections: Mapping[str, Section]
    gendered: Mapping[str, tuple[str, str]]


@cache
def load_language(code: str) -> Language:
    """Return a variety.

    Args:
        code: One of `LANGUAGES`.

    Returns:
        Its names and frames.

    Raises:
        ValueError: There is no such variety.
    """
    if code not in LANGUAGES:
        raise ValueError(f"no notes in {code!r}; there are {', '.join(LANGUAGES)}")
    listed = {key: replace(section, lines=_names(section.lines)) for key, section in _sections("names", code).items()}
    sections = {**_sections("frames", "shared"), **listed, **_sections("frames", code)}
    return Language(
        code=code,
        names={key: section.lines for key, section in listed.items()},
        sections=sections,
        gendered=dict(map(_pair, sections.pop("gendered").lines)),
    )


def _names(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for line in lines for name in line.split(","))


def _pair(line: str) -> tuple[str, tuple[str, str]]:
    key, _, words = line.partition(" = ")
    male, _, female = words.partition("|")
    return key, (male, female)


def _sections(folder: str, name: str) -> dict[str, Section]:
    text = files("clinical_notes").joinpath(folder, f"{name}.txt").read_text("utf-8")
    sections = dict[str, Section]()
    for block in text.split("\n== ")[1:]:
        head, *lines = block.split("\n")
        key, kind, detail = (*(part.strip() for part in head.split("|")), "", "")[:3]
        sections[key] = Section(tuple(line.replace("\\n", "\n") for line in lines if line.strip()), kind, detail)
    return sections
