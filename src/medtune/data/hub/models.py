"""Which files of a model's repository are needed: what describes it, and its weights in safetensors."""

from pathlib import Path, PurePosixPath

from medtune.data.base.fault import Fault
from medtune.data.base.folder import INDEX, SINGLE, read_index
from medtune.data.hub.asking import commit_of, listing_of
from medtune.data.hub.download import Listener, make_local, missing_bytes, require_space
from medtune.data.hub.repository import Listing, RepoFile, Repository
from medtune.errors import CorruptDownloadError, HubError, HubUnreachableError
from medtune.specs import ModelSpec

__all__ = ["bytes_to_fetch", "described", "loadable", "repository_of", "require_room"]

_DESCRIBE = frozenset({".json", ".model", ".txt", ".jinja", ".tiktoken"})
_CARD = "README.md"
_LARGEST_DESCRIPTION = 256 * 2**20
_UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


def repository_of(model: ModelSpec) -> Repository:
    """Return the repository of a model."""
    return Repository("model", model.name, model.revision)


def described(model: ModelSpec, listener: Listener | None = None) -> Path:
    """Return the local folder with what describes a model: configuration, tokenizer and chat template.

    Raises:
        HubError: it is not cached and the hub cannot be reached, or refuses.
        CorruptDownloadError: a file is not what the hub states.
    """
    if model.path:
        return Path(model.path)
    listener = listener or Listener()
    listing = _listing(model, listener)
    return make_local(listing.repository, _descriptions(listing), listener)


def loadable(model: ModelSpec, listener: Listener | None = None) -> Path:
    """Return the local folder from which a model can be loaded, its weights included.

    Raises:
        HubError: as for ``described``; or the repository holds no weights in safetensors.
        CorruptDownloadError: a file is not what the hub states.
        DiskFullError: there is no room for the weights.
    """
    if model.path:
        return Path(model.path)
    listener = listener or Listener()
    listing = _listing(model, listener)
    folder = make_local(listing.repository, _descriptions(listing), listener)
    return make_local(listing.repository, [*_descriptions(listing), *_weights(listing, folder)], listener)


def require_room(model: ModelSpec, listener: Listener) -> None:
    """Refuse a disk that has no room for the weights, before anything else is fetched for them.

    Raises:
        DiskFullError: there is less room than is still to be fetched.
        HubError: as for ``loadable``.
    """
    if not model.path:
        listing = _listing(model, listener)
        folder = make_local(listing.repository, _descriptions(listing), listener)
        require_space(listing.repository, _weights(listing, folder))


def bytes_to_fetch(model: ModelSpec) -> int | None:
    """Return the bytes that ``loadable`` would fetch, without asking for anything; None while the hub's list is not here."""
    if model.path:
        return 0
    repository = repository_of(model)
    commit = repository.cached_commit()
    listing = Listing.kept(repository.at(commit)) if commit else None
    if listing is None:
        return None
    try:
        weights = _weights(listing, listing.repository.snapshot)
    except (HubError, CorruptDownloadError):  # it names no weights, or its index is not here yet
        weights = [file for path, file in listing.files.items() if path.endswith(".safetensors") and "/" not in path]
    return missing_bytes(listing.repository, [*_descriptions(listing), *weights])


def _listing(model: ModelSpec, listener: Listener) -> Listing:
    repository = repository_of(model)
    commit = commit_of(repository, listener.patience, listener.tell)
    return listing_of(repository.at(commit), listener.patience, listener.tell)


def _descriptions(listing: Listing) -> list[RepoFile]:
    """Return the small files at the top, and further chat templates."""
    return [
        file
        for path, file in listing.files.items()
        if (path == _CARD or PurePosixPath(path).suffix in _DESCRIBE)
        and ("/" not in path or path.startswith("additional_chat_templates/"))
        and file.size <= _LARGEST_DESCRIPTION
    ]


def _weights(listing: Listing, folder: Path) -> list[RepoFile]:
    """Return the files that transformers loads: the shards that the index names, else the one file."""
    repository, files = listing.repository, listing.files
    instead = "choose one that has them, convert it, or point at a local copy with --set model.path=FOLDER"
    if SINGLE in files:
        return [files[SINGLE]]
    if INDEX not in files and not listing.is_whole:
        raise _absent(repository, SINGLE)
    if INDEX not in files:
        unsafe = sorted(path for path in files if path.endswith(_UNSAFE))
        has = f"only '{unsafe[0]}'" if unsafe else "none at all"
        why = ", a form that can run code as it is loaded" if unsafe else ""
        raise repository.error(f"holds no weights in safetensors, {has}{why}", instead)
    try:
        names = sorted(read_index(folder / INDEX))
    except (Fault, OSError) as error:
        raise repository.corrupt(INDEX, "it names no shards") from error
    lacking = sorted(set(names) - files.keys())
    if lacking and not listing.is_whole:
        raise _absent(repository, lacking[0])
    if lacking:
        raise repository.error(f"lacks '{lacking[0]}', one of {len(lacking)} shards that its index names", instead)
    return [files[name] for name in names]


def _absent(repository: Repository, file: str) -> HubUnreachableError:
    return HubUnreachableError(repository.what, repository.name, repository.local_option, missing=file)
