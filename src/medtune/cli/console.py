"""How results and progress look: JSON and tables on stdout; stages and progress are told by medtune.workflow.narration."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from medtune.cli.account import print_account
from medtune.cli.loss_tables import loss_table, losses_in_words
from medtune.cli.result_stream import print_result
from medtune.cli.task_tables import notes_of, print_contracts, source_table, task_table
from medtune.cli.trust_tables import trust_sentences, trust_table
from medtune.data.lengths import named_sources
from medtune.data.preparation_report import lint_sentence
from medtune.errors.locked_mode import LOCKED_MEANS
from medtune.errors.masking import masked_values
from medtune.plugins.plan_in_words import cluster_in_words, minutes_in_words, proof_in_words
from medtune.workflow.terminal import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from medtune.workflow.compare_runs import RunTable

__all__ = ["print_evaluation", "print_harness", "print_json", "print_plan", "print_scores", "print_tables"]


_WORTH_TELLING = 0.02
"""Share of the tokens from which common prefixes are worth a line."""


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    print_result(json.dumps(masked_values(value), allow_nan=False))


def print_tables(tables: "Iterable[RunTable]") -> None:
    """Print tables of runs side by side as text on stdout."""
    from rich.table import Table

    for each in tables:
        table = Table(title=each.title, title_justify="left")
        for place, column in enumerate(each.columns):
            table.add_column(column, justify="right" if place else "left", overflow="fold")
        for line in each.lines:
            table.add_row(*line)
        terminal().print(table)


def print_plan(plan: Mapping[str, Any]) -> None:
    """Print a plan (its JSON form) as text on stdout."""
    from rich.table import Table

    console, plan = terminal(), masked_values(plan)  # before a table breaks lines
    memory = plan["memory_gib"]
    table = Table(title="Plan", show_header=False, title_justify="left")
    table.add_row(
        "device", f"{plan['device']}, {plan['compute_dtype']}, recompute {plan['recompute']}, {plan['path']} path"
    )
    why = f": {plan['scheme_reason']}" if plan["scheme_reason"] else ""
    kept = "; kept dequantized while training" if plan["dequantized_weights"] == "keep" else ""
    shared = "; its layers sharded over all processes" if plan.get("parallel") == "fsdp" else ""
    table.add_row("base stored as", f"{plan['scheme']}{why}{kept}{shared}")
    micro, times = plan["micro_batch_rows"], plan["gradient_accumulation_steps"]
    each = " in each process" if plan["cluster"] else ""
    table.add_row("update", f"{micro * times} rows{each}, {micro} at a time")
    table.add_row("backends", ", ".join(f"{kind} {name}" for kind, name in plan["backends"].items()))
    if memory["peak"] is not None:
        _add_memory(table, memory)
    if plan["parameters"]:
        table.add_row("parameters", f"{plan['parameters']:,} base, {plan['trainable_parameters']:,} trainable")
    _add_steps(table, plan)
    _add_time(table, plan)
    table.add_row("download", plan["download"])
    if plan["path_reason"]:
        table.add_row("plain path", f"because {plan['path_reason']}")
    if plan["data"]:
        _add_counts(table, plan["data"], micro)
    else:
        table.add_row(
            "rows", "not counted: they or the base's tokenizer are not on this machine, or counting them is not quick"
        )
    for name, sentences in _told(plan):
        _add_sentences(table, name, sentences)
    console.print(table)
    if plan["data"]:
        print_account(console, plan["data"])
    console.print(f"{plan['verdict']}{': ' if plan['advice'] else ''}{plan['advice']}", highlight=False)


def _told(plan: Mapping[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield what a plan tells in sentences, each by a name."""
    if plan.get("locked"):
        yield "locked", (LOCKED_MEANS,)
    yield "processes", cluster_in_words(plan["cluster"])
    yield "proof", proof_in_words(plan["proof"])
    yield "base", plan.get("base", {}).get("notes", ())
    yield "note", plan["notes"]
    yield "terms", plan["licences"]
    yield "canaries", filter(None, [plan["canaries"]])


