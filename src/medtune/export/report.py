"""Writes ``report.html``: a run on one page, for the screen, a phone and paper, without network."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import DataError, StorageError
from medtune.errors.visible import html_text as escape
from medtune.evaluation.comparison import unlike_row
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.export.answers import mistake_table, samples
from medtune.export.audit_section import AUDIT_FILE, audit_section, canary_note
from medtune.export.baseline_table import baseline_section
from medtune.export.figures import every_figure, failure_table, label_likelihoods, other_words, verdicts
from medtune.export.held_out import loss_section
from medtune.export.minutes import minutes_section
from medtune.export.page import join, page, section
from medtune.export.provenance import data_section, settings_section, training_section
from medtune.export.source_kinds import sources_section
from medtune.export.trusting import trust_section
from medtune.machine.owner_only import write_text
from medtune.plugins.contracts import Prediction
from medtune.specs.bounded import json_file
from medtune.specs.model import base_label

__all__ = ["write_report"]

_CAUTION = (
    "This is the report of a research tool: nothing in it is medical advice or an assessment as a medical device."
)
_ON_INTERVALS = (
    "Intervals are 95 % intervals over rows, or over documents where rows name them: Wilson's, of F1 figures on the "
    "effective number of rows that the jackknife gives. Fewer than ten rows with something to find have none."
)
_ON_TESTS = (
    "A verdict rests on a paired randomisation test of the figure shown, with p values adjusted by Holm over the tasks, "
    "at the level 0.05."
)
_ON_ANSWERS = (
    "Answers that cannot be read count as wrong. Strict spans follow IOB2; lenient ones let an I begin a span, as "
    "conlleval does. An entity outside the input counts as a wrong claim."
)
_ON_TAGGING = (
    "The figure called paper compatible keeps one label per distinct word and is there to compare with published numbers "
    "only. Validation rows of tagging sets are usually official development sets: their scores are not comparable with "
    "published test scores."
)
_OTHER_ROWS = (
    "The base is left out: it was scored on other rows than the tuned model. "
    "medtune evaluate RUN --baseline scores both on the same rows."
)

_REPLACED = (
    "{what} left out: {they} held beside answers of the tuned model that were given anew since, and perhaps to other rows. "
    "{command} makes {again} anew."
)
_BASELINES_REPLACED = _REPLACED.format(
    what="Other systems are", they="they were", command="medtune baseline RUN", again="their table"
)
_PARAPHRASES_REPLACED = _REPLACED.format(
    what="Scores in other words are", they="they were", command="medtune evaluate RUN --paraphrases N", again="them"
)
_WITHOUT_TEXTS = (
    "Texts were left out of this report: eval.show_texts, or medtune report RUN --show-texts, shows sampled inputs and "
    "answers."
)


@dataclass(frozen=True, slots=True)
class _Evaluations:
    """Scores and answers of "base" and "tuned", and a note where the two cannot be held against each other."""

    scores: Mapping[str, Mapping[str, Any]]
    answers: Mapping[str, Sequence[Prediction]]
    note: str = ""


def write_report(
    run_dir: Path, *, record: Mapping[str, Any], log: Sequence[Mapping[str, Any]], show_texts: bool | None = None
) -> Path:
    """Write the report of a run from what its folder holds.

    Args:
        run_dir: the run folder; ``evaluation/`` is read when there is one.
        record: content of ``run.json``.
        log: records of ``log.jsonl``.
        show_texts: whether sampled inputs and answers are shown, which may be patients' texts; None as the spec in the
            record says, and not at all where that says nothing.

    Returns:
        Path of the report.

    Raises:
        StorageError: an evaluation cannot be read, or the report not written.
        DataError: a file of predictions is damaged, or one of scores is of another shape.
    """
    if show_texts is None:
        show_texts = bool(record.get("spec", {}).get("eval", {}).get("show_texts"))
    title = _title(record, run_dir.name)
    try:
        sections = join(*_sections(run_dir / "evaluation", record, log, show_texts=show_texts))
        body = join(_head(title, record, sections), sections)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of files that medtune did not write so
        raise DataError(
            f"what '{run_dir}' holds is of another shape than a report is made of ({type(error).__name__}); "
            "medtune evaluate RUN --baseline makes its scores anew"
        ) from error
    path = run_dir / "report.html"
    try:
        write_text(path, page(f"{title}: medtune report", body))
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written: {error.strerror}") from error
    return path


def _sections(
    folder: Path, record: Mapping[str, Any], log: Sequence[Mapping[str, Any]], *, show_texts: bool
) -> Iterator[str]:
    """Yield the sections under the head, top down; one without content is empty."""
    found = _evaluations(folder)
    base, tuned = found.scores["base"], found.scores["tuned"]
    yield canary_note(record.get("plan") or {})
    yield sources_section((tuned or base).get("contracts", []))
    yield found.note
    yield _chosen(record.get("chosen") or {})
    yield verdicts(base, tuned, record.get("comparison") or {})
    yield loss_section(base, tuned)
    yield _baselines(folder)
    yield trust_section(base, tuned)
    yield label_likelihoods(base, tuned)
    yield _paraphrased(folder)
    yield _failures(found, show_texts=show_texts)
    yield audit_section(_scores(folder / AUDIT_FILE))
    yield training_section(log)
    yield minutes_section(record)
    yield data_section(record.get("preparation") or {})
    yield every_figure(base, tuned)
    yield settings_section(record)
    yield _reading(found.scores) if base or tuned else ""


def _baselines(folder: Path) -> str:
    """Return the section of other systems, or why it is left out."""
    found = _scores(folder / "baselines.json")
    if not found.get("systems") or found.get("tuned_predictions") == _print_of_answers(folder):
        return baseline_section(found)
    return section("Beside other systems", "baselines", f'<p class="note">{_BASELINES_REPLACED}</p>')


def _paraphrased(folder: Path) -> str:
    """Return the section of the scores under several paraphrases, or why it is left out."""
    found = _scores(folder / "paraphrases.json") or _scores(folder / "wordings.json")  # its former name
    answers = folder / "predictions-tuned.jsonl"
    if "tuned_predictions" in found:
        are_of_these = found["tuned_predictions"] == _print_of_answers(folder)
    else:  # files of earlier releases say only of how many rows
        are_of_these = not answers.is_file() or found.get("rows") == answers.read_bytes().count(b"\n")
    if not found or are_of_these:
        return other_words(found)
    return section("In other words", "paraphrases", f'<p class="note">{_PARAPHRASES_REPLACED}</p>')


def _print_of_answers(folder: Path) -> str:
    """Return the SHA-256 of the tuned model's answers; empty where there are none."""
    file = folder / "predictions-tuned.jsonl"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _evaluations(folder: Path) -> _Evaluations:
    scores = {name: _scores(folder / f"{name}.json") for name in ("base", "tuned")}
    answers = {name: _answers(folder / f"predictions-{name}.jsonl") for name in ("base", "tuned")}
    if all(answers.values()) and unlike_row(answers["base"], answers["tuned"]):
        return _Evaluations({**scores, "base": {}}, {**answers, "base": []}, f'<p class="note">{_OTHER_ROWS}</p>')
    return _Evaluations(scores, answers)


