"""Every error that medtune raises, each one sentence built from facts.

MedtuneError
├── SpecError (exit 2)
│   ├── UnknownKeyError
│   ├── InvalidValueError
│   ├── UnknownNameError
│   ├── SpecChangedError
│   ├── UnsupportedVersionError
│   ├── BaseUnsuitedError
│   └── PluginError
│       ├── PluginClashError
│       └── PluginImportError
├── DataError (exit 3)
│   └── UnusableRowError
├── UnsafeArtifactError (exit 4)
│   ├── BaseDamagedError
│   ├── CorruptDownloadError
│   ├── DamagedArtifactError
│   ├── UnprovenAnswersError
│   ├── UnprovenBaseError
│   └── UnsafeAdapterError
├── RunLockedError (exit 5)
├── StorageError (exit 6)
│   ├── HubError
│   │   └── HubUnreachableError
│   ├── WriteFailedError
│   └── DiskFullError
├── NonFiniteLossError (exit 7)
├── OutOfMemoryError (exit 8)
└── RunInterruptedError (exit 75)

Each class takes the facts, builds its own sentence and keeps the facts as attributes. No error repeats a row's text:
it may be a patient's.
"""

import difflib
from collections.abc import Iterable, Sequence


class MedtuneError(Exception):
    """Base of all errors that medtune raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code: int = 1


class SpecError(MedtuneError):
    """The spec, or a command line argument, cannot be used as written."""

    exit_code = 2


class UnknownKeyError(SpecError):
    """A spec holds a key that no field has."""

    def __init__(self, key: str, where: str, known: Iterable[str]) -> None:
        self.key, self.where, self.known = key, where, sorted(known)
        super().__init__(f"unknown key '{key}' at {where}; {_nearest(key.rpartition('.')[2], self.known)}")


class InvalidValueError(SpecError):
    """A spec field has a value of the wrong type or outside its range."""

    def __init__(self, field: str, where: str, reason: str) -> None:
        self.field, self.where, self.reason = field, where, reason
        super().__init__(f"'{field}' at {where} cannot be used: {reason}")


class UnknownNameError(SpecError):
    """No plugin registered a backend, formatter, task or bundle of this name."""

    def __init__(self, kind: str, name: str, registered: Iterable[str]) -> None:
        self.kind, self.name, self.registered = kind, name, sorted(registered)
        super().__init__(f"no {kind} named '{name}'; {_nearest(name, self.registered, 'registered')}")


class SpecChangedError(SpecError):
    """A run cannot be resumed, because its spec, data set or prompt contract is no longer the one it began with."""

    def __init__(self, path: str, changes: Sequence[str]) -> None:
        self.path, self.changes = path, tuple(changes)
        told = "; ".join(self.changes)
        super().__init__(
            f"run '{path}' cannot be resumed with other settings: {told}; restore them, or choose another output_dir"
        )


class UnsupportedVersionError(SpecError):
    """An installed library lacks, or has changed, what medtune relies on."""

    def __init__(self, library: str, installed: str, fault: str, tested: tuple[str, str]) -> None:
        self.library, self.installed, self.fault, self.tested = library, installed, fault, tested
        releases = " to ".join(dict.fromkeys(tested))
        super().__init__(f"{library} {installed} {fault}; medtune is tested with {releases}: install one of these")


class BaseUnsuitedError(SpecError):
    """A base model cannot be used for what the spec asks; ``check`` names the check that found it."""

    def __init__(self, check: str, base: str, problem: str, instead: str) -> None:
        self.check, self.base, self.problem, self.instead = check, base, problem, instead
        super().__init__(f"the base '{base}' {problem}; {instead}")


class PluginError(SpecError):
    """A plugin breaks the contract of its hook."""


class PluginClashError(PluginError):
    """Two plugins register the same name."""

    def __init__(self, kind: str, name: str, owners: Sequence[str]) -> None:
        self.kind, self.name, self.owners = kind, name, tuple(owners)
        by = " and by ".join(map(repr, owners))
        super().__init__(f"{kind} '{name}' is registered by {by}; names must be unique: rename one or uninstall one")


class PluginImportError(PluginError):
    """An installed plugin cannot be imported."""

    def __init__(self, plugin: str, distribution: str, reason: str) -> None:
        self.plugin, self.distribution, self.reason = plugin, distribution, reason
        super().__init__(
            f"plugin '{plugin}' of distribution '{distribution}' cannot be loaded ({reason}); repair or uninstall it, "
            "or set MEDTUNE_DISABLE_PLUGIN_AUTOLOAD=1"
        )


class DataError(MedtuneError):
    """The data set cannot be read, formatted or encoded as asked."""

    exit_code = 3


class UnusableRowError(DataError):
    """A row cannot be encoded; others of its set can."""

    def __init__(self, row_id: str, reason: str) -> None:
        self.row_id, self.reason = row_id, reason
        super().__init__(f"row '{row_id}': {reason}")


class UnsafeArtifactError(MedtuneError):
    """An artifact is damaged, or would run code or break the prompt contract when used."""

    exit_code = 4


class BaseDamagedError(UnsafeArtifactError):
    """Files of a base model are damaged, or contradict each other; ``check`` names the check that found it."""

    def __init__(self, check: str, base: str, problem: str, instead: str) -> None:
        self.check, self.base, self.problem, self.instead = check, base, problem, instead
        super().__init__(f"the base '{base}' {problem}; {instead}")


class DamagedArtifactError(UnsafeArtifactError):
    """A checkpoint or adapter is not, byte for byte, what was written."""

    def __init__(self, path: str, file: str, reason: str) -> None:
        self.path, self.file, self.reason = path, file, reason
        super().__init__(f"'{path}' is damaged: file '{file}' {reason}; restore it from a copy or remove the folder")


class UnprovenAnswersError(UnsafeArtifactError):
    """A way of answering gives other tokens than the model does one by one."""

    def __init__(self, way: str, reason: str) -> None:
        self.way, self.reason = way, reason
        super().__init__(f"{way} does not answer as this model does token by token: {reason}; use another eval.backend")


class UnprovenBaseError(UnsafeArtifactError):
    """A base computes in no way that medtune knows what its own forward with labels computes, or sees later tokens."""

    def __init__(self, base: str, reasons: Sequence[str]) -> None:
        self.base, self.reasons = base, tuple(reasons)
        super().__init__(f"base '{base}' cannot be trained: {'; '.join(self.reasons)}; use another base model")


class UnsafeAdapterError(UnsafeArtifactError):
    """An adapter is not the one that its run trained, or would run code; ``check`` names what found it."""

    def __init__(self, path: str, check: str, reason: str, remedy: str = "") -> None:
        self.path, self.check, self.reason = path, check, reason
        remedy = remedy or "restore a copy, or train it again in another output_dir"
        super().__init__(f"adapter '{path}' is not used: {reason}; {remedy}")


class CorruptDownloadError(UnsafeArtifactError):
    """A file of a model or data set is not what the hub says that it is."""

    def __init__(self, what: str, repository: str, file: str, reason: str) -> None:
        self.what, self.repository, self.file, self.reason = what, repository, file, reason
        again = "nothing was loaded from it: run the same command again, and if it stays so, ask who runs the mirror between"
        super().__init__(f"file '{file}' of {what} '{repository}' is corrupt: {reason}; {again}")


class RunLockedError(MedtuneError):
    """Another process writes to this run folder."""

    exit_code = 5

    def __init__(self, path: str, pid: int | None, host: str | None) -> None:
        self.path, self.pid, self.host = path, pid, host
        owner = f"process {pid} on host '{host}'" if pid else "another process"
        super().__init__(f"run folder '{path}' is in use by {owner}; wait for it to end or choose another output_dir")


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


class NonFiniteLossError(MedtuneError):
    """The loss or a gradient became NaN or infinite; nothing was updated with it."""

    exit_code = 7

    def __init__(self, step: int, quantity: str, row_ids: Sequence[str] = ()) -> None:
        self.step, self.quantity, self.row_ids = step, quantity, tuple(row_ids)
        shown = ", ".join(self.row_ids[:8]) + (", ..." if len(self.row_ids) > 8 else "")  # noqa: PLR2004
        rows = f" (rows {shown})" if self.row_ids else ""
        instead = (
            "lower train.learning_rate, inspect these rows, or go on without such updates by train.on_nonfinite=skip"
        )
        kept = "the step was not applied and the last checkpoint is kept"
        super().__init__(f"{quantity} is not finite at step {step}{rows}; {kept}: {instead}")


class OutOfMemoryError(MedtuneError):
    """The run does not fit into the memory of the device."""

    exit_code = 8


class RunInterruptedError(MedtuneError):
    """The run stopped on a signal or a time limit after saving; the same command resumes it."""

    exit_code = 75

    def __init__(self, path: str, step: int, reason: str) -> None:
        self.path, self.step, self.reason = path, step, reason
        if reason == "SIGINT":
            self.exit_code = 130  # what shells expect after Ctrl-C
        super().__init__(f"run '{path}' was interrupted at step {step} ({reason}) and saved; run it again to resume")


def _nearest(word: str, known: Sequence[str], label: str = "known here") -> str:
    """Say which known names come closest to ``word``, or list them all."""
    listing = f"{label}: " + (", ".join(f"'{k}'" for k in known) or "nothing")
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'? {listing}" if close else listing
