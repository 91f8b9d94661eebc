"""What the rows of a source are, as a user writes it where gold answers alone do not tell."""

import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from medtune.specs.values import Names, Spec

__all__ = ["TaskKind", "TaskSpec"]

TaskKind = Literal[
    "tagging",
    "classification",
    "multi-label",
    "relation",
    "inference",
    "choice",
    "decision",
    "question",
    "extraction",
    "free-text",
]

_WITH_LABELS = ("classification", "multi-label", "relation", "inference")


def _infer(value: Any) -> Any:
    return () if value == "infer" else value


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


LabelNames = Annotated[Names, BeforeValidator(_infer)]


class TaskSpec(Spec):
    """What the answers of one source are, and how they are scored."""

    source: Annotated[str, AfterValidator(_composed)] = "*"
    """Source whose rows these are; "*" for every source without a table of its own, empty for rows without a source."""
    kind: Literal[TaskKind, "infer"] = "infer"
    """Form of the answers: ``tagging`` (a label for each token), ``classification`` (one label), ``multi-label``,
    ``relation`` (of two marked concepts), ``inference`` (of two sentences), ``choice`` (of listed options), ``decision``
    (yes, no or maybe), ``question`` (a choice, a decision or a text, row by row), ``extraction`` (a list or JSON) or
    ``free-text``; "infer" tells it from the gold answers."""
    labels: LabelNames = ()
    """Labels that there are; empty or "infer" takes those of the gold answers."""
    negative: Names | None = None
    """Labels that say "nothing of it", which micro and macro F1 over positives leave out; none (``[]``) says that there
    are none, and left out they are inferred."""
    metric: str = ""
    """Figure that stands for the source; empty takes that of its kind."""
    aliases: dict[str, str] = Field(default_factory=dict[str, str])
    """Other spelling -> label, in gold answers as in answers to them."""
    document: str = ""
    """Column of the rows, and key of a predictions file, whose value names the document, where it is not
    ``data.document`` or, in the file, ``document``."""

    @model_validator(mode="after")
    def _has_labels_where_it_names_some(self) -> Self:
        for name in ("labels", "negative", "aliases"):
            if getattr(self, name) and self.kind not in _WITH_LABELS:
                kinds = ", ".join(_WITH_LABELS)
                raise ValueError(f"{name} is for kinds with labels ({kinds}); here the kind is {self.kind}")
        return self

    @model_validator(mode="after")
    def _names_labels_that_there_are(self) -> Self:
        known = {_plain(label) for label in self.labels}
        for name, given in (("negative", self.negative or ()), ("aliases", self.aliases.values())):
            strange = [label for label in given if known and _plain(label) not in known]
            if strange:
                told = ", ".join(f"'{label}'" for label in self.labels)
                raise ValueError(f"{name} names '{strange[0]}', which is none of labels; those are {told}")
        own = known | {_plain(label) for label in self.aliases.values()}
        for alias, label in self.aliases.items():
            if _plain(alias) in own and _plain(alias) != _plain(label):
                raise ValueError(
                    f"aliases says that '{alias}' stands for '{label}', but it is a label itself; keep one of the two"
                )
        return self


def _plain(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label).split()).casefold()
