"""The error of an artifact that does not answer as the tuned model."""

from collections.abc import Sequence

from medtune.errors import UnsafeArtifactError

__all__ = ["RefusedExportError"]


class RefusedExportError(UnsafeArtifactError):
    """An exported artifact is not the tuned model; it was kept under a name that says so."""

    def __init__(self, to: str, path: str, problems: Sequence[str]) -> None:
        self.to, self.path, self.problems = to, path, tuple(problems)
        super().__init__(
            f"the export '{to}' is not the tuned model: {'; '.join(self.problems)}; it was put aside as '{path}', do not use it"
        )
