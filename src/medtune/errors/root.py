"""The root of the tree of errors, and the tree.

MedtuneError
├── SpecError (exit 2)
│   ├── UnknownKeyError
│   ├── InvalidValueError
│   ├── SpecValidationError (a ValueError too)
│   ├── UnknownNameError
│   ├── UnknownSetError
│   ├── SpecChangedError
│   ├── UnsupportedVersionError
│   ├── BaseUnsuitedError
│   ├── RemoteNameError
│   └── PluginError
│       ├── PluginClashError
│       ├── PluginContractError
│       ├── PluginFailedError
│       ├── PluginFileError
│       ├── PluginImportError
│       └── DisabledPluginError
├── DataError (exit 3)
│   └── UnusableRowError
├── UnsafeArtifactError (exit 4)
│   ├── BaseDamagedError
│   ├── CorruptDownloadError
│   ├── DamagedArtifactError
│   ├── NetworkRefusedError
│   ├── TrialFailedError
│   ├── UnprovenAnswersError
│   ├── UnprovenBaseError
│   └── UnsafeAdapterError
├── RunLockedError (exit 5)
│   └── ProcessBusyError
├── ForkedProcessError (exit 5)
├── RunIdleError (exit 5)
├── OtherProcessError (exit 75)
├── StorageError (exit 6)
│   ├── ForeignFolderError
│   ├── HubError
│   │   └── HubUnreachableError
│   ├── WriteFailedError
│   └── DiskFullError
├── NonFiniteLossError (exit 7)
├── OutOfMemoryError (exit 8)
├── NotReproducedError (exit 9)
└── RunInterruptedError (exit 75)

Each class takes the facts, builds its own sentence and keeps the facts as attributes. No error repeats a row's text:
it may be a patient's. Sentence and facts are masked, so none tells a credential. Errors pass from process to process with
type, sentence, facts and notes. Each class has an entry in docs/troubleshooting.md, whose address is ``docs``.
"""

from collections.abc import Callable
from typing import Any

from medtune.errors.masking import masked

__all__ = ["MedtuneError"]

_PAGE = "https://medtune.readthedocs.io/en/latest/troubleshooting.html"


class MedtuneError(Exception):
    """Base of all errors that medtune raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code: int = 1

    def __init__(self, sentence: str) -> None:
        vars(self).update({name: masked(fact) for name, fact in vars(self).items() if isinstance(fact, str)})
        super().__init__(masked(sentence))

    @property
    def docs(self) -> str:
        """Address of what the documents say of this error; of the nearest of medtune's own, where a plugin raised its own kind."""
        own = next(kind for kind in type(self).__mro__ if kind.__module__.partition(".")[0] == "medtune")
        return f"{_PAGE}#{own.__name__.lower()}"

    def __reduce__(self) -> tuple[Callable[..., "MedtuneError"], tuple[Any, ...], dict[str, Any]]:
        """Return how a copy is made: ``__init__`` takes facts, so the default way, by the sentence, would call it wrongly."""
        state = dict(self.__dict__)
        if "__notes__" in state:
            state["__notes__"] = list(state["__notes__"])  # a note that is added to a copy is not one of the first
        return _copied, (type(self), self.args), state


def _copied(kind: type[MedtuneError], args: tuple[Any, ...]) -> MedtuneError:
    """Return an error with that sentence; its facts follow as its state."""
    error = kind.__new__(kind)
    error.args = args
    return error
