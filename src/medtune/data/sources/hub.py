"""Reads data sets of the hub through ``datasets``, at the commit that was asked for or not at all."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medtune.data.hub.asking import commit_of
from medtune.data.hub.data_sets import local_split
from medtune.data.hub.download import Listener
from medtune.data.hub.refusals import explained, is_of_the_hub
from medtune.data.hub.repository import Repository
from medtune.data.sources.columnar import label_names
from medtune.data.sources.reading import SourceNotes
from medtune.errors import DataError, HubError, MedtuneError

__all__ = ["HubData", "note_features", "rows_of_batches"]

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class HubData:
    """One split of a data set on the hub.

    Attributes:
        repository: owner/name.
        revision: commit, branch or tag; None follows the main branch.
        subset: configuration, for a set that has several.
        split: split.
        streaming: whether rows are read while they are downloaded, instead of after; then no hash can be checked.
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

    def rows(self, listener: Listener | None = None, notes: SourceNotes | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the rows in order, from local files whose hashes are those that the hub states.

        Args:
            listener: hears of a download.
            notes: take the names of labels.

        Raises:
            HubError: the set is not cached and the hub cannot be reached, or refuses; or there is no such set or commit.
            CorruptDownloadError: a file is not what the hub states.
            DataError: there is no such subset or split, or a file in the set is malformed.
        """
        listener = listener or Listener()
        repository = self._pinned(listener)
        try:
            if self.streaming:
                yield from _noted_rows(self._streamed(repository), notes)
                return
            with local_split(repository, self.subset, self.split, listener) as data:
                yield from _noted_rows(data, notes)
        except MedtuneError:
            raise
        except Exception as error:  # noqa: BLE001 - the client raises a dozen libraries' errors; some quote rows
            raise self._explained(error, repository) from None

    def make_local(self, listener: Listener) -> None:
        """Fetch what ``rows`` will read; nothing where it reads while it downloads.

        Raises:
            MedtuneError: as for ``rows``.
        """
        if self.streaming:
            return
        repository = self._pinned(listener)
        try:
            with local_split(repository, self.subset, self.split, listener):
                return
        except MedtuneError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise self._explained(error, repository) from None

    def identity(self) -> str | None:
        """Return what the rows depend on: repository, commit, subset and split; None when the commit is unknown."""
        try:
            commit = self._pinned(Listener()).revision
        except HubError:  # unknown is an answer: nothing is then kept for later runs
            return None
        return f"{self.repository}@{commit}/{self.subset or ''}[{self.split}]"

    def _pinned(self, listener: Listener) -> Repository:
        """Return the repository at a commit; one that is asked for by a commit costs no request."""
        repository = Repository("dataset", self.repository, self.revision)
        return repository.at(commit_of(repository, listener.patience, listener.tell))

    def _streamed(self, repository: Repository) -> Any:
        from datasets import load_dataset

        return load_dataset(
            self.repository, name=self.subset, revision=repository.revision, split=self.split, streaming=True
        )

    def _explained(self, error: Exception, repository: Repository) -> MedtuneError:
        """Return one sentence for what the client raised; of its own words only names of subsets and splits are kept."""
        words = str(error)
        if isinstance(error, ValueError) and "split" in words.lower():
            return DataError(
                f"data set '{self.repository}' has no split '{self.split}'{_offered(words)}; set data.split"
            )
        if isinstance(error, ValueError) and "config" in words.lower():
            has = "has several subsets" if self.subset is None else f"has no subset '{self.subset}'"
            return DataError(f"data set '{self.repository}' {has}{_offered(words)}; set data.subset")
        if is_of_the_hub(error):
            return explained(error, repository, "read it")
        return DataError(
            f"data set '{self.repository}' cannot be read ({type(error).__name__}); download its files and point "
            "data.source at them"
        )


def note_features(data: Any, notes: SourceNotes) -> None:
    """Note the names of the numbers in label columns of a ``datasets`` object."""
    features: Mapping[str, Any] = getattr(data, "features", None) or {}
    for column, feature in features.items():
        if names := label_names(feature):
            notes.labels[column] = names


def _noted_rows(data: Any, notes: SourceNotes | None) -> Iterator[Mapping[str, Any]]:
    if notes is not None:
        note_features(data, notes)
    return rows_of_batches(data)


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
