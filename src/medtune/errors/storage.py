"""Files and repositories that cannot be read or written."""

from medtune.errors.root import MedtuneError

__all__ = ["DiskFullError", "ForeignFolderError", "HubError", "HubUnreachableError", "StorageError", "WriteFailedError"]


class StorageError(MedtuneError):
    """A file or repository cannot be read or written."""

    exit_code = 6


class HubError(StorageError):
    """The hub does not give a model or data set; what was fetched so far is kept."""

    def __init__(self, what: str, repository: str, problem: str, instead: str) -> None:
        self.what, self.repository, self.problem, self.instead = what, repository, problem, instead
        super().__init__(f"{what} '{repository}' {problem}; {instead}")


class HubUnreachableError(HubError):
    """A model or data set is neither local nor reachable on the hub."""

    def __init__(
        self,
        what: str,
        repository: str,
        local_option: str,
        reason: str = "the hub cannot be reached",
        missing: str | None = None,
    ) -> None:
        self.local_option, self.reason, self.missing = local_option, reason, missing
        lacks = "is not in the local cache" if missing is None else f"lacks '{missing}' in the local cache"
        super().__init__(what, repository, f"{lacks} and {reason}", f"point at a local copy with {local_option}")


class WriteFailedError(StorageError):
    """The operating system refused a write into the run folder; what was saved before is untouched."""

    def __init__(self, what: str, path: str, reason: str) -> None:
        self.what, self.path, self.reason = what, path, reason
        super().__init__(f"cannot write {what} to '{path}': {reason}; what was saved before is untouched")


class DiskFullError(StorageError):
    """There is less free disk space than the next write needs."""

    def __init__(
        self, path: str, needed_bytes: int, free_bytes: int, instead: str = "choose another output_dir"
    ) -> None:
        self.path, self.needed_bytes, self.free_bytes, self.instead = path, needed_bytes, free_bytes, instead
        needed, free = (count / 2**20 for count in (needed_bytes, free_bytes))
        super().__init__(
            f"'{path}' needs {needed:,.0f} MiB of free disk space and has {free:,.0f} MiB; free some, or {instead}"
        )


class ForeignFolderError(StorageError):
    """A folder from which something was to be removed is not one that medtune made; nothing was removed."""

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(
            f"nothing is removed from the cache '{path}': it {problem}; set MEDTUNE_CACHE to the folder that medtune made"
        )
