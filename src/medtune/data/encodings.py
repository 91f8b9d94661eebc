"""Says how files become readable whose rows are not all UTF-8."""

from collections.abc import Mapping
from pathlib import Path

from medtune.data.sources.opening import speaks_utf8
from medtune.data.sources.paths import local_files
from medtune.specs import SourceSpec

__all__ = ["ONE_ENCODING", "encoding_advice"]

ONE_ENCODING = "set data.encoding to the one that it has, such as cp1252 or latin-1, or repair them"
_MOST_NAMED = 5


def encoding_advice(member: SourceSpec, not_utf8: Mapping[Path, int]) -> str:
    """Return what to do about rows that are not UTF-8; ``data.encoding`` only where it would garble no others.

    Args:
        member: the source.
        not_utf8: file -> rows of it that are not UTF-8.
    """
    files = [file.path for file in local_files(member.source, member.split)]
    faulty = [file for file in files if not_utf8.get(file)]
    if member.encoding:
        return f"their bytes are none of {member.encoding} either, which data.encoding names; write {_names(faulty)} anew in UTF-8"
    mixed = [file for file in faulty if speaks_utf8(file)]
    if mixed:
        return (
            f"{_names(mixed)} has rows in UTF-8 as well, which data.encoding would garble: write the malformed rows anew in "
            "UTF-8"
        )
    if any(speaks_utf8(file) for file in files):
        return (
            f"other files are UTF-8, which data.encoding would garble: write {_names(faulty)} anew in UTF-8, such as with "
            "iconv -f cp1252 -t utf-8"
        )
    return ONE_ENCODING


def _names(files: list[Path]) -> str:
    more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    return f"{', '.join(repr(file.name) for file in files[:_MOST_NAMED])}{more}"
