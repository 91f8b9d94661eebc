"""Imports a file: recognises it, looks it over, and writes its rows one after the other."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medtune.data.importers.conll import UNREAD_TAGS
from medtune.data.importers.documents import Told
from medtune.data.importers.formats import Format, format_of, named_format
from medtune.data.importers.options import ImportOptions, Marks, Task, Tokens
from medtune.data.importers.reading import Input
from medtune.data.importers.rows import NO_RELATION, ImportedRow, RowMaker
from medtune.data.importers.survey import survey
from medtune.data.sources.paths import require_path
from medtune.errors import DataError, SpecError, StorageError
from medtune.machine.owner_only import refuse_in_run, staged_text

__all__ = ["ImportReport", "import_file", "iterate_rows"]

_TASKS: Mapping[str, tuple[Task, ...]] = {
    "tags": (Task.NER,),
    "mentions": (Task.NER, Task.RELATION),
    "questions": (Task.QA,),
}
"""What a format holds -> what rows of it can ask, the first by default."""
_MARKS = ("mentions", "labels", "spans", "results")
"""Beginnings of the reasons for which marks are left out; where all are, the rows would say that there is none."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        format: as which the file was read.
        task: what the rows ask.
        encoding: of the text.
        tokens: how texts were cut into tokens; "given" for a file that has tokens, empty for questions.
        scheme: tagging scheme that a file of columns was read by, else empty.
        first_option: number of MedMCQA's first option, None for other formats.
        rows: written.
        documents: in the file; 0 where it names none.
        mentions: in the file.
        labelled: mentions, or pairs in a relation, in the rows.
        relations: in the file.
        types: of mentions, with their numbers.
        left_out: reason -> how often something was not taken over.
        noted: what was taken over otherwise than it stands there -> how often.
        places: reason -> where it was met first.
    """

    format: str
    task: Task
    encoding: str
    tokens: str
    scheme: str
    first_option: int | None
    rows: int
    documents: int
    mentions: int
    labelled: int
    relations: int
    types: Mapping[str, int]
    left_out: Mapping[str, int]
    noted: Mapping[str, int]
    places: Mapping[str, str]


def import_file(source: Input, target: Path, options: ImportOptions | None = None) -> ImportReport:
    """Write the rows of an annotation file to ``target`` as JSON Lines, readable by its owner only.

    Rows are written as they are made; ``target`` appears when all are, in place of what stood there.

    Raises:
        DataError: the file is in no format that is known, is damaged, or gives no row.
        SpecError: the options do not go with the format.
        StorageError: a file cannot be read or written.
    """
    if target.exists() and source.path.exists() and target.samefile(source.path):
        raise SpecError(f"'{target}' would be written over while it is read; choose another --to")
    refuse_in_run(target)
    if target.is_dir():
        raise SpecError(f"'{target}' is a folder; --to takes a file such as rows.jsonl")
    importing = _Import(source, options or ImportOptions())
    try:
        with staged_text(target) as file:
            for row in importing.rows():
                file.write(json.dumps(row._asdict(), ensure_ascii=False) + "\n")
            report = importing.report()
    except OSError as error:
        raise StorageError(f"cannot write '{target}': {error.strerror}") from error
    return report


def iterate_rows(source: Input, options: ImportOptions | None = None) -> Iterator[ImportedRow]:
    """Yield the rows that ``import_file`` would write; raises as it does."""
    return _Import(source, options or ImportOptions()).rows()


class _Import:
    """One file on its way to rows; read twice, so that an instruction can name all labels and nothing is kept."""

    def __init__(self, source: Input, options: ImportOptions) -> None:
        self._source, self._options, self._told = source, options, Told()
        require_path(source.path)
        self._format = named_format(options.format) if options.format else format_of(source)
        self._task = _task(self._format, options.task)
        _require_used(self._format, self._task, source, options)
        self._survey = survey(self._format.read(source, Told()), str(source.path))
        if self._task is Task.RELATION and not self._survey.pairs:
            raise DataError(f"'{source.path}' marks no relation between mentions; import it with --task ner")
        self._first_option = self._option_base()
        tokens = self._survey.spaced.tokens if options.tokens is Tokens.AUTO else options.tokens
        by_lines = tokens is Tokens.SPACES and self._survey.spaced.has_a_sentence_a_line
        self._marks = Marks(tokens, by_lines, options.overlapping, options.discontinuous)
        self._count = self._labelled = 0

    def rows(self) -> Iterator[ImportedRow]:
        source = self._options.source or _stem(self._source.path)
        maker = RowMaker(source, self._survey, self._marks, self._first_option or 0, self._told)
        make = maker.makers[self._task]
        for record in self._format.read(self._source, self._told):
            for row in make(record):
                if not _is_unicode(row):
                    self._told.leave_out("rows with half of a character (a lone surrogate)", record.place)
                    continue
                if row.input:
                    self._count += 1
                    self._labelled += _labelled(row, self._task)
                    yield row
        if self._told.left_out[UNREAD_TAGS] > self._labelled:
            raise DataError(
                f"'{self._source.path}' has {self._told.left_out[UNREAD_TAGS]:,} {UNREAD_TAGS}, more than it has mentions that "
                "can be read; write its tags in one scheme (IOB1, IOB2, BIOES, or types without a prefix)"
            )
        none = self._format.holds == "mentions" and not self._survey.mentions
        lost = none or any(reason.startswith(_MARKS) for reason in self._told.left_out)
        if not self._count or (lost and not self._labelled and self._task is not Task.QA):
            what = "row" if not self._count else "row with a mention"
            raise DataError(f"'{self._source.path}' gives no {what}{_why(self._told)}; nothing was written")

    def report(self) -> ImportReport:
        found, told, holds = self._survey, self._told, self._format.holds
        return ImportReport(
            format=self._format.name,
            task=self._task,
            encoding=told.encoding,
            tokens={"tags": "given", "questions": ""}.get(holds, self._marks.tokens),
            scheme=found.scheme.name if holds == "tags" else "",
            first_option=self._first_option,
            rows=self._count,
            documents=found.documents,
            mentions=self._labelled if holds == "tags" else found.mentions,
            labelled=self._labelled,
            relations=found.relations,
            types=dict(found.types.most_common()) if holds == "mentions" else {},
            left_out=dict(told.left_out),
            noted=dict(told.noted),
            places=dict(told.places),
        )

    def _option_base(self) -> int | None:
        if not self._survey.option_numbers:
            return None
        given = self._options.first_option
        return self._survey.first_option(str(self._source.path)) if given is None else given


def _task(found: Format, wanted: Task | None) -> Task:
    possible = _TASKS[found.holds]
    if wanted is None:
        return possible[0]
    if wanted not in possible:
        raise SpecError(f"{found.title} gives rows of --task {' or '.join(possible)}, not {wanted}")
    return wanted


def _require_used(found: Format, task: Task, source: Input, options: ImportOptions) -> None:
    """Refuse options that would be ignored."""
    plain, is_text = ImportOptions(), found.holds == "mentions"
    marks = is_text and task is Task.NER
    unused = {
        "--tokens": options.tokens is not plain.tokens and not is_text,
        "--overlapping": options.overlapping is not plain.overlapping and not marks,
        "--discontinuous": options.discontinuous is not plain.discontinuous and not marks,
        "--token-column": source.token_column is not None and found.holds != "tags",
        "--tag-column": source.tag_column is not None and found.holds != "tags",
        "--first-option": options.first_option is not None and found.name != "medmcqa",
    }
    for name, is_unused in unused.items():
        if is_unused:
            raise SpecError(f"{name} says nothing about {task} rows of {found.title}; leave it out")


def _stem(path: Path) -> str:
    name = path.name or path.resolve().name
    return name if path.is_dir() else name.split(".")[0] or name


def _labelled(row: ImportedRow, task: Task) -> int:
    if task is Task.NER:
        return sum(line.rpartition(" : ")[2].startswith("B") for line in row.output.split("\n"))
    return int(task is Task.RELATION and row.output != NO_RELATION)


def _why(told: Told) -> str:
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in told.left_out.most_common(3))
    return f" ({reasons})" if reasons else ""


def _is_unicode(row: ImportedRow) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True
