"""What two rows are compared by: digests of the text, of the question without marks, and of its parts."""

import re
import string
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from medtune.plugins.contracts import Example

__all__ = ["RowKeys", "Split", "keys_of"]

_CAPITALS = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_MARKS = bytes(c for c in range(128) if not chr(c).isalnum())
_ANY_MARK = re.compile(r"[\W_]+")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_INSTRUCTION_PARAGRAPHS = 4  # at most, of an instruction that is told from its input


class Split(NamedTuple):
    """A question in two: what stands before a border between paragraphs, and what stands behind it.

    Attributes:
        before: digest of the first part, bare.
        behind: digest of the second.
        before_length: characters of the first part, bare.
        behind_length: characters of the second.
        is_usual: whether instruction and input are parted there as a rule: behind a system turn, or behind the first
            paragraph of the first question.
    """

    before: int
    behind: int
    before_length: int
    behind_length: int
    is_usual: bool


class RowKeys(NamedTuple):
    """Digests of a row: Python's own hashes of 64 bits, the same within one process only.

    Attributes:
        text: all turns as they are.
        question: everything but the answer, bare: without case, spaces and marks.
        answer: the answer without space around it.
        splits: the question in two, in each way that may part an instruction from its input.
    """

    text: int
    question: int
    answer: int
    splits: tuple[Split, ...]


def keys_of(example: Example) -> RowKeys:
    """Return the digests of a row."""
    answer = example.messages[-1]["content"]
    text = "\x00".join(m["content"] for m in example.messages)
    parts, usual = _parts(example)
    return RowKeys(
        hash(text),
        hash("".join(parts) or text),
        hash(answer.strip()),
        tuple(_splits(parts, usual)),
    )


def _parts(example: Example) -> tuple[list[str], set[int]]:
    """Return the bare paragraphs of the question, a system turn as one, and the usual borders between them."""
    parts: list[str] = []
    usual: set[int] = set()
    seen_question = False
    for message in example.messages[:-1]:
        content, before = message["content"], len(parts)
        is_system = message["role"] == "system"
        paragraphs = [content] if is_system or "\n" not in content else _BLANK_LINE.split(content)
        parts += [bare for paragraph in paragraphs if (bare := _bare(paragraph))]
        if is_system:
            usual.add(len(parts))
        elif not seen_question:
            usual.add(before + 1)
            seen_question = True
    return parts, usual


def _splits(parts: Sequence[str], usual: Collection[int]) -> Iterator[Split]:
    """Yield the usual borders, the last one (a question may follow its text), and those behind longer instructions."""
    total = sum(map(len, parts))
    length = 0
    for border in range(1, len(parts)):
        length += len(parts[border - 1])
        may_be_instruction = border <= _INSTRUCTION_PARAGRAPHS and length * 2 < total
        if border in usual or border == len(parts) - 1 or may_be_instruction:
            before, behind = "".join(parts[:border]), "".join(parts[border:])
            yield Split(hash(before), hash(behind), length, total - length, border in usual)


def _bare(text: str) -> str:
    """Return a text without case, spaces and marks."""
    if text.isascii():  # a tenth of the time
        return text.encode().translate(_CAPITALS, _MARKS).decode()
    return _ANY_MARK.sub("", unicodedata.normalize("NFKC", text).casefold())
