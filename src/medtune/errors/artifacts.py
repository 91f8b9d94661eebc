"""An artifact that is damaged, unsafe, or not what it is taken for."""

from collections.abc import Sequence

from medtune.errors.root import MedtuneError

__all__ = [
    "BaseDamagedError",
    "CorruptDownloadError",
    "DamagedArtifactError",
    "TrialFailedError",
    "UnprovenAnswersError",
    "UnprovenBaseError",
    "UnsafeAdapterError",
    "UnsafeArtifactError",
]


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


class TrialFailedError(UnsafeArtifactError):
    """What others wrote takes too much time or memory, or ended the process in which it was tried before its use."""

    def __init__(self, what: str, place: str, reason: str, instead: str) -> None:
        self.what, self.place, self.reason, self.instead = what, place, reason, instead
        super().__init__(f"the {what} of '{place}' is not used: it {reason}; {instead}")


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
