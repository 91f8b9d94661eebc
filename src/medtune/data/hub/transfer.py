"""Brings one file into the hub client's cache: resumed where it was cut off, and whole by its hash, or not at all."""

import hashlib
import os
import shutil
from pathlib import Path

from medtune.data.hub.client import streamed
from medtune.data.hub.repository import RepoFile, Repository
from medtune.data.hub.watch import Watch, insist

__all__ = ["digest_of", "link", "transfer"]

_CHUNK = 4 * 2**20


class _CutOffError(ConnectionError):
    """A transfer ended before its end; what came is kept."""


def transfer(repository: Repository, file: RepoFile, watch: Watch) -> Path:
    """Fetch a file, and return the blob that holds it.

    What was fetched before, by this or another process that was stopped, is not fetched again.

    Raises:
        HubError: the hub refuses it, or is cut off again and again; what came is kept for the next time.
        CorruptDownloadError: twice it is not what the hub states.
    """
    blob = repository.cache / "blobs" / file.digest
    partial = blob.with_name(f"{file.digest}.medtune-partial")
    blob.parent.mkdir(parents=True, exist_ok=True)
    for is_last in (False, True):
        insist(watch, repository, f"fetching '{file.path}'", lambda: _receive(repository, file, partial, watch))
        found = digest_of(partial, file, watch)
        if found == file.digest:
            partial.replace(blob)
            return blob
        partial.unlink()
        if not is_last:
            watch.tell(f"'{file.path}' of '{repository.name}' came corrupt; it is fetched once more")
    kind = "SHA-256" if file.is_large else "git hash"
    raise repository.corrupt(file.path, f"its {kind} is not what the hub states")


def _receive(repository: Repository, file: RepoFile, partial: Path, watch: Watch) -> None:
    """Fetch what is still lacking of a file."""
    from huggingface_hub import hf_hub_url

    have = partial.stat().st_size if partial.is_file() else 0
    if have > file.size:
        partial.unlink()
        have = 0
    if have == file.size and partial.is_file():
        return
    url = hf_hub_url(repository.name, file.path, repo_type=repository.kind, revision=repository.revision)
    headers = {"Range": f"bytes={have}-"} if have else dict[str, str]()
    with streamed(url, watch.patience.answer, headers) as response:
        resumes = response.status_code == 206  # noqa: PLR2004 - "partial content"
        with partial.open("ab" if resumes else "wb") as sink:
            have = have if resumes else 0
            for chunk in response.iter_bytes():
                watch.hear(len(chunk))
                sink.write(chunk)
                have += len(chunk)
                if have > file.size:  # what is too long cannot become right
                    break
    if have < file.size:
        raise _CutOffError


def digest_of(path: Path, file: RepoFile, watch: Watch) -> str:
    """Return what the digest of ``file`` is by the bytes at ``path``: SHA-256, or git's own hash of a small file."""
    digest = hashlib.sha256() if file.is_large else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())  # noqa: S324 - git's
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            watch.hear()
    return digest.hexdigest()


def link(repository: Repository, file: RepoFile, blob: Path) -> None:
    """Put a blob into the snapshot under its path, as the hub client does: by a relative link, or where there are none a copy."""
    place = repository.snapshot / file.path
    place.parent.mkdir(parents=True, exist_ok=True)
    staged = place.with_name(f".{place.name}.{os.getpid()}.staging")
    staged.unlink(missing_ok=True)
    try:
        staged.symlink_to(os.path.relpath(blob, place.parent))
    except OSError:
        shutil.copyfile(blob, staged)
    staged.replace(place)
