"""The account of a run's rows: how many are trained on, and what became of the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from medtune.data.base.fault import Fault
from medtune.data.base.folder import BaseFolder, folder_of
from medtune.data.identifiers.counts import counts_in_words
from medtune.data.lengths import require_tolerable
from medtune.errors import DataError
from medtune.specs import ModelSpec, RunSpec

__all__ = ["PreparationReport", "lint_sentence"]


_SHARED = {"input": "the input", "document": "the document", "near": "half of their text"}
"""Kind of overlap -> what rows of it have in common."""


def _none() -> dict[str, dict[str, dict[str, int]]]:
    return {}


@dataclass(frozen=True, slots=True)
class PreparationReport:
    """What became of the rows.

    Attributes:
        rows: samples to train on.
        tokens: their tokens.
        supervised_tokens: those that carry loss.
        packed_rows: rows of ``max_length`` they were packed into.
        fill: share of the packed rows that is tokens.
        quarantined: malformed rows.
        reasons: reason -> malformed rows.
        sources: lengths and losses per source.
        needed: "95", "99" and "100" -> the ``max_length`` that keeps this percentage of all rows whole.
        lost_rows: rows dropped for their length.
        lost_supervised_tokens: their supervised tokens.
        overlap: source -> kind -> training rows that also stand in the validation rows.
        overlapping: ids of validation rows that have a counterpart among the rows trained on.
        copied: those of them whose very question is trained on.
        dropped_overlap: training rows left out for it.
        duplicates: "training" and "validation" -> source -> ``DuplicateCounter``'s figures.
        control_spelled: rows whose answer spells a control token, as the characters they are.
        perfect_answers: what the check of perfect answers found: ``checked``, ``failed`` and, by source, ``kinds`` and how
            many of each; empty where it was not run.
        lint: what is odd about the gold answers: kind, source, split, rows, of and a sentence each.
        tasks: what each source is, as JSON values: source, kind, known (how), labels, negative, metric; empty where unasked.
        account: what was read of each source: files, formatter, columns (see ``account.MemberAccount.to_json``).
        answers_without_loss: answers before the last of their conversation, where only the last one carries loss.
        validation: what became of the rows to score on: rows to draw from, drawn, malformed, too long, and
            training sources without any.
        canaries: made-up secrets among the training rows: source, planted (how many), rows, repeats, and row id -> SHA-256 of
            name and secret; empty where there are none.
        identifiers: what ``data.identifiers`` found and did: policy, rows, rows_found, kinds, and by source and column; empty
            where nobody looked.
        from_cache: whether the arrays were found prepared.
    """

    rows: int
    tokens: int
    supervised_tokens: int
    packed_rows: int
    fill: float
    quarantined: int
    reasons: dict[str, int]
    sources: dict[str, Any]
    needed: dict[str, int]
    lost_rows: int
    lost_supervised_tokens: int
    overlap: dict[str, dict[str, int]]
    overlapping: list[str]
    dropped_overlap: int
    account: list[dict[str, Any]]
    answers_without_loss: int
    validation: dict[str, Any]
    duplicates: dict[str, dict[str, dict[str, int]]] = field(default_factory=_none)
    copied: int = 0
    control_spelled: int = 0
    perfect_answers: dict[str, Any] = field(default_factory=dict[str, Any])
    lint: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tasks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    canaries: dict[str, Any] = field(default_factory=dict[str, Any])
    identifiers: dict[str, Any] = field(default_factory=dict[str, Any])
    from_cache: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def summary(self) -> dict[str, Any]:
        """Return what a plan tells: the counts, without histograms and row ids."""
        values = self.to_json()
        for name in ("reasons", "overlapping", "from_cache"):
            del values[name]
        sources = {name: {k: v for k, v in s.items() if k != "histogram"} for name, s in self.sources.items()}
        canaries = {name: value for name, value in self.canaries.items() if name != "sha256"}
        return {**values, "sources": sources, "canaries": canaries}

    def notes(self) -> list[str]:
        """Return sentences about what training on these rows would teach besides."""
        told = list(self._overlap_told())
        if self.control_spelled:
            rows = f"{self.control_spelled:,} of {self.rows + self.lost_rows + self.dropped_overlap:,} answers"
            told.append(
                f"{rows} spell out a control token, as text; take it out of the rows, the chat template writes it itself"
            )
        told += [
            f"how source '{task['source']}' is scored cannot be told from its answers ({task['known']}); training asks for it: "
            f'tasks = [{{ source = "{task["source"]}", kind = "{task["candidates"][0]}" }}]'
            for task in self.tasks
            if task["candidates"]
        ]
        if self.rows and not self.validation["drawn"] and self.validation["wanted"]:
            told.append(
                "warning: there is no row to score on, so nothing will say what training changes: name some as data.validation, or "
                "hold more out with data.validation_fraction, which leaves a row to train on of each source"
            )
        looked = (counts_in_words(self.identifiers), counts_in_words(self.validation.get("identifiers", {})))
        told += [f"{of}{sentence}" for of, sentence in zip(("", "validation rows: "), looked, strict=True) if sentence]
        return [*told, *self._duplicates_told(), *(lint_sentence(finding) for finding in self.lint)]

    def _overlap_told(self) -> Iterator[str]:
        """Yield a warning where rows that are scored are trained on as well."""
        if self.overlapping:
            scored, others = self.validation["drawn"], len(self.overlapping) - self.copied
            kinds = {kind for of in self.overlap.values() for kind, count in of.items() if count}
            shared = [words for kind, words in _SHARED.items() if kind in kinds] or [*_SHARED.values()]
            alike = " or ".join(filter(None, (", ".join(shared[:-1]), shared[-1])))
            counts = [f"{self.copied:,} ({self.copied / scored:.0%}) are trained on with the same question"] * (
                self.copied > 0
            )
            counts += [f"{others:,} ({others / scored:.0%}) share {alike} with a training row"] * (others > 0)
            judged = (
                "say what was memorised" if self.copied or kinds - {"near"} else "may say in part what was memorised"
            )
            yield (
                f"warning: of {scored:,} scored rows {', and '.join(counts)}; scores on these {judged}: "
                "data.drop_overlap=true leaves such training rows out"
            )

    def _duplicates_told(self) -> Iterator[str]:
        """Yield a sentence per split in which rows come more than once."""
        for split, sources in self.duplicates.items():
            repeated, unlike = (sum(s.get(kind, 0) for s in sources.values()) for kind in ("repeated", "contradicting"))
            if repeated or unlike:
                yield (
                    f"{repeated:,} {split} rows repeat another one, and {unlike:,} share their question with a row of "
                    "another answer"
                )

    def require_tolerable(self, spec: RunSpec) -> None:
        """Raise DataError when rows are lost to ``max_length``, or scored rows trained on, beyond what ``spec`` accepts."""
        if not spec.data.accept_loss:
            splits = {"": self.sources, "validation ": self.validation["sources"]}
            require_tolerable(splits, spec.train.max_length, lambda: _positions(spec.model))
        if (
            0 < self.validation["drawn"] == self.copied
            and not self.validation["held_out"]
            and not spec.data.accept_overlap
        ):
            raise DataError(
                f"the very question of each of the {self.copied:,} validation rows is trained on as well, so their score would "
                "say nothing; name other rows as data.validation, hold some out with data.validation=null, leave the "
                "training rows out with data.drop_overlap=true, or set data.accept_overlap=true"
            )


def _positions(model: ModelSpec) -> int | None:
    """Return how many positions a base knows, None where that cannot be told here."""
    from medtune.data.base.architecture import positions_of

    folder = folder_of(model)
    try:
        return None if folder is None else positions_of(BaseFolder(folder))
    except Fault:  # which the inspection of the base tells
        return None


def lint_sentence(finding: Mapping[str, Any]) -> str:
    """Return a finding (its JSON form) as it is told, with the source it is about."""
    return f"source '{finding['source']}': {finding['sentence']}" if finding["source"] else str(finding["sentence"])