def _add_sentences(table: "Table", about: str, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        table.add_row(about, sentence)


def _add_counts(table: "Table", data: Mapping[str, Any], rows: int) -> None:
    """Say what becomes of the rows in micro-batches of ``rows``, and what a longer ``max_length`` would keep, per source where any is lost."""
    table.add_row(
        "rows",
        f"{data['rows']:,} in {data['packed_rows']:,} packed rows, {data['fill']:.1%} full; {data['quarantined']:,} malformed; "
        f"{sum(sum(kinds.values()) for kinds in data['overlap'].values()):,} also among the validation rows",
    )
    for name, source in {"all": data, **named_sources(data["sources"])}.items():
        if not source["lost_rows"] and name != "all":
            continue
        needed = ", ".join(f"{percent} % need {length:,}" for percent, length in source["needed"].items())
        lost = f"{source['lost_rows']:,} rows with {source['lost_supervised_tokens']:,} supervised tokens lost"
        table.add_row(f"length, {name or 'unnamed'}", f"{lost} to max_length {data['max_length']:,}; {needed}")
    for note in data.get("notes", []):
        table.add_row("note", note)
    common = data.get("common_prefixes", {}).get(str(rows), 0)
    if common >= _WORTH_TELLING:
        told = f"{common:.1%} of a micro-batch's tokens; the fast path computes them once unless train.share_prefixes=false"
        table.add_row("common prefixes", told)
    if data["refused"]:
        table.add_row("refused", data["refused"])


def _add_steps(table: "Table", plan: Mapping[str, Any]) -> None:
    """Say how many updates there are, with and without packing, or why that is not known."""
    if plan["steps"] is not None:
        basis = "counted" if plan["size_is_measured"] else "as the bundle states"
        unpacked = f", {plan['steps_unpacked']:,} unpacked" if plan["steps_unpacked"] else ""
        table.add_row("steps", f"{plan['steps']:,} updates{unpacked}, over {plan['tokens']:,} tokens ({basis})")
    else:
        table.add_row(
            "steps", "not known: set train.max_steps, or plan where rows and tokenizer are, to have them counted"
        )


def _add_memory(table: "Table", memory: Mapping[str, Any]) -> None:
    parts = ", ".join(f"{name} {gib:.2f}" for name, gib in memory["parts"].items() if gib >= 0.005)  # noqa: PLR2004
    table.add_row("memory", f"about {memory['peak']:.2f} GiB ({parts})")
    table.add_row("by phase", ", ".join(f"{name} {gib:.2f}" for name, gib in memory["phases"].items()))


def _add_time(table: "Table", plan: Mapping[str, Any]) -> None:
    """Add rows on time and cost: estimates, with what they rest on."""
    if plan["tokens_per_second"]:
        table.add_row("speed", f"about {plan['tokens_per_second']:,.0f} tokens/s ({plan['speed_basis']})")
    for line in minutes_in_words(plan["minutes"], plan["minutes_basis"]):
        stage, _colon, told = line.partition(": ")
        table.add_row(f"minutes, {stage}", told)
    if plan["cost_basis"]:
        amount = "" if plan["cost"] is None else f"about {plan['cost']:.2f}; "
        table.add_row("cost", f"{amount}{plan['cost_basis']}")


def print_scores(metrics: Mapping[str, Any]) -> None:
    """Print the table of base against tuned and where everything lies."""
    from rich.table import Table

    console = terminal()
    if metrics["scores"]:
        table = Table(title="Base against tuned", title_justify="left")
        for column in ("task", "metric", "base", "tuned", "gain", "rows"):
            table.add_column(column, justify="left" if column in ("task", "metric") else "right")
        for task, score in metrics["scores"].items():
            gain = score["tuned"] - score["base"]
            figures = (f"{score['base']:.3f}", f"{score['tuned']:.3f}", f"{gain:+.3f}", str(score["rows"]))
            table.add_row(task, score["metric"], *figures)
        console.print(table)
    if losses := metrics.get("held_out_loss"):
        console.print(f"loss of the validation rows: {losses_in_words(losses)}", highlight=False)
    if metrics["steps"] is not None:
        console.print(
            f"{metrics['steps']} steps in {metrics['seconds']:.0f} s, {metrics['tokens_per_second']:,.0f} tokens/s, "
            f"loss {metrics['train_loss']:.3f}, peak memory {metrics['peak_memory_gib']:.2f} GiB",
            highlight=False,
        )
    console.print(
        f"adapter  {metrics['adapter']}\nreport   {metrics['run']}/report.html", highlight=False, soft_wrap=True
    )


def print_evaluation(result: Mapping[str, Any]) -> None:
    """Print the metrics and failure rates of each task, with the base beside them when it was scored."""
    from rich.table import Table

    console = terminal()
    print_contracts(console, result.get("contracts", []))
    for task in result["tasks"]:
        console.print(task_table(result, task))
    if by_source := source_table(result):
        console.print(by_source)
    if paraphrases := result.get("paraphrases"):
        table = Table(title="the same rows in other words", title_justify="left")
        for column in ("task", "metric", "lowest", "mean", "highest"):
            table.add_column(column, justify="left" if column in {"task", "metric"} else "right")
        for task, found in paraphrases.items():
            table.add_row(task, found["metric"], *(f"{found[name]:.3f}" for name in ("lowest", "mean", "highest")))
        console.print(table)
    if trusted := trust_table(result):
        console.print(trusted)
    if "held_out_loss" in result:
        console.print(loss_table(result))
    for sentence in _findings(result):
        console.print(sentence, highlight=False, soft_wrap=True)


def _findings(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the tables of an evaluation do not say: verdicts, rows without overlap, rows that were not scored."""
    yield from notes_of(result)
    yield from trust_sentences(result)
    for task, found in result.get("comparison", {}).get("tasks", {}).items():
        yield f"{task}: {found['verdict']}"
    for task, score in result.get("without_overlap", {}).items():
        value = score["metrics"].get(score["primary"])
        if value is None:
            continue
        yield f"{task}: {score['primary']} {value:.3f} on the {score['rows']} rows that do not also stand in the training rows"
    for finding in result.get("lint", []):
        yield lint_sentence(finding)
    if unmatched := result.get("unmatched"):
        yield f"rows that belong to no task and were not scored: {unmatched}"


def print_harness(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print the figures that lm-evaluation-harness gave, the base's beside them where it was asked."""
    from rich.table import Table

    table = Table(title_justify="left")
    for column in ("task", "figure", *found):
        table.add_column(column, justify="left" if column in {"task", "figure"} else "right")
    for task, figures in found["tuned"].items():
        for name in figures:
            table.add_row(task, name, *(f"{by_task[task][name]:.3f}" for by_task in found.values()))
    terminal().print(table)
