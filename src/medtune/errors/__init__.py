"""Every error that medtune raises, each one sentence built from facts."""

from medtune.errors.artifacts import (
    BaseDamagedError,
    CorruptDownloadError,
    DamagedArtifactError,
    TrialFailedError,
    UnprovenAnswersError,
    UnprovenBaseError,
    UnsafeAdapterError,
    UnsafeArtifactError,
)
from medtune.errors.data import DataError, UnusableRowError
from medtune.errors.locked_mode import NetworkRefusedError, RemoteNameError
from medtune.errors.plugins import (
    DisabledPluginError,
    PluginClashError,
    PluginContractError,
    PluginError,
    PluginFailedError,
    PluginFileError,
    PluginImportError,
)
from medtune.errors.root import MedtuneError
from medtune.errors.run import (
    ForkedProcessError,
    NonFiniteLossError,
    OutOfMemoryError,
    ProcessBusyError,
    RunIdleError,
    RunInterruptedError,
    RunLockedError,
)
from medtune.errors.spec import (
    BaseUnsuitedError,
    InvalidValueError,
    Mistake,
    SpecChangedError,
    SpecError,
    SpecValidationError,
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
    "DisabledPluginError",
    "DiskFullError",
    "ForkedProcessError",
    "HubError",
    "HubUnreachableError",
    "InvalidValueError",
    "MedtuneError",
    "Mistake",
    "NetworkRefusedError",
    "NonFiniteLossError",
    "OutOfMemoryError",
    "PluginClashError",
    "PluginContractError",
    "PluginError",
    "PluginFailedError",
    "PluginFileError",
    "PluginImportError",
    "ProcessBusyError",
    "RemoteNameError",
    "RunIdleError",
    "RunInterruptedError",
    "RunLockedError",
    "SpecChangedError",
    "SpecError",
    "SpecValidationError",
    "StorageError",
    "TrialFailedError",
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
