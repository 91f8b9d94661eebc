"""Which files a path, folder or glob stands for, and of which kind they are."""

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from medtune.data.sources.kinds import kind_of, listed_kinds
from medtune.errors import DataError, StorageError
from medtune.specs.bounded import is_utf8

__all__ = [
    "DataFile",
    "files_left_out",
    "is_file_name",
    "is_json",
    "is_local",
    "local_files",
    "named_split",
    "names_beside",
    "odd_file",
    "require_path",
    "splits_of",
]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_BESIDE_DATA = re.compile(
    r"dataset_infos?\.json|dataset_dict\.json|state\.json|quarantine\.jsonl|(cache|indices)-.*\.arrow"
)
"""What ``datasets`` keeps beside the rows of a saved set, and what medtune writes itself."""
_LOCK = "~$"
"""What office programs put before the name of an open file."""
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "devel"),
    "test": ("test",),
}
"""Split -> what files, folders and arrays of it are called."""
_SAME_SPLIT = {name: split for split, names in _SPLITS.items() for name in names}
_SPLIT = re.compile(rf"({'|'.join(_SAME_SPLIT)})(?![a-z])", re.IGNORECASE)


class DataFile(NamedTuple):
    """A file of rows.

    Attributes:
        path: where it is.
        kind: "jsonl", "json", "csv", "xlsx", "parquet" or "arrow"; the suffix of one that a plugin reads.
        name: its path below the folder that was asked for; unique among the files read together.
    """

    path: Path
    kind: str
    name: str


def is_local(source: str) -> bool:
    """Whether ``source`` means files here; ``owner/name`` that is no such path is a data set on the hub."""
    return is_file_name(source) or Path(source).expanduser().exists() or not _HUB_NAME.fullmatch(source)


def is_file_name(source: str) -> bool:
    """Whether ``source`` can only be a file, folder or glob: by its wildcards, its ending or its beginning."""
    wild = any(c in source for c in "*?")
    return wild or kind_of(Path(source)) is not None or source.startswith((".", "~", "/"))


def require_path(path: Path) -> None:
    """Raise StorageError where a path leads to no file or folder: whoever opens a pipe waits for its writer."""
    if not path.exists():
        raise StorageError(f"cannot read '{path}': there is no such file or folder")
    if not path.is_file() and not path.is_dir():
        raise StorageError(
            f"cannot read '{path}': it is a pipe or device, neither a file nor a folder; save it as a file"
        )


def local_files(source: str, split: str = "train") -> list[DataFile]:
    """Return the files that a path, folder or glob stands for, in the order of their names.

    Args:
        source: a file or glob, taken whole, or a folder, whose files may be named or grouped by split.
        split: which of them; "train" means all where no file is named by a split.

    Raises:
        DataError: there is none, or not of this split, one is of an unknown kind, or has a name that is not UTF-8.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        root, files = path, _rows_below(path)
    elif path.is_file():
        root, files = path.parent, [path]
    else:
        found = (Path(f) for f in glob.glob(str(path), recursive=True))  # noqa: PTH207 - the pattern may be absolute
        files = sorted(f for f in found if f.is_file())
        root = _common_folder(files)
    if not files:
        raise DataError(
            f"no data file at '{source}'; data.source takes a file, folder or glob of {listed_kinds()}, or owner/name of "
            "a data set on the hub"
        )
    if any(not is_utf8(str(file)) for file in files):  # row ids, records and reports name files
        raise DataError("the name of a file of rows, or of a folder above one, is not UTF-8; rename it")
    wanted = _SAME_SPLIT.get(split, split)
    splits = splits_of(source, wanted)
    if wanted not in splits and (splits or wanted != "train"):
        listed = ", ".join(f"'{name}'" for name in sorted(splits)) or "none: its files are not named by one"
        raise DataError(f"'{source}' has no split '{split}' (it has {listed}); set data.split or data.validation")
    if splits:
        files = [file for file in files if _split_of(file.relative_to(root), wanted) == wanted]
    return [_data_file(file, root) for file in files]


def files_left_out(source: str, split: str = "train") -> dict[str, str]:
    """Return file -> why ``local_files`` leaves it out, for the files of a folder; none for a file or glob."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return {}
    taken = {file.path for file in local_files(source, split)}
    wanted, found = _SAME_SPLIT.get(split, split), dict[str, str]()
    hidden: dict[str, str] = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if (at := next((n for n, part in enumerate(path.parts, start=1) if part.startswith(".")), 0)) != 0:
            hidden[Path(*path.parts[:at]).as_posix()] = "hidden"  # of a hidden folder only the folder is named
        elif why := odd_file(file) or ("" if file in taken or file.is_dir() else _why_left_out(path, wanted)):
            found[path.as_posix()] = why
    return found | hidden


