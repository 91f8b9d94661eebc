"""Compares a chat template with the one that is known of its family: what it writes, and in which lines its text differs."""

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.data.shipped_templates import SHIPPED, chosen_template
from medtune.data.template import ChatTemplate
from medtune.data.tokenizer import undated
from medtune.errors import UnsafeArtifactError
from medtune.plugins.contracts import Message

__all__ = ["compared_template", "difference_in_words", "told_with_template"]

_STARLING = Path(__file__).parents[1] / "demo" / "base" / "chat_template.jinja"
_MARKER = re.compile(r"<\|?[^<>|\s'\"]{1,40}\|?>|<</?[A-Z]+>>|\[/?[A-Z_]+\]|### \w+|\b[A-Z]{4,}:")
"""What a template writes around turns; which of them it has tells its family."""
_CUT = re.compile(r"(?=\{[{%#])|(?<=[}%#]\})")
"""Before a tag, and behind one."""
_MOST_LINES = 2000
"""Tags and literals; the longest template that is known has some hundred."""
_MOST_SHOWN = 400  # characters of a line
_PROBES: tuple[tuple[str, ...], ...] = (("user",), ("user", "assistant"), ("user", "assistant", "user"))


def compared_template(tokenizer: Any) -> dict[str, Any] | None:
    """Compare a loaded tokenizer's chat template with the known one of its family.

    Returns:
        The "family", "same_prompts" (whether both write the same prompts), "differing_lines" and the unified "diff", lines
        being tags and the text between them; None where there is no template, or none that is known is like it.
    """
    given = tokenizer.chat_template
    text = given.get("default") if isinstance(given, dict) else given
    if not isinstance(text, str):
        return None
    text, known = undated(text), _known()
    markers = {name: set(_MARKER.findall(each)) for name, each in known.items()}
    like = [name for name, found in markers.items() if found and all(marker in text for marker in found)]
    if not like:
        return None
    family = max(like, key=lambda name: len(markers[name]))
    ours, theirs = _lines(known[family]), _lines(text)
    diff = _difference(ours, theirs, family)
    return {
        "family": family,
        "same_prompts": _prompts(tokenizer, known[family]) == _prompts(tokenizer, given),
        "differing_lines": sum(line.startswith(("+", "-")) for line in diff[2:]),
        "diff": diff,
    }


def difference_in_words(found: Mapping[str, Any]) -> str:
    """Say in a sentence how a template differs; empty where it does not."""
    if not found["diff"]:
        return ""
    prompts = "writes the same prompts" if found["same_prompts"] else "writes other prompts"
    count = found["differing_lines"]
    return (
        f"its chat template differs from the known template of {found['family']} in {count:,} line{'s' * (count != 1)}, and "
        f"{prompts}; plan --json shows them"
    )


def told_with_template(told: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    """Return what is told of a base with the comparison of its template, and a note where that differs."""
    found = None if tokenizer is None else compared_template(tokenizer)
    if found is None:
        return dict(told)
    sentence = difference_in_words(found)
    return {**told, "notes": [*told["notes"], *([sentence] if sentence else [])], "template": found}


def _known() -> dict[str, str]:
    found = {name: chosen_template(name) for name in SHIPPED}
    return {**found, "starling": _STARLING.read_text("utf-8")}


def _lines(template: str) -> list[str]:
    """Cut a template at its tags, so that formatting alone makes no difference."""
    pieces = _CUT.split(template)
    found = [re.sub(r"\s+", " ", piece.replace("{%-", "{%").replace("-%}", "%}")).strip() for piece in pieces]
    return [line[:_MOST_SHOWN] for line in found if line]


def _difference(ours: Sequence[str], theirs: Sequence[str], family: str) -> list[str]:
    if max(len(ours), len(theirs)) > _MOST_LINES:
        return [f"--- {family}", "+++ tokenizer", f"+({len(theirs):,} lines, too many to compare)"]
    return list(difflib.unified_diff(ours, theirs, family, "tokenizer", lineterm="", n=1))


def _prompts(tokenizer: Any, template: Any) -> list[str]:
    """Return what a template writes for a few conversations; what it refuses is empty."""
    tried = copy.copy(tokenizer)
    tried.chat_template = template
    rendering, found = ChatTemplate(tried), list[str]()
    for roles in _PROBES:
        turns: list[Message] = [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]
        try:
            found.append(rendering.render(turns, for_generation=roles[-1] == "user"))
        except UnsafeArtifactError:
            found.append("")
    return found
