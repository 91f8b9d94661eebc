"""Puts files into a repository on the hub by one commit, and reads back what the hub has then."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.hub.client import streamed
from medtune.data.hub.refusals import explained
from medtune.data.hub.repository import Repository
from medtune.errors import HubUnreachableError, MedtuneError

__all__ = ["Uploaded", "require_access", "upload"]

_OF_THE_HUB = ".gitattributes"
_SECONDS = 60.0
_PIECE = 1 << 20
_FORBIDDEN = (401, 403)
_LATER = "the artifact is kept here; run the same command again later"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What the hub has.

    Attributes:
        commit: that holds the files.
        url: of the repository's page.
        private: whether only those with access see it, as the hub says.
        digests: path -> SHA-256, as read back from the hub.
    """

    commit: str
    url: str
    private: bool
    digests: Mapping[str, str]


def require_access(repository: Repository) -> None:
    """Refuse, without asking the hub, where there is no token or the hub must not be asked.

    Raises:
        HubError: that.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise repository.error("cannot be written to: HF_HUB_OFFLINE says not to ask the hub", "unset it")
    if get_token() is None:
        raise repository.error(
            "cannot be written to: there is no token", "set one with write access by `hf auth login`, or HF_TOKEN"
        )


def upload(repository: Repository, files: Mapping[str, Path], *, private: bool, message: str) -> Uploaded:
    """Commit files to a repository, which is made where it does not exist, and compare what the hub has with them.

    Args:
        repository: of a model, at its main branch.
        files: path in the repository -> file here.
        private: whether only those with access shall see it.
        message: of the commit.

    Raises:
        HubError: the hub refuses or cannot be reached, the repository holds other files, or is seen by more people than wanted.
        CorruptDownloadError: what the hub has is not what was sent.
    """
    require_access(repository)
    try:
        with _plain_transfers():
            commit, url, is_private = _committed(repository, files, private=private, message=message)
            found = _read_back(repository.at(commit), files)
    except MedtuneError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the client raises, none of its words are shown
        raise _told(error, repository) from None
    return Uploaded(commit, url, is_private, found)


def _committed(
    repository: Repository, files: Mapping[str, Path], *, private: bool, message: str
) -> tuple[str, str, bool]:
    from huggingface_hub import CommitOperationAdd, HfApi

    api: Any = HfApi(library_name="medtune")
    url = str(api.create_repo(repository.name, private=private, exist_ok=True))
    info = api.repo_info(repository.name, timeout=_SECONDS)
    if private and not info.private:
        raise repository.error("exists and is public", "make it private there, or use private=false")
    others = sorted({file.rfilename for file in info.siblings or ()} - files.keys() - {_OF_THE_HUB})
    if others:
        raise repository.error(
            f"holds other files already, such as '{others[0]}'", "name a repository of its own for this artifact"
        )
    adds = [CommitOperationAdd(path, str(file)) for path, file in sorted(files.items())]
    done = api.create_commit(repository.name, adds, commit_message=message, parent_commit=info.sha)
    return str(done.oid), url, bool(info.private)


def _read_back(repository: Repository, files: Mapping[str, Path]) -> dict[str, str]:
    """Return path -> SHA-256 of what the hub has: as it states them in large storage, by fetching the others."""
    from huggingface_hub import HfApi, hf_hub_url

    api: Any = HfApi(library_name="medtune")
    entries = {
        each.path: each for each in api.list_repo_tree(repository.name, recursive=True, revision=repository.revision)
    }
    found: dict[str, str] = {}
    for path, file in sorted(files.items()):
        stored = getattr(entries.get(path), "lfs", None)
        if path not in entries:
            raise repository.corrupt(path, "the hub lists no such file after the upload")
        if stored is not None:
            found[path] = str(stored.sha256)
        else:
            digest = hashlib.sha256()
            with streamed(hf_hub_url(repository.name, path, revision=repository.revision), _SECONDS, {}) as answer:
                for piece in answer.iter_bytes(_PIECE):
                    digest.update(piece)
            found[path] = digest.hexdigest()
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != found[path]:
                raise repository.corrupt(path, "the hub has other bytes than were sent")
    return found


def _told(error: Exception, repository: Repository) -> MedtuneError:
    """Return one sentence for what the client raised; nothing of its own words, which may hold a request, is kept."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _FORBIDDEN:
        return repository.error(
            f"was refused ({status}): the token has no right to write there", "use one that has, or a name of your own"
        )
    known = explained(error.__cause__ if isinstance(error.__cause__, Exception) else error, repository, "sent it files")
    if isinstance(known, HubUnreachableError):
        return repository.error(f"could not be written to: {known.reason}", _LATER)
    return known


@contextmanager
def _plain_transfers() -> Iterator[None]:
    """Let the client send files over plain HTTPS, whose every step the tests have seen, and draw no bars."""
    from huggingface_hub import constants
    from huggingface_hub import utils as library

    utils: Any = library
    before, drew = constants.HF_HUB_DISABLE_XET, not utils.are_progress_bars_disabled()
    constants.HF_HUB_DISABLE_XET = True
    if drew:
        utils.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # the client hands its HTTP library a file in a way that this calls deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        constants.HF_HUB_DISABLE_XET = before
        if drew:
            utils.enable_progress_bars()
