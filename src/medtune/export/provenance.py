"""The parts of a report that show what a run was made of: its training, its data, its settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.data.preparation_report import lint_sentence
from medtune.errors.visible import html_text as escape
from medtune.export.charts import curve, histogram
from medtune.export.page import ABSENT, Cell, join, section, table

__all__ = ["data_section", "settings_section", "training_section"]


def training_section(log: Sequence[Mapping[str, Any]]) -> str:
    """Return the curves of the logged steps."""
    charts = [
        curve(_series(log, key), caption, "step")
        for key, caption in (
            ("loss", "Loss per supervised token, in nats"),
            ("held_out_loss", "Loss of validation rows per supervised token, in nats"),
            ("macro", "Mean of the tasks' main figures during training"),
            ("grad_norm", "Gradient norm before clipping"),
            ("tokens_per_second", "Real tokens per second"),
        )
    ]
    return section("Training", "training", *charts, _loss_by_source(log))


def data_section(preparation: Mapping[str, Any]) -> str:
    """Return rows, lengths, losses and overlap per source."""
    if not preparation:
        return ""
    overlap: Mapping[str, Mapping[str, int]] = preparation.get("overlap", {})
    rows = [
        [
            Cell.text(name or "unnamed"),
            Cell(f"{facts['rows']:,}"),
            Cell(f"{facts['tokens']:,}"),
            Cell(f"{facts['supervised_tokens'] / max(1, facts['tokens']):.0%}"),
            Cell(histogram(facts["histogram"]["rows"], f"lengths of {name}")),
            Cell(f"{facts['needed']['99']:,}"),
            Cell(f"{facts['longest']:,}"),
            Cell(f"{facts['lost_rows']:,}"),
            Cell(f"{facts['shortened_rows']:,}"),
            Cell(f"{sum(overlap.get(name, {}).values()):,}"),
        ]
        for name, facts in preparation.get("sources", {}).items()
    ]
    columns = ("source", "rows", "tokens", "supervised", "lengths", "99 % need", "longest", "too long", "shortened")
    return section(
        "Data",
        "data",
        f"<p>{preparation.get('rows', 0):,} training samples of {preparation.get('tokens', 0):,} tokens, of which "
        f"{preparation.get('supervised_tokens', 0):,} carry loss, in {preparation.get('packed_rows', 0):,} packed rows "
        f"({preparation.get('fill', 0.0):.1%} full). {_set_aside(preparation)}</p>",
        table((*columns, "also in validation"), rows, stack=True),
        _findings(preparation),
    )


def settings_section(record: Mapping[str, Any]) -> str:
    """Return plan, settings, versions and terms."""
    plan: Mapping[str, Any] = record.get("plan", {})
    spec: Mapping[str, Any] = record.get("spec", {})
    memory: Mapping[str, Any] = plan.get("memory_gib", {})
    planned = {
        "device": plan.get("device"),
        "compute": plan.get("compute_dtype"),
        "recompute": plan.get("recompute"),
        "dequantized weights": plan.get("dequantized_weights", plan.get("restored_weights")),
        "base parameters": plan.get("parameters"),
        "trained parameters": plan.get("trainable_parameters"),
        "planned peak, GiB": memory.get("peak"),
        "steps": plan.get("steps"),
        "tokens": plan.get("tokens"),
        **plan.get("backends", {}),
    }
    groups = {name: part for name, part in spec.items() if isinstance(part, Mapping)}
    general = {name: value for name, value in spec.items() if not isinstance(value, Mapping)}
    prints = {name: str(value)[:16] for name, value in record.get("fingerprints", {}).items()}
    facts = "".join(
        _facts(title, values)
        for title, values in (
            ("Plan", planned),
            ("Plugins", _plugins(plan.get("plugins", ()))),
            ("Proof", _proof(record.get("proof", {}))),
            ("Run", general),
            *((name, part) for name, part in groups.items()),
            ("Versions", record.get("versions", {})),
            ("Fingerprints", prints),
        )
    )
    terms = "".join(f"<li>{escape(str(sentence))}</li>" for sentence in plan.get("licences", []))
    return section(
        "How it was made",
        "settings",
        f'<div class="facts">{facts}</div>' if facts else "",
        f"<h3>Terms of model and data</h3><ul>{terms}</ul>" if terms else "",
    )


def _plugins(plugins: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return of each plugin who brought it, which code it is, and what it was used for."""
    found: dict[str, str] = {}
    for plugin in plugins:
        origin = f"{plugin['distribution']} {plugin['version']}".strip() or "an object handed over in Python"
        code = "" if plugin["sha256"] is None else f", code {plugin['sha256'][:16]}"
        described = [
            f"; {kind}: {' '.join(str(value) for value in facts.values() if isinstance(value, str))}"
            for kind, facts in plugin["describes"].items()
            if facts
        ]
        found[plugin["name"]] = f"{origin}{code}{''.join(described)}"
    return found


