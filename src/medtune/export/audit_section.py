"""What an audit found, as a section of the report and of the model card."""

from collections.abc import Mapping
from typing import Any

from medtune.errors.visible import html_text
from medtune.evaluation.memorization.findings import ATTACKS
from medtune.export.page import ABSENT, Cell, figure, interval, join, section, table

__all__ = ["AUDIT_FILE", "audit_section", "canary_note", "card_section", "with_audit"]

AUDIT_FILE = "audit.json"
"""In a run's evaluation folder: figures without any text of a row."""

_TITLE = "What the adapter remembers"
_HEADING = f"## {_TITLE}"
_NEXT = "\n## "
_NOT_AUDITED = (
    "Not audited. `medtune audit RUN` says what can be brought out of it: made-up secrets, training answers word for word, and "
    "which rows it was trained on."
)


def canary_note(plan: Mapping[str, Any]) -> str:
    """Return a note that a run holds canaries, from its plan; empty for one without."""
    sentence = str(plan.get("canaries") or "")
    return f'<p class="note"><strong>{html_text(_sentence(sentence))}</strong></p>' if sentence else ""


def audit_section(found: Mapping[str, Any]) -> str:
    """Return what was tried, what was found, and what that cannot show; empty for a run that was not audited."""
    if not found:
        return ""
    listed = "".join(f"<li>{html_text(sentence)}</li>" for sentence in found["findings"])
    return section(
        _TITLE,
        "audit",
        f"<p>{html_text(found['tried'])}</p><ul>{listed}</ul>",
        _canaries(found["canaries"]),
        _membership(found["membership"]),
        _left_out(found["left_out"]),
        f'<p class="note">{html_text(found["limits"])}</p>',
    )


def card_section(canaries: str, found: Mapping[str, Any]) -> str:
    """Return the section of a model card.

    Args:
        canaries: that the run holds some, in a sentence; empty for one without.
        found: the figures of an audit; empty for a run that was not audited.
    """
    planted = [f"**{_sentence(canaries)}**"] if canaries else []
    if not found:
        return "\n\n".join([_HEADING, *planted, _NOT_AUDITED])
    listed = "\n".join(f"- {sentence}" for sentence in found["findings"])
    return "\n\n".join([_HEADING, *planted, found["tried"], listed, found["limits"]])


def with_audit(card: str, canaries: str, found: Mapping[str, Any]) -> str:
    """Return a model card with what an audit found, in the place of what it said of that before."""
    before, _heading, rest = card.partition(_HEADING)
    _old, mark, after = rest.partition(_NEXT)
    return f"{before.rstrip()}\n\n{card_section(canaries, found)}\n{mark}{after}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _canaries(figures: Mapping[str, Any]) -> str:
    rows = [
        [
            Cell.text(group["repeats"] or "never planted"),
            Cell(f"{group['canaries']:,}"),
            *(Cell(f"{group['tuned'][name]:,}") for name in ("found", "extracted", "near")),
            Cell(_bits(group["tuned"])),
            Cell(f"{group['base']['found']:,}"),
            Cell(_bits(group["base"])),
        ]
        for group in figures.get("groups", ())
    ]
    columns = ("times per epoch", "canaries", "found", "word for word", "one digit wrong", "exposure, bits")
    shown = table((*columns, "found, base", "exposure, base"), rows, stack=True)
    return join("<h3>Canaries</h3>", shown) if rows else ""


def _bits(group: Mapping[str, Any]) -> str:
    of = group["exposure"]
    return f"{of['median']:.1f} <small>{of['least']:.1f} to {of['most']:.1f}</small>"


def _membership(figures: Mapping[str, Any]) -> str:
    parts = {"all": figures["all"], **figures["sources"]} if figures["all"] else {}
    rows = [
        [
            Cell.text(name or "unnamed"),
            Cell(f"{of['members']:,}"),
            Cell(f"{of['held_out']:,}"),
            *(Cell(_auc(of["attacks"][attack])) for attack in ATTACKS),
            Cell(_share(of["attacks"][of["strongest"]])),
            Cell(_auc(of["base"])),
        ]
        for name, of in parts.items()
    ]
    named = (f"AUC, {attack}" for attack in ATTACKS.values())
    columns = ("source", "trained on", "held out", *named, "found at 1 % false, strongest", "AUC, base alone")
    return join("<h3>Membership</h3>", table(columns, rows, stack=True)) if rows else ""


def _auc(of: Mapping[str, Any]) -> str:
    return f"{figure(of['auc'])} {interval(of['interval'])}"


def _share(of: Mapping[str, Any]) -> str:
    return ABSENT if of["tpr"] is None else f"{figure(of['tpr'])} {interval(of['tpr_interval'])}"


def _left_out(left_out: Mapping[str, int]) -> str:
    told = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    return f"<p>Left out: {html_text(told)}.</p>" if told else ""