def _scores(path: Path) -> Mapping[str, Any]:
    """Return an evaluation, empty when there is none."""
    try:
        found: Mapping[str, Any] = json_file(path, finite=False)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StorageError(f"'{path}' cannot be read as an evaluation ({type(error).__name__})") from error
    return found


def _answers(path: Path) -> list[Prediction]:
    return read_predictions(path) if path.is_file() else []


def _chosen(chosen: Mapping[str, Any]) -> str:
    """Return how the run was chosen among others, which its scores on all rows do not know."""
    if not chosen:
        return ""
    said = f"{chosen['sentence']} The scores below are of all of these rows."
    return f'<p class="note">{escape(said)}</p>'


def _title(record: Mapping[str, Any], otherwise: str) -> str:
    """Return what the base is called that was loaded."""
    model: Mapping[str, Any] = record.get("spec", {}).get("model", {})
    named = record.get("base", {}).get("name") or base_label(str(model.get("name", "")), model.get("path"))
    return str(named or otherwise)


def _head(title: str, record: Mapping[str, Any], sections: str) -> str:
    """Return the head, with links to those sections that there are."""
    comparison: Mapping[str, Any] = record.get("comparison") or {}
    made = " · ".join(filter(None, (str(record.get("state", "")), str(record.get("updated", ""))[:10])))
    summary = str(comparison.get("summary", ""))
    lead = f'<p class="lead">{escape(f"The tuned model is {summary}.")}</p>' if comparison.get("tasks") else ""
    links = " ".join(
        f'<a href="#{name}">{label}</a>'
        for name, label in (
            ("sources", "Sources"),
            ("scores", "Scores"),
            ("trust", "When to trust"),
            ("failures", "Failures and samples"),
            ("audit", "What it remembers"),
            ("training", "Training"),
            ("minutes", "Minutes"),
            ("data", "Data"),
            ("settings", "How it was made"),
        )
        if f'id="{name}"' in sections
    )
    return (
        f'<header><p class="over">medtune report · {escape(made)}</p><h1>{escape(title)}</h1>'
        f'<p class="soft">LoRA adapter, {escape(_made_on(record))}</p>{lead}'
        f'{_tiles(record.get("result") or {})}<nav class="nav">{links}</nav><p class="note">{_CAUTION}</p></header>'
    )


