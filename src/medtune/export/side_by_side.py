"""Compared runs as tables and sentences, and as a page of their own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from medtune.data.held_out import loss_text
from medtune.errors.visible import html_text as escape
from medtune.export.page import Cell, join, page, section, table

__all__ = ["RunTable", "html_page", "sentences", "tables"]

_FIGURES = (
    ("state", "state", ""),
    ("steps", "updates", ",.0f"),
    ("train_loss", "mean training loss", ".4f"),
    ("seconds", "seconds of training", ",.0f"),
    ("tokens_per_second", "tokens/s", ",.0f"),
    ("peak_memory_gib", "peak memory, GiB", ".2f"),
)
_SAME = {"data": "training rows", "model": "base", "prompt_contract": "tokenizer and prompts"}


class RunTable(NamedTuple):
    """A title, headings, and lines as long as these: one column for each run behind the first."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


def tables(result: Mapping[str, Any]) -> list[RunTable]:
    """Return what differs, figures and scores, from the JSON of a comparison; tables without lines are left out."""
    names = [run["name"] for run in result["runs"]]
    found = (
        RunTable("What differs in the specs", ["field", *names], _spec_lines(result)),
        RunTable("Figures", ["", *names], _figure_lines(result["runs"])),
        RunTable("Scores and 95 % intervals", ["task", *names], _score_lines(result["runs"])),
    )
    return [each for each in found if each.lines]


def _spec_lines(result: Mapping[str, Any]) -> list[list[str]]:
    return [
        [field, *("unset" if value is None else str(value) for value in of)] for field, of in result["spec"].items()
    ]


def _figure_lines(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    lines = [[label, *(_figure(run[key], form) for run in runs)] for key, label, form in _FIGURES]
    losses = [run["held_out_loss"] for run in runs]
    if any(losses):
        lines.append(["loss of validation rows", *("" if loss is None else loss_text(loss["loss"]) for loss in losses)])
    return lines


def _figure(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _score_lines(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    tasks = dict.fromkeys(task for run in runs for task in run["scores"])
    lines: list[list[str]] = []
    for task in tasks:
        scores = [run["scores"].get(task) for run in runs]
        metrics = dict.fromkeys(score["metric"] for score in scores if score)
        lines.append([f"{task} {', '.join(metrics)}", *(_score(score) for score in scores)])
    return lines


def _score(score: Mapping[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "" if score is None else "undefined"
    interval = score["interval"]
    shown = f"{score['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
    return f"{shown}, {score['rows']:,} rows"


def sentences(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is the same and what is not, and the verdicts of the tests."""
    for key, what in _SAME.items():
        yield f"{what}: {'the same' if result['same'][key] else 'not the same'} (by fingerprint)"
    losses = [run["held_out_loss"] for run in result["runs"]]
    if sum(loss is not None for loss in losses) > 1 and not _are_comparable(result):
        yield "losses of unlike rows, tokenizers or prompts cannot be held against each other"
    for found in result["comparisons"]:
        pair = f"{found['run']} against {found['against']}"
        if found["reason"]:
            yield f"{pair}: not tested; {found['reason']}"
        for task, of in found.get("tasks", {}).items():
            yield f"{pair}, {task}: {of['verdict']}"


def _are_comparable(result: Mapping[str, Any]) -> bool:
    """Whether the losses of all runs are of the same tokens."""
    measured = [run for run in result["runs"] if run["held_out_loss"]]
    tokens = {(run["rows"] or {}).get("sha256", "") + str(run["held_out_loss"]["tokens"]) for run in measured}
    return len(tokens) == 1 and result["same"]["prompt_contract"]


def html_page(result: Mapping[str, Any]) -> str:
    """Return a page that needs no network, in the look of a run's report."""
    runs = "".join(f"<li>{escape(run['name'])}: {escape(run['run'])}</li>" for run in result["runs"])
    shown = [
        section(each.title, f"table-{place}", table(each.columns, [[*map(Cell.text, line)] for line in each.lines]))
        for place, each in enumerate(tables(result))
    ]
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(result))
    head = f'<header><p class="over">medtune compare</p><h1>Runs side by side</h1><ul>{runs}</ul></header>'
    return page(
        "Runs side by side: medtune", join(head, *shown, section("What that says", "findings", f"<ul>{said}</ul>"))
    )
