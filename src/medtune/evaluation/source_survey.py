"""Looks at the gold answers of all rows and tells, per source, what they are: or that it has to be said."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from medtune.errors import DataError
from medtune.evaluation.answer_forms import Told, tell_rest
from medtune.evaluation.declared_tasks import label_findings, more_labels, source_findings
from medtune.evaluation.gold_shapes import Shape, shape_of
from medtune.evaluation.lint_findings import Finding, merged
from medtune.evaluation.medtuned import SOURCES
from medtune.evaluation.missing_text import is_missing
from medtune.evaluation.plain_text import words
from medtune.evaluation.recognition import answer_of, question_of
from medtune.evaluation.task_contracts import TASK_OF_KIND, Contracts, TaskContract
from medtune.evaluation.tasks.label_sets import label_set_of
from medtune.evaluation.tasks.labels import bare_answer
from medtune.evaluation.tasks.qa import gold_kind
from medtune.plugins.contracts import Example
from medtune.specs import TaskSpec
from medtune.specs.tasks import TaskKind

__all__ = ["SourceSurvey", "UndecidedTaskError", "require_told", "survey"]

_WHOLE = 0.9
"""Share of a source's rows with one shape from which it is the source's; the others are then at fault."""
_KNOWN = 0.5  # the same for a source whose name is known, which is a hint
_STRAY = 0.02  # share of a source's rows below which rows of no shape are taken one by one
_MOST_ANSWERS = 5000  # different answers that are counted; more are no labels
_SAMPLED = 300  # rows whose question and answer are looked at together
_LONGEST_COUNTED = 200  # characters of an answer that may be a label
_MOST_SOURCES = 1000
_NOT_TOLD = "not told: "
_KINDS: dict[Shape, TaskKind] = {
    "tagging": "tagging",
    "relation": "relation",
    "inference": "inference",
    "hallmarks": "multi-label",
    "json": "extraction",
}
_OF_TASK: dict[str, Shape] = {
    "ner": "tagging",
    "relation": "relation",
    "nli": "inference",
    "classification": "hallmarks",
}
_KIND_OF_TASK: dict[str, TaskKind] = {
    "ner": "tagging",
    "relation": "relation",
    "nli": "inference",
    "classification": "classification",
    "qa": "question",
    "extraction": "extraction",
}


class UndecidedTaskError(DataError):
    """What the answers of a source are cannot be told from them."""

    def __init__(self, source: str, rows: int, reason: str, kinds: Sequence[TaskKind]) -> None:
        self.source, self.rows, self.reason, self.kinds = source, rows, reason, tuple(kinds)
        whose = f"source '{source}'" if source else "the rows without a source"
        others = ", ".join(f"'{kind}'" for kind in kinds[1:])
        super().__init__(
            f"the kind of answers of {whose} cannot be told from {rows:,} of them: {reason}; say it in the spec (or with --set): "
            f'tasks = [{{ source = "{source}", kind = "{kinds[0]}" }}], or as kind {others}'
        )


@dataclass(slots=True)
class SourceRows:
    """What was seen of the rows of one source.

    Attributes:
        rows: gold answers.
        shapes: shape -> rows.
        answers: shape -> answer -> rows, of short answers.
        longer: shape -> rows whose answers are not counted.
        forms: "choice", "decision" and "text" -> rows without another shape.
        lengths: words of an answer -> rows without another shape.
        sample: question and answer of the first rows without another shape.
        named: task that the rows name, or "" -> rows.
    """

    rows: int = 0
    shapes: Counter[Shape] = field(default_factory=Counter[Shape])
    answers: dict[Shape, Counter[str]] = field(default_factory=dict[Shape, Counter[str]])
    longer: Counter[Shape] = field(default_factory=Counter[Shape])
    forms: Counter[str] = field(default_factory=Counter[str])
    lengths: Counter[int] = field(default_factory=Counter[int])
    sample: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    named: Counter[str] = field(default_factory=Counter[str])

    def take(self, question: str, answer: str) -> None:
        """Look at a row."""
        shape = shape_of(question, answer)
        self.rows += 1
        self.shapes[shape] += 1
        if shape in ("tagging", "json"):
            return
        counted = self.answers.setdefault(shape, Counter())
        bare = answer.strip()
        if len(bare) <= _LONGEST_COUNTED and (bare in counted or len(counted) < _MOST_ANSWERS):
            counted[bare] += 1
        else:
            self.longer[shape] += 1
        if shape == "rest":
            self.forms[gold_kind(answer, question)] += 1
            self.lengths[len(words(answer[:2000]))] += 1
            if len(self.sample) < _SAMPLED:
                self.sample.append((question, answer))

    def all_answers(self) -> Counter[str]:
        """Return the short answers of all shapes, each with its rows."""
        return sum(self.answers.values(), Counter[str]())


class SourceSurvey:
    """Takes rows as they come and tells what each source is.

    Args:
        declared: what the user says of sources; the rest is told from the rows.
        named: tasks whose rows are told too though they name them; such rows are of no other task.
    """

    def __init__(self, declared: Sequence[TaskSpec] = (), named: Collection[str] = ()) -> None:
        self._declared = {spec.source: spec for spec in declared}
        self._seen: dict[str, SourceRows] = {}
        self._of_task: Counter[tuple[str, str]] = Counter()
        self._named = named

    def take(self, examples: Iterable[Example]) -> None:
        """Look at rows; those that name another task, or have no answer or one of an empty cell, need no telling."""
        for example in examples:
            if example.task is not None and example.task not in self._named:
                self._of_task[example.source, example.task] += 1
                continue
            if len(example.messages) < 2:  # noqa: PLR2004 - a question and an answer
                continue
            answer = answer_of(example)
            is_answer = answer.strip() and not is_missing(answer)
            if is_answer and (example.source in self._seen or len(self._seen) < _MOST_SOURCES):
                seen = self._seen.setdefault(example.source, SourceRows())
                seen.take(question_of(example), answer)
                seen.named[example.task or ""] += 1

    def findings(self) -> list[Finding]:
        """Return what the user says of sources and their rows do not bear out."""
        sources = dict.fromkeys([*self._seen, *(source for source, _task in self._of_task)])
        found = [*source_findings([*self._declared], [*sources])] if sources else []
        for (source, task), rows in sorted(self._of_task.items()):
            spec = self._declared.get(source)
            if spec is not None and spec.kind != "infer" and TASK_OF_KIND[spec.kind] != task:
                sentence = f"{rows:,} rows name the task '{task}', which goes before the kind '{spec.kind}' of tasks"
                found.append(Finding("declared_kind", source, "both", rows, rows, sentence))
        for source, seen in sorted(self._seen.items()):
            spec = self._declared.get(source, self._declared.get("*"))
            if spec is not None and spec.kind != "infer":
                found += label_findings(_made(source, spec, seen), seen.all_answers())
        return merged(found)

    def contracts(self, *, strict: bool = True) -> Contracts:
        """Return what each source is.

        Args:
            strict: whether what cannot be told is refused; else such rows count as questions, row by row.

        Raises:
            UndecidedTaskError: it cannot be told, and the user does not say it.
        """
        found: list[TaskContract] = []
        for source, seen in sorted(self._seen.items()):
            spec = self._declared.get(source, self._declared.get("*"))
            if spec is not None and spec.kind != "infer":
                found.append(_declared(source, spec, seen))
                continue
            told = _as_named(source, seen, list(_told(source, seen)))
            if strict:
                require_told(told)
            found += told if spec is None else [replace(one, metric=spec.metric) for one in told]
        unseen = [spec for name, spec in self._declared.items() if name not in self._seen and spec.kind != "infer"]
        return Contracts([*found, *(_declared(spec.source, spec, SourceRows()) for spec in unseen)])


def survey(examples: Iterable[Example], declared: Sequence[TaskSpec] = (), *, strict: bool = True) -> Contracts:
    """Return what each source of the examples is; see ``SourceSurvey``."""
    found = SourceSurvey(declared)
    found.take(examples)
    return found.contracts(strict=strict)


def require_told(contracts: Iterable[TaskContract]) -> None:
    """Raise UndecidedTaskError for the first contract that the answers do not tell."""
    for contract in contracts:
        if contract.candidates:
            reason = contract.known.removeprefix(_NOT_TOLD)
            raise UndecidedTaskError(contract.source, contract.rows, reason, contract.candidates)


def _declared(source: str, spec: TaskSpec, seen: SourceRows) -> TaskContract:
    made = _made(source, spec, seen)
    golds = [*seen.all_answers()]
    more = more_labels(made, golds)
    how = f"declared; its answers have {len(more)} more" if more else "declared"
    return _with_labels(replace(made, known=how), golds)


def _made(source: str, spec: TaskSpec, seen: SourceRows) -> TaskContract:
    """Return what the user says of a source, before its answers are asked for labels."""
    assert spec.kind != "infer"  # noqa: S101 - asked before
    golds = [*seen.all_answers()]
    separator = ""
    if spec.kind == "multi-label":
        separator = Told.separator_of(Counter(dict.fromkeys(golds, 1)), always=True)
    if spec.kind == "extraction" and not seen.shapes["json"]:
        separator = Told.items_separator([answer for _question, answer in seen.sample], are_lists=True)
    given = spec.labels, spec.negative or (), spec.metric, spec.aliases
    return TaskContract(
        source, spec.kind, "declared", *given, separator, rows=seen.rows, without_negative=spec.negative == ()
    )


def _with_labels(contract: TaskContract, golds: Sequence[str]) -> TaskContract:
    """Add the labels, and the negative ones among them, that gold answers show."""
    if contract.kind not in ("classification", "multi-label", "relation", "inference"):
        return contract
    found = label_set_of(contract.task, golds, contract)
    return replace(contract, labels=tuple(found.inventory.labels), negative=tuple(sorted(found.negative)))


def _told(source: str, seen: SourceRows) -> Iterator[TaskContract]:
    known = _OF_TASK.get(SOURCES.get(source.lower(), ""))
    for shape, kind in _KINDS.items():
        share = seen.shapes[shape] / seen.rows
        if share >= _WHOLE or (shape == known and share >= _KNOWN):
            how = "known source" if shape == known else f"its {seen.rows:,} rows"
            yield _of_shape(TaskContract(source, kind, how, rows=seen.rows), shape, seen)
            return
    parts: list[tuple[Shape, TaskKind]] = [(shape, kind) for shape, kind in _KINDS.items() if seen.shapes[shape]]
    for shape, kind in parts:
        rows = seen.shapes[shape]
        yield _of_shape(TaskContract(source, kind, f"{rows:,} of its rows", shape=shape, rows=rows), shape, seen)
    if rest := seen.shapes["rest"]:
        told = tell_rest(seen, known_entities=known == "tagging")
        candidates = () if told.kind or rest <= _STRAY * seen.rows else told.candidates
        how = told.reason if told.kind else f"{_NOT_TOLD}{told.reason}"
        contract = TaskContract(
            source, told.kind or "question", how, separator=told.separator, rows=rest, candidates=candidates
        )
        golds = [*seen.answers.get("rest", ())]
        yield _with_labels(replace(contract, shape="rest") if parts else contract, golds)


def _as_named(source: str, seen: SourceRows, told: list[TaskContract]) -> list[TaskContract]:
    """Return the contracts that are told where rows name no task, or that one; else one of the task that they name."""
    if not seen.named.keys() - {""}:
        return told
    if len(seen.named) > 1:  # each row by its own
        return []
    [task] = seen.named
    if all(contract.task == task and not contract.candidates for contract in told):
        return told
    answers = seen.all_answers()
    separator = Told.separator_of(answers)
    kind = _KIND_OF_TASK[task]
    if kind == "classification" and separator:
        kind = "multi-label"
    elif kind == "extraction" and not seen.shapes["json"]:
        separator = Told.items_separator([answer for _question, answer in seen.sample], are_lists=True)
    made = TaskContract(source, kind, f"its rows name the task '{task}'", separator=separator, rows=seen.rows)
    return [_with_labels(made, [*answers])]


def _of_shape(contract: TaskContract, shape: Shape, seen: SourceRows) -> TaskContract:
    counted = seen.answers.get(shape, Counter[str]())
    separator = Told.separator_of(counted, always=True) if shape == "hallmarks" else ""
    golds = [answer for answer in counted if bare_answer(answer)]
    return _with_labels(replace(contract, separator=separator), golds)