def _made_on(record: Mapping[str, Any]) -> str:
    data = str(record.get("spec", {}).get("data", {}).get("source", ""))
    if "adopted" not in record:
        return f"trained on {data}"
    return f"trained elsewhere, on rows that are not known and may be among those scored; scored on {data}"


def _tiles(result: Mapping[str, Any]) -> str:
    shown = [
        (f"{result[key] * scale:{form}}", label)
        for key, label, scale, form in (
            ("steps", "updates", 1, ",.0f"),
            ("train_loss", "mean training loss", 1, ".3f"),
            ("tokens", "training tokens", 1, ",.0f"),
            ("tokens_per_second", "tokens per second", 1, ",.0f"),
            ("seconds", "minutes of training", 1 / 60, ",.1f"),
            ("peak_memory_gib", "GiB peak memory", 1, ".2f"),
        )
        if isinstance(result.get(key), int | float)
    ]
    tiles = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in shown)
    return f'<div class="tiles">{tiles}</div>' if tiles else ""


def _failures(found: _Evaluations, *, show_texts: bool) -> str:
    pair = found.answers["base"], found.answers["tuned"]
    rates = failure_table(found.scores["base"], found.scores["tuned"])
    told = (found.scores["tuned"] or found.scores["base"]).get("contracts", [])
    contracts = Contracts(TaskContract.from_json(values) for values in told)
    counted = mistake_table(*pair, contracts)
    if show_texts:
        shown = samples(*pair, contracts)
        legend = (
            '<p class="note">In tagged sentences <mark class="gold">right entities</mark> and '
            '<mark class="bad">wrong claims</mark> are marked.</p>'
        )
    else:
        shown, legend = f'<p class="note">{_WITHOUT_TEXTS}</p>', ""
    if not (rates or counted):
        return ""
    return section(
        "How answers fail",
        "failures",
        f"<h3>Answers that cannot be used, or only in part</h3>{rates}" if rates else "",
        f"<h3>Kinds of mistake</h3>{counted}" if counted else "",
        legend if shown else "",
        shown,
    )


def _reading(scores: Mapping[str, Mapping[str, Any]]) -> str:
    tasks = {**scores["base"].get("tasks", {}), **scores["tuned"].get("tasks", {})}
    notes = [_ON_INTERVALS, _ON_TESTS, _ON_ANSWERS]
    if "ner" in tasks:
        notes.append(_ON_TAGGING)
    if "classification" in tasks:
        notes.append("Classification is scored per sentence; figures per document would differ.")
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return section("How to read this", "reading", f"<ul>{listed}</ul>")
