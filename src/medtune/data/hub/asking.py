"""Asks the hub which commit a revision is at, and which files it holds."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from medtune.data.hub.client import answer_to
from medtune.data.hub.repository import Listing, RepoFile, Repository, is_commit, readable_by_owner
from medtune.data.hub.watch import Patience, Tell, Watch, insist, watched
from medtune.errors import HubUnreachableError

__all__ = ["commit_of", "listing_of"]

T = TypeVar("T")


def commit_of(repository: Repository, patience: Patience, tell: Tell) -> str:
    """Return the commit that the revision is at, by one request; of a commit itself, by none.

    Where the hub cannot be asked, the commit that the cache holds for the revision is taken, and that is told.

    Raises:
        HubError: it cannot be asked and the cache holds none, or it refuses.
    """
    if is_commit(repository.revision):
        return str(repository.revision)

    def request() -> str:
        found: str = (
            _client()
            .repo_info(
                repository.name, repo_type=repository.kind, revision=repository.revision, timeout=patience.answer
            )
            .sha
        )
        return found

    try:
        commit = _asked(repository, patience, tell, "asking for the commit", request)
    except HubUnreachableError as error:
        cached = repository.cached_commit()
        if cached is None:
            raise
        tell(f"{repository.what} '{repository.name}': {error.reason}; taking {cached[:12]}, which is cached")
        return cached
    if not is_commit(commit):
        raise repository.error("has no commit in the hub's answer", "see whether HF_ENDPOINT is a hub")
    _keep_commit(repository, commit)
    return commit


def _keep_commit(repository: Repository, commit: str) -> None:
    """Note, where the hub's client notes it, what the revision is at, for a run without a connection."""
    place = repository.cache / "refs" / (repository.revision or "main")
    with suppress(OSError), readable_by_owner(repository):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(commit, "utf-8")


def listing_of(repository: Repository, patience: Patience, tell: Tell) -> Listing:
    """Return the files of a repository at a commit: as noted before, else asked for, else as the cache holds them.

    Raises:
        HubError: the hub cannot be asked and the cache holds nothing, or it refuses.
    """
    kept = Listing.kept(repository)
    if kept is not None:
        return kept

    try:
        files = _files(repository, patience, tell)
    except HubUnreachableError:
        cached = Listing.cached(repository)
        if cached is None:
            raise
        return cached
    unsafe = sum(not file.is_safe for file in files)
    if unsafe:
        raise repository.corrupt(
            "(its list of files)", f"{unsafe} of {len(files)} entries lead out of the repository or have no hash"
        )
    listing = Listing(repository, {file.path: file for file in files})
    listing.keep()
    return listing


def _files(repository: Repository, patience: Patience, tell: Tell) -> list[RepoFile]:
    """Ask page by page; the client's own listing bears neither silence nor a long wait with a word."""
    from huggingface_hub import constants

    url = f"{constants.ENDPOINT}/api/{repository.kind}s/{repository.name}/tree/{repository.revision}?recursive=true"
    files: list[RepoFile] = []
    while url:
        page, url = _asked(repository, patience, tell, "asking for the files", partial(_page, url, patience))
        if url and not url.startswith(f"{constants.ENDPOINT}/"):  # the token goes to the endpoint only
            raise repository.corrupt("(its list of files)", "it goes on at another host than the hub's")
        files += page
    return files


def _page(url: str, patience: Patience) -> tuple[list[RepoFile], str]:
    response = answer_to(url, patience.answer)
    files = [_file(entry) for entry in response.json() if entry["type"] == "file"]
    return files, response.links.get("next", {}).get("url", "")


def _file(entry: Mapping[str, Any]) -> RepoFile:
    stored: Mapping[str, Any] = entry.get("lfs") or entry
    return RepoFile(entry["path"], int(stored["size"]), str(stored["oid"]))


def _asked(repository: Repository, patience: Patience, tell: Tell, doing: str, request: Callable[[], T]) -> T:
    """Return what one request brings, under a watch of its own."""
    watch: Watch = Watch(patience, tell)

    def answered() -> T:
        found = request()
        watch.hear()
        return found

    return watched(watch, repository, [lambda: insist(watch, repository, doing, answered)])[0]


def _client() -> Any:
    from huggingface_hub import HfApi

    return HfApi(library_name="medtune")
