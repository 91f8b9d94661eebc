"""Which files of a data set's repository a split needs, and a folder in which ``datasets`` finds them without the hub."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtune.data.hub.asking import listing_of
from medtune.data.hub.download import Listener, make_local
from medtune.data.hub.repository import Listing, RepoFile, Repository

__all__ = ["local_split"]

_DESCRIBE = ("README.md", ".huggingface.yaml", "dataset_infos.json")
_DATA = (".parquet", ".json", ".jsonl", ".csv")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


@contextmanager
def local_split(repository: Repository, subset: str | None, split: str, listener: Listener) -> Iterator[Any]:
    """Make the files of a split local, and yield it as a ``datasets`` object that reads them one batch after the other.

    ``datasets`` itself decides which files a subset and a split are: it is shown a folder that has every path of the
    repository, the files that it may read being links into the cache, and all others empty.

    Args:
        repository: at a commit.
        subset: configuration, for a set that has several.
        split: split.
        listener: hears of the download.

    Raises:
        HubError: the files are not cached and the hub cannot be reached, or refuses.
        CorruptDownloadError: a file is not what the hub states.
        ValueError: from ``datasets``; there is no such subset or split.
    """
    listing = listing_of(repository, listener.patience, listener.tell)
    _refuse_program(listing)
    with tempfile.TemporaryDirectory(prefix="medtune-data-set-") as scratch:
        folder = Path(scratch) / repository.name.rpartition("/")[2]
        _lay_out(listing, folder)
        described = [file for path, file in listing.files.items() if path in _DESCRIBE]
        if any(path.endswith(_ARCHIVES) for path in listing.files):  # these are opened to see what is inside
            described = list(listing.files.values())
        _show(repository, described, folder, listener)
        builder = _builder(folder, subset)
        files: dict[str, Sequence[str]] = builder.config.data_files or {}
        if split not in files:
            raise ValueError(f"no split: {sorted(map(str, files))}")
        wanted = {Path(path).relative_to(folder.resolve()).as_posix() for path in files[split]}
        _show(repository, [listing.files[path] for path in sorted(wanted)], folder, listener)
        # Alone: it would read the columns off another split's file, which is not there.
        builder.config.data_files = type(files)({split: files[split]})
        yield builder.as_streaming_dataset(split=split)


def _refuse_program(listing: Listing) -> None:
    """Refuse a data set that is made by a program: ``datasets`` runs none, and finds no files of it."""
    script = f"{listing.repository.name.rpartition('/')[2]}.py"
    if script in listing.files and not any(path.endswith(_DATA) for path in listing.files):
        raise listing.repository.error(
            f"is a program ('{script}') and no data, which medtune does not run",
            "set data.revision=refs/convert/parquet, where the hub keeps such sets as Parquet",
        )


def _lay_out(listing: Listing, folder: Path) -> None:
    for path in listing.files:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _show(repository: Repository, files: Sequence[RepoFile], folder: Path, listener: Listener) -> None:
    """Make files local, and let the folder's entries be links to them."""
    snapshot = make_local(repository, files, listener)
    for file in files:
        place = folder / file.path
        place.unlink()
        place.symlink_to((snapshot / file.path).resolve())


def _builder(folder: Path, subset: str | None) -> Any:
    from datasets import load_dataset_builder

    from medtune.machine.libraries import quiet_data_sets

    # A cache of its own: what it notes there is about a folder that is gone in a moment.
    with quiet_data_sets():
        return load_dataset_builder(str(folder), name=subset, cache_dir=str(folder.with_name("cache")))
