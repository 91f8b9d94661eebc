"""Every error that medtune raises, each one sentence built from facts."""

from medtune.errors.artifacts import (
    BaseDamagedError,
    CorruptDownloadError,
    DamagedArtifactError,
    UnprovenAnswersError,
    UnprovenBaseError,
    UnsafeAdapterError,
    UnsafeArtifactError,
)
from medtune.errors.data import DataError, UnusableRowError
from medtune.errors.plugins import (
    PluginClashError,
    PluginContractError,
    PluginError,
    PluginFailedError,
    PluginFileError,
    PluginImportError,
)
from medtune.errors.root import MedtuneError
from medtune.errors.run import NonFiniteLossError, OutOfMemoryError, RunInterruptedError, RunLockedError
from medtune.errors.spec import (
    BaseUnsuitedError,
    InvalidValueError,
    SpecChangedError,
    SpecError,
    UnknownKeyError,
    UnknownNameError,
    UnsupportedVersionError,
)
from medtune.errors.storage import DiskFullError, HubError, HubUnreachableError, StorageError, WriteFailedError

__all__ = [
    "BaseDamagedError",
    "BaseUnsuitedError",
    "CorruptDownloadError",
    "DamagedArtifactError",
    "DataError",
    "DiskFullError",
    "HubError",
    "HubUnreachableError",
    "InvalidValueError",
    "MedtuneError",
    "NonFiniteLossError",
    "OutOfMemoryError",
    "PluginClashError",
    "PluginContractError",
    "PluginError",
    "PluginFailedError",
    "PluginFileError",
    "PluginImportError",
    "RunInterruptedError",
    "RunLockedError",
    "SpecChangedError",
    "SpecError",
    "StorageError",
    "UnknownKeyError",
    "UnknownNameError",
    "UnprovenAnswersError",
    "UnprovenBaseError",
    "UnsafeAdapterError",
    "UnsafeArtifactError",
    "UnsupportedVersionError",
    "UnusableRowError",
    "WriteFailedError",
]
