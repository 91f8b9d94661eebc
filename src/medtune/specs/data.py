"""The rows to learn from and to score on, as a user writes them."""

import codecs
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from medtune.specs.canaries import CanarySpec
from medtune.specs.values import Fraction, Names, Positive, Spec, drop_foreign_pin

__all__ = ["UNDER_AGREEMENT", "DataSpec", "SourceSpec"]

MEDTUNED = "nlpie/Llama2-MedTuned-Instructions"
UNDER_AGREEMENT: Mapping[str, tuple[str, ...]] = {MEDTUNED: ("i2b2-2010", "i2b2-2012", "MedNLI")}
"""Data set -> its sources that come under data-use agreements; of other data sets medtune does not know which do."""
PUBLIC = "public"
"""Stands in ``exclude_sources`` for the sources under data-use agreements."""
MEDTUNED_REVISION = "b4fc72ad5a413b06d81a60dd3ea9a7ebb2708794"


_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}


def _one_character(value: str) -> str:
    """Take a delimiter, or its name: a shell makes a tab hard to write."""
    value = _DELIMITERS.get(value, value)
    if len(value) > 1 or value in ('"', "\n", "\r"):
        raise ValueError(f"it is one character, or one of {', '.join(n for n in _DELIMITERS if n.isalpha())}")
    return value


def _known_encoding(value: str) -> str:
    try:
        return codecs.lookup(value).name if value else value
    except LookupError:
        raise ValueError("it names no encoding, such as cp1252, latin-1 or utf-16") from None


def _numbered(value: Any) -> Any:
    """Take names in a list as those of 0, 1, ..."""
    return {str(n): name for n, name in enumerate(value)} if isinstance(value, list | tuple) else value


Labels = Annotated[dict[str, str], BeforeValidator(_numbered)]


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
    """Name of the registered formatter; "auto" chooses by the columns of many rows."""
    columns: dict[str, Names] = Field(default_factory=dict[str, Names])
    """Role -> column that takes it: a name or dotted path, or several, which are joined by a blank line. Roles are the
    columns that formatters read, ``source``, and ``metadata``: columns that nothing shall read."""
    labels: dict[str, Labels] = Field(default_factory=dict[str, Labels])
    """Role or column -> names of its values: a list for 0, 1, ..., or value -> name."""
    field: str = ""
    """Dotted path to the rows inside a JSON file that wraps them, "*" for the values of its object; empty for none. What
    lies beside them is counted and named."""
    document: str | dict[str, str] = ""
    """Column or dotted path that names the patient, note or document: rows of one are held out together. Or source -> such
    a column, "*" for every other source; ``tasks.document`` sets that of its source."""
    delimiter: Annotated[str, AfterValidator(_one_character)] = ""
    """What separates the fields of a CSV file; empty finds it out."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = ""
    """Encoding of text files, such as "cp1252"; empty takes UTF-8, or UTF-16 by its byte order mark."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Times each row is trained on per epoch: 2 takes every row twice, 0.5 half of them, drawn by the seed."""
    name: str = ""
    """Source given to rows that have none; empty takes the name of the file or repository when several are mixed."""

    @property
    def documents(self) -> dict[str, str]:
        """Source -> column that names its documents; "*" for every source without one of its own."""
        given = self.document if isinstance(self.document, dict) else {"*": self.document}
        return {source: column for source, column in given.items() if column}


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
    """Split of ``source``, or local file, folder or glob, to score on; of a JSON file with ``field``, the array of this
    name beside it. None holds out ``validation_fraction`` of the training rows, those of ``mix`` included."""
    validation_fraction: Fraction = 0.02
    """Share of training rows held out, by source, when there is no validation set."""
    limit: Positive | None = None
    """Most rows to train on, drawn evenly by source; None takes all."""
    include_sources: Names = ()
    """Only rows of these sources; empty means all."""
    exclude_sources: Names = ()
    """Never rows of these sources; "public" leaves out those under a data-use agreement, of data sets that medtune knows."""
    identifiers: Literal["off", "count", "mask", "drop"] = "off"
    """What becomes of identifiers of people before rows are formatted: nobody looks, they are counted, each is masked by
    its kind, such as [DATE], or rows that hold one are left out."""
    overlong: Literal["drop", "truncate_input", "error"] = "drop"
    """What happens to a row longer than ``train.max_length``; answers, questions and options are never cut."""
    accept_loss: bool = False
    """Whether more than 2 % of a source may be lost to ``max_length``."""
    max_quarantined: Fraction = 0.01
    """Share of malformed rows above which preparation stops: of those read and, where ``limit`` draws fewer, of those drawn."""
    supervise: Literal["last", "all"] = "last"
    """Assistant turns that carry loss: the last one, or every one."""
    system: str | dict[str, str] | None = None
    """System turn of every conversation that has none, or source -> system turn; None adds none."""
    drop_overlap: bool = False
    """Whether training rows that also stand in the validation rows are left out."""
    accept_overlap: bool = False
    """Whether rows of a validation set may be scored although the question of every single one is trained on as well."""
    canaries: CanarySpec = CanarySpec()
    """Made-up secrets that are planted among the training rows, never among those that are scored, for ``medtune audit``;
    none by default."""
    cache: bool = True
    """Whether prepared ids are kept on disk and found again; they spell out the text, readable by their owner only."""
    processes: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = "auto"
    """Processes that encode rows beside the one that reads and checks them; "auto" takes the cores but one, at most 8, where there
    are four, once a set has more than 20,000 rows. The prepared set is the same to the byte."""

    @model_validator(mode="before")
    @classmethod
    def _unpin_other_sources(cls, values: Any) -> Any:
        values = drop_foreign_pin(values, "source", MEDTUNED)
        if isinstance(values, dict) and values.get("source", MEDTUNED) != MEDTUNED:
            values.setdefault("validation", None)
        return values

    @property
    def excluded(self) -> tuple[str, ...]:
        """The sources that ``exclude_sources`` names, "public" spelt out."""
        if PUBLIC not in self.exclude_sources:
            return self.exclude_sources
        sources = (self.source, *(member.source for member in self.mix))
        under = [name for source in sources for name in UNDER_AGREEMENT.get(source, ())]
        return tuple(dict.fromkeys([*(name for name in self.exclude_sources if name != PUBLIC), *under]))

    @model_validator(mode="after")
    def _public_is_known(self) -> Self:
        sources = (self.source, *(member.source for member in self.mix))
        unknown = [source for source in sources if source not in UNDER_AGREEMENT]
        if PUBLIC in self.exclude_sources and unknown:
            raise ValueError(
                f"'{PUBLIC}' leaves out the sources under data-use agreements, and which of '{unknown[0]}' are is not known to "
                "medtune; name them, such as data.exclude_sources=i2b2-2010,MedNLI"
            )
        return self
