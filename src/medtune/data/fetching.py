"""Makes the rows of a spec local before they are read: every split of the hub that it names, and nothing else."""

from medtune.data.hub.download import Listener
from medtune.data.sources.hub import HubData
from medtune.data.sources.paths import is_local
from medtune.data.validation_place import validation_place
from medtune.specs import DataSpec, SourceSpec

__all__ = ["fetch_rows"]


def fetch_rows(spec: DataSpec, listener: Listener, *, has_rows: bool = False) -> None:
    """Fetch what ``training_examples`` and ``validation_pool`` will read.

    Args:
        spec: sources and the validation split.
        listener: hears of the downloads.
        has_rows: whether rows were given in the place of ``spec.source``.

    Raises:
        HubError: a set is not cached and the hub cannot be reached, or refuses.
        CorruptDownloadError: a file is not what the hub states.
        DataError: there is no such subset or split.
    """
    places: list[SourceSpec] = [*spec.mix] if has_rows else [spec, *spec.mix]
    if spec.validation is not None and not has_rows:
        places.append(validation_place(spec))
    for place in places:
        if not is_local(place.source):
            HubData(place.source, place.revision, place.subset, place.split, spec.streaming).make_local(listener)
