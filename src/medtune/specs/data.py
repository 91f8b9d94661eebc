"""The rows to learn from and to score on, as a user writes them."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from medtune.specs.values import Fraction, Names, Positive, Spec, drop_foreign_pin

__all__ = ["DataSpec", "SourceSpec"]

MEDTUNED = "nlpie/Llama2-MedTuned-Instructions"
MEDTUNED_REVISION = "b4fc72ad5a413b06d81a60dd3ea9a7ebb2708794"


class SourceSpec(Spec):
    """Rows from one place."""

    source: str
    """Hub data set (owner/name), or a local JSONL, JSON, CSV, Parquet or Arrow file (perhaps .gz or .zst), folder or
    glob."""
    revision: str | None = None
    """Commit of the hub data set; None for a local source."""
    subset: str | None = None
    """Configuration of a hub data set that has several, such as "pqa_labeled" of qiaojin/PubMedQA."""
    split: str = "train"
    """Split to train on, of the hub data set or of a folder whose files are named or grouped by split."""
    formatter: str = "auto"
    """Name of the registered formatter; "auto" chooses by the columns."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Times each row is trained on per epoch: 2 takes every row twice, 0.5 half of them, drawn by the seed."""
    name: str = ""
    """Source given to rows that have none; empty takes the name of the file or repository when several are mixed."""


class DataSpec(SourceSpec):
    """The rows to learn from and the rows to score on."""

    source: str = MEDTUNED
    """Hub data set (owner/name), or a local JSONL, JSON, CSV, Parquet or Arrow file (perhaps .gz or .zst), folder or
    glob."""
    revision: str | None = MEDTUNED_REVISION
    """Commit of the hub data set; None for a local source."""
    mix: tuple[SourceSpec, ...] = ()
    """Further sources to train on, each with its own weight, beside ``source``."""
    streaming: bool = False
    """Whether hub data sets are read while they are downloaded, instead of stored first; files always are."""
    validation: str | None = "validation"
    """Split of ``source``, or local file, folder or glob, to score on; None holds out ``validation_fraction`` of the
    training rows, those of ``mix`` included."""
    validation_fraction: Fraction = 0.02
    """Share of training rows held out, by source, when there is no validation set."""
    limit: Positive | None = None
    """Most rows to train on, drawn evenly by source; None takes all."""
    include_sources: Names = ()
    """Only rows of these sources; empty means all."""
    exclude_sources: Names = ()
    """Never rows of these sources (for example those under a data-use agreement)."""
    overlong: Literal["drop", "truncate_input", "error"] = "drop"
    """What happens to a row longer than ``train.max_length``; answers, questions and options are never cut."""
    accept_loss: bool = False
    """Whether more than 2 % of a source may be lost to ``max_length``."""
    max_quarantined: Fraction = 0.01
    """Share of malformed rows above which preparation stops."""
    supervise: Literal["last", "all"] = "last"
    """Assistant turns that carry loss: the last one, or every one."""
    system: str | dict[str, str] | None = None
    """System turn of every conversation that has none, or source -> system turn; None adds none."""
    drop_overlap: bool = False
    """Whether training rows that also stand in the validation rows are left out."""
    cache: bool = True
    """Whether prepared ids are kept on disk and found again; they spell out the text, readable by their owner only."""

    @model_validator(mode="before")
    @classmethod
    def _unpin_other_sources(cls, values: Any) -> Any:
        values = drop_foreign_pin(values, "source", MEDTUNED)
        if isinstance(values, dict) and values.get("source", MEDTUNED) != MEDTUNED:
            values.setdefault("validation", None)
        return values
