"""What a repository on the hub is called, which files it holds at a commit, and where they lie in the local cache."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from medtune.errors import CorruptDownloadError, HubError
from medtune.specs.bounded import json_file

__all__ = ["Listing", "RepoFile", "Repository", "is_commit", "readable_by_owner"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_OWN = "medtune"
"""Folder beside the hub client's own in the cache of a repository: what the hub said, and what was checked."""


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit, which can never come to mean something else."""
    return _COMMIT.fullmatch(revision or "") is not None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a revision.

    Attributes:
        kind: of what it is a repository.
        name: owner/name.
        revision: commit, branch or tag; None is the main branch.
    """

    kind: Literal["model", "dataset"]
    name: str
    revision: str | None = None

    @property
    def what(self) -> str:
        """How errors call it."""
        return "model" if self.kind == "model" else "data set"

    @property
    def field(self) -> str:
        """The field of the spec that holds its revision."""
        return "model.revision" if self.kind == "model" else "data.revision"

    @property
    def local_option(self) -> str:
        """The option with which a local copy is used in its place."""
        return "--set model.path=FOLDER" if self.kind == "model" else "--set data.source=FILE"

    @property
    def cache(self) -> Path:
        """Its folder in the hub client's cache."""
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE).expanduser() / "--".join([f"{self.kind}s", *self.name.split("/")])

    @property
    def snapshot(self) -> Path:
        """Where its files lie; of a repository at a commit."""
        return self.cache / "snapshots" / str(self.revision)

    @property
    def own(self) -> Path:
        """Where medtune keeps its notes on it."""
        return self.cache / _OWN

    def at(self, commit: str) -> "Repository":
        """Return it at a commit."""
        return replace(self, revision=commit)

    def cached_commit(self) -> str | None:
        """Return the commit that the cache holds for the revision; None when there is none."""
        if is_commit(self.revision):
            return self.revision
        with suppress(OSError):
            commit = (self.cache / "refs" / (self.revision or "main")).read_text("utf-8").strip()
            return commit if is_commit(commit) else None
        return None

    def error(self, problem: str, instead: str) -> HubError:
        """Return an error about it."""
        return HubError(self.what, self.name, problem, instead)

    def corrupt(self, file: str, reason: str) -> CorruptDownloadError:
        """Return an error about a file of it."""
        return CorruptDownloadError(self.what, self.name, file, reason)


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file as the hub states it.

    Attributes:
        path: relative to the repository.
        size: bytes.
        digest: SHA-256 of a file in large storage (64 hexadecimal digits), git's SHA-1 of any other (40); also the name
            under which the hub client caches it.
    """

    path: str
    size: int
    digest: str

    @property
    def is_large(self) -> bool:
        """Whether it lies in large storage, and its digest is a SHA-256."""
        return len(self.digest) == 64  # noqa: PLR2004 - hexadecimal digits

    @property
    def is_safe(self) -> bool:
        """Whether the path stays inside of a folder, and the digest is one."""
        parts = PurePosixPath(self.path).parts
        inside = bool(parts) and not self.path.startswith("/") and ".." not in parts and "\\" not in self.path
        return inside and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", self.digest) is not None and self.size >= 0


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at a commit, by path.

    Attributes:
        repository: at a commit.
        files: path -> file.
        is_whole: false for what was only found in the cache, where files may be missing.
    """

    repository: Repository
    files: Mapping[str, RepoFile]
    is_whole: bool = True

    def keep(self) -> None:
        """Write it down, so that the same commit need not be asked for again; a cache that cannot be written is no fault."""
        place = self.repository.own / f"{self.repository.revision}.json"
        with suppress(OSError), readable_by_owner(self.repository):
            place.parent.mkdir(parents=True, exist_ok=True)
            staged = place.with_suffix(".staging")
            staged.write_text(json.dumps([asdict(file) for file in self.files.values()]), "utf-8")
            staged.replace(place)

    @classmethod
    def kept(cls, repository: Repository) -> "Listing | None":
        """Return what was written down of a repository at a commit, None when nothing was."""
        try:
            values: list[dict[str, Any]] = json_file(repository.own / f"{repository.revision}.json")
            files = [RepoFile(**value) for value in values]
        except (OSError, ValueError, TypeError):
            return None
        return cls(repository, {file.path: file for file in files}) if all(f.is_safe for f in files) else None

    @classmethod
    def cached(cls, repository: Repository) -> "Listing | None":
        """Return what another program left in the cache; the hub's own digest of a file is the name of its blob."""
        files = [RepoFile(*facts) for facts in _linked(repository.snapshot)]
        whole = {file.path: file for file in files if file.is_safe}
        return cls(repository, whole, is_whole=False) if whole else None


def _linked(snapshot: Path) -> Iterator[tuple[str, int, str]]:
    for file in sorted(snapshot.rglob("*")):
        if file.is_symlink() and file.is_file():
            yield file.relative_to(snapshot).as_posix(), file.stat().st_size, Path(file.readlink()).name


@contextmanager
def readable_by_owner(repository: Repository) -> Iterator[None]:
    """Let what is written in the block be read by its owner only, if it is data: rows may be a patient's."""
    if repository.kind == "model":
        yield
        return
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
