"""Where the rows to score on lie: files of their own, or another split of the training rows' source."""

from pathlib import Path

from medtune.data.sources.paths import is_file_name, is_json, is_local, local_files, splits_of
from medtune.data.sources.reading import SourceNotes
from medtune.specs import DataSpec, SourceSpec

__all__ = ["leave_to", "validation_place"]


def validation_place(spec: DataSpec) -> SourceSpec:
    """Tell files of their own from a split of ``spec.source``: a bare word is a split where the source has any.

    Of a JSON file whose rows lie in ``spec.field``, it is the array of that name beside them.
    """
    place = str(spec.validation)
    has_fields = bool(spec.field) and is_json(spec.source)
    of_source = has_fields or not is_local(spec.source) or splits_of(spec.source)
    exists = Path(place).expanduser().exists()
    if is_file_name(place) or (exists and ("/" in place or not of_source)):
        return SourceSpec(source=place, split="validation" if splits_of(place) else "train", field=spec.field)
    if has_fields:
        above, dot, _name = spec.field.rpartition(".")
        return SourceSpec(source=spec.source, field=place if "." in place else f"{above}{dot}{place}")
    return SourceSpec(source=spec.source, revision=spec.revision, subset=spec.subset, split=place, field=spec.field)


def leave_to(spec: DataSpec, other: SourceSpec, notes: SourceNotes) -> None:
    """Take what the other split reads from the same place out of what is left out, or will be counted as that."""
    if other.source != spec.source or not is_local(spec.source):
        return
    notes.read_elsewhere.add(other.field)
    if Path(spec.source).expanduser().is_dir():
        for file in local_files(other.source, other.split):
            notes.left_out.pop(file.name, None)