def _proof(proof: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the loss was computed, and why in no faster way."""
    passed: Mapping[str, str] = proof.get("passed_over", {})
    said = "; ".join(f"{way}: {reason}" for way, reason in passed.items()) or None
    return {**proof, "passed_over": said} if proof else {}


def _series(log: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Return step and figure of the records that hold both; figures that are not finite are logged as text."""
    return [
        (float(record["step"]), float(record[key]))
        for record in log
        if isinstance(record.get("step"), int | float) and isinstance(record.get(key), int | float)
    ]


def _loss_by_source(log: Sequence[Mapping[str, Any]]) -> str:
    """Return first and last logged loss of each source, and its share of the tokens that carried loss."""
    kept = [record["loss_by_source"] for record in log if isinstance(record.get("loss_by_source"), Mapping)]
    if not kept:
        return ""
    names = sorted({name for part in kept for name in part})
    losses = {name: [part[name] for part in kept if isinstance(part.get(name), int | float)] for name in names}
    counts: Mapping[str, int] = next(
        (found for record in reversed(log) if isinstance(found := record.get("supervised_by_source"), Mapping)), {}
    )
    total = sum(counts.values()) or 1
    rows = [
        [
            Cell.text(name or "unnamed"),
            Cell(f"{of[0]:.3f}"),
            Cell(f"{of[-1]:.3f}"),
            Cell(f"{counts[name]:,}" if name in counts else ABSENT),
            Cell(f"{counts[name] / total:.1%}" if name in counts else ABSENT),
        ]
        for name, of in losses.items()
        if of
    ]
    columns = ("source", "first logged", "last logged", "supervised tokens", "share of them")
    return join("<h3>Loss by source</h3>", table(columns, rows, stack=True)) if rows else ""


def _set_aside(preparation: Mapping[str, Any]) -> str:
    count = preparation.get("quarantined", 0)
    reasons = "; ".join(f"{reason} ({number:,})" for reason, number in preparation.get("reasons", {}).items())
    dropped = preparation.get("dropped_overlap", 0)
    found = f"{count:,} malformed rows were set aside{': ' + escape(reasons) if reasons else ''}."
    return found + (
        f" {dropped:,} rows were left out because they also stand in the validation rows." if dropped else ""
    )


def _findings(preparation: Mapping[str, Any]) -> str:
    """Return what was found odd about the gold answers."""
    items = "".join(f"<li>{escape(lint_sentence(finding))}</li>" for finding in preparation.get("lint", []))
    return f"<h3>Odd in the gold answers</h3><ul>{items}</ul>" if items else ""


def _facts(title: str, values: Mapping[str, Any]) -> str:
    rows = [
        [Cell.text(name.replace("_", " ")), Cell.text(_shown(value))]
        for name, value in values.items()
        if value is not None
    ]
    if not rows:
        return ""
    body = "".join(f"<tr><td>{name.html}</td><td>{value.html}</td></tr>" for name, value in rows)
    return f"<div><h3>{escape(title.replace('_', ' ').capitalize())}</h3><table><tbody>{body}</tbody></table></div>"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)  # noqa: PLR2004
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
