"""Reads data sets of the hub through ``datasets``, at the commit that was asked for or not at all."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.sources.columnar import label_names
from medtune.data.sources.reading import SourceNotes
from medtune.errors import DataError, HubUnreachableError, MedtuneError

__all__ = ["HubData", "note_features", "rows_of_batches"]

_BATCH = 1000
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubData:
    """One split of a data set on the hub.

    Attributes:
        repository: owner/name.
        revision: commit, branch or tag; None follows the main branch.
        subset: configuration, for a set that has several.
        split: split.
        streaming: whether rows are read while they are downloaded, instead of after.
    """

    repository: str
    revision: str | None = None
    subset: str | None = None
    split: str = "train"
    streaming: bool = False

    @property
    def label(self) -> str:
        """How places and errors call it."""
        return f"{self.repository}@{(self.revision or 'main')[:12]}[{self.split}]"

    def rows(
        self, load: Callable[..., Any] | None = None, notes: SourceNotes | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the rows in order.

        Args:
            load: stands in for ``datasets.load_dataset``.
            notes: take the names of labels.

        Raises:
            HubUnreachableError: the set is not cached and the hub cannot be reached.
            DataError: there is no such set, commit, subset or split, the cache holds another commit, or a file in the
                set is malformed.
        """
        try:
            data = (load or _load_dataset())(
                self.repository,
                name=self.subset,
                revision=self.revision,
                split=self.split,
                streaming=self.streaming,
            )
            self._require_commit(data)
            if notes is not None:
                note_features(data, notes)
            yield from rows_of_batches(data)
        except MedtuneError:
            raise
        except Exception as error:  # noqa: BLE001 - the client raises a dozen libraries' errors; some quote rows
            raise self._explained(error) from None

    def identity(self) -> str | None:
        """Return what the rows depend on: repository, commit, subset and split; None when the commit is unknown."""
        commit = self.revision if _COMMIT.fullmatch(self.revision or "") else self._newest_commit()
        return f"{self.repository}@{commit}/{self.subset or ''}[{self.split}]" if commit else None

    def _newest_commit(self) -> str | None:
        """Ask the hub which commit a branch or tag is at."""
        import huggingface_hub

        try:
            commit: str | None = huggingface_hub.HfApi().dataset_info(self.repository, revision=self.revision).sha
        except Exception:  # noqa: BLE001 - unknown is an answer: nothing is then kept for later runs
            return None
        return commit

    def _require_commit(self, data: Any) -> None:
        """Refuse another commit: without a connection ``datasets`` takes whatever it cached last of the repository."""
        if not _COMMIT.fullmatch(self.revision or ""):
            return
        # The folder that ``datasets`` caches a set in is called after its commit.
        files: list[dict[str, str]] = getattr(data, "cache_files", None) or []
        commits = {part for file in files for part in Path(file["filename"]).parts if _COMMIT.fullmatch(part)}
        if commits and self.revision not in commits:
            raise DataError(
                f"the cache holds data set '{self.repository}' at commit {min(commits)[:12]} and the run is pinned to "
                f"{str(self.revision)[:12]}; fetch that commit while the hub can be reached, or set data.revision"
            )

    def _explained(self, error: Exception) -> MedtuneError:
        """Return one sentence for what the client raised; of its own words only names of subsets and splits are kept."""
        name, words = type(error).__name__, str(error)
        if name == "DatasetNotFoundError":
            what = "is gated: ask for access and log in" if "gated" in words else "does not exist, or needs a log-in"
            if words.startswith("Revision"):
                what = f"has no revision '{self.revision}'"
            return DataError(f"data set '{self.repository}' {what}")
        if isinstance(error, ValueError) and "split" in words.lower():
            return DataError(
                f"data set '{self.repository}' has no split '{self.split}'{_offered(words)}; set data.split"
            )
        if isinstance(error, ValueError) and "config" in words.lower():
            return DataError(f"data set '{self.repository}' has several subsets{_offered(words)}; set data.subset")
        if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore")):
            return HubUnreachableError("data set", self.repository, "--set data.source=FILE")
        return DataError(
            f"data set '{self.repository}' cannot be read ({name}); download its files and point data.source at them"
        )


def _load_dataset() -> Callable[..., Any]:
    from datasets import load_dataset

    found: Callable[..., Any] = load_dataset
    return found


def note_features(data: Any, notes: SourceNotes) -> None:
    """Note the names of the numbers in label columns of a ``datasets`` object."""
    features: Mapping[str, Any] = getattr(data, "features", None) or {}
    for column, feature in features.items():
        if names := label_names(feature):
            notes.labels[column] = names


def rows_of_batches(data: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a ``datasets`` object, converted a batch at a time: row by row takes ten times as long."""
    for batch in data.iter(batch_size=_BATCH):
        columns = list(batch)
        for values in zip(*(batch[column] for column in columns), strict=True):
            yield dict(zip(columns, values, strict=True))


def _offered(words: str) -> str:
    """Pick the bracketed list of names out of the client's sentence."""
    match = re.search(r"\[([^\]]{1,500})\]", words)
    return f" (it has {match[1]})" if match else ""
