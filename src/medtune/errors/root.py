"""The root of the tree of errors, and the tree.

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
│       ├── PluginContractError
│       ├── PluginFailedError
│       ├── PluginFileError
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

__all__ = ["MedtuneError"]


class MedtuneError(Exception):
    """Base of all errors that medtune raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code: int = 1