def odd_file(file: Path) -> str:
    """Return why nothing can be read where others are files: a link, a pipe or an empty file; "" for a file or folder."""
    if file.is_symlink() and not file.exists():
        return "a link that leads nowhere"
    if file.is_dir():
        return "a link to a folder, which is not followed" if file.is_symlink() else ""
    if not file.is_file():
        return "a pipe or device"
    return "" if file.stat().st_size else "empty"


def _why_left_out(path: Path, wanted: str) -> str:
    if _BESIDE_DATA.fullmatch(path.name):
        return ""
    if path.name.startswith(_LOCK):
        return "the lock file of an open workbook"
    if kind_of(path) is None:
        return "of a kind that is not read"
    other = _split_of(path, wanted)
    return f"named by split '{other}'" if other else "named by no split, and others are"


def splits_of(source: str, wanted: str = "train") -> set[str]:
    """Return the splits by which files of a folder, or folders in it, are named; none for a file or glob.

    "valid", "val", "dev" and "devel" are called "validation". ``wanted`` counts as a split whatever it is called.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return set()
    names = (_split_of(file.relative_to(folder), wanted) for file in _rows_below(folder))
    return {name for name in names if name is not None}


def named_split(name: str) -> str | None:
    """Return the split that a name is one of: "train", "validation" or "test"; None for any other name."""
    return _SAME_SPLIT.get(name.lower())


def names_beside(name: str) -> list[str]:
    """Return what the validation rows beside a file of training rows may be called; none where its name is no split's."""
    match = _SPLIT.match(name)
    if match is None or _SAME_SPLIT[match[1].lower()] != "train":
        return []
    return [f"{other}{name[match.end() :]}" for other in _SPLITS["validation"]]


def is_json(source: str) -> bool:
    """Whether ``source`` is one JSON or JSON Lines file here, in which rows may lie in a field."""
    path = Path(source).expanduser()
    return path.is_file() and kind_of(path) in ("json", "jsonl")


def _data_file(file: Path, root: Path) -> DataFile:
    kind = kind_of(file)
    if kind is None:
        raise DataError(
            f"'{file}' is of no known kind; medtune reads {listed_kinds()}, and medtune import those of annotation tools"
        )
    return DataFile(file, kind, file.relative_to(root).as_posix())


def _rows_below(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file() and _holds_rows(f.relative_to(folder)))


def _split_of(path: Path, wanted: str) -> str | None:
    """Return the split that a file, or a folder it is in, is named by."""
    for part in reversed(path.parts):
        if re.match(re.escape(wanted) + r"(?![a-z])", part):
            return wanted
        match = _SPLIT.match(part)
        if match:
            return _SAME_SPLIT[match[1].lower()]
    return None


def _holds_rows(path: Path) -> bool:
    hidden = any(part.startswith((".", _LOCK)) for part in path.parts)
    return not hidden and kind_of(path) is not None and not _BESIDE_DATA.fullmatch(path.name)


def _common_folder(files: Iterable[Path]) -> Path:
    parents = [set(file.parents) for file in files]
    return max(set.intersection(*parents), key=lambda p: len(p.parts)) if parents else Path()
