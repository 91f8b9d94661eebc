"""Chat templates that a user chooses: shipped ones by name, own ones by file, and the options set in them."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.errors import SpecError, UnknownNameError, UnsafeArtifactError

__all__ = ["SHIPPED", "chosen_template", "usable_templates", "with_options"]

_FOLDER = Path(__file__).parent / "chat_templates"
SHIPPED = tuple(sorted(file.stem for file in _FOLDER.glob("*.jinja")))
"""Names that ``model.chat_template`` takes."""
_LONGEST = 2**20  # bytes; templates have a few thousand


_OWN = frozenset(
    {"messages", "add_generation_prompt", "continue_final_message", "tools", "documents", "bos_token", "eos_token"}
)
"""What whoever renders a template hands to it."""


def chosen_template(choice: str) -> str:
    """Return the Jinja text of a shipped name or of a file.

    Raises:
        UnknownNameError: it is neither.
        SpecError: the file cannot be read, or is no Jinja template.
    """
    if choice in SHIPPED:
        return (_FOLDER / f"{choice}.jinja").read_text("utf-8").removesuffix("\n")
    file = Path(choice).expanduser()
    if not file.is_file():
        raise UnknownNameError("chat template (or file)", choice, SHIPPED)
    try:
        if file.stat().st_size > _LONGEST:
            raise SpecError(f"model.chat_template '{choice}' is longer than a template is ({_LONGEST:,} bytes at most)")
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"model.chat_template '{choice}' cannot be read as UTF-8 text") from error
    if not text.strip() or not _names_in(text):
        raise SpecError(f"model.chat_template '{choice}' holds no Jinja template")
    return text.removesuffix("\n")


def with_options(template: str, options: Mapping[str, Any]) -> str:
    """Return the template with options set in its first line, so that everybody who renders it renders the same.

    Raises:
        SpecError: the template reads no such option.
    """
    known = _names_in(template)
    for name in options:
        if name in _OWN:
            raise SpecError(
                f"model.template_options.{name} is set by medtune or the tokenizer, never by a spec; leave it out"
            )
        if name not in known:
            raise SpecError(f"model.template_options.{name} has no effect: the chat template reads no '{name}'")
    return "".join(f"{{% set {name} = {_literal(value)} %}}" for name, value in options.items()) + template


def usable_templates(tokenizer: Any) -> list[str]:
    """Return the shipped names whose control tokens this tokenizer has, found by rendering with each."""
    from medtune.data.forms import Forms

    found: list[str] = []
    for name in SHIPPED:
        tried = copy.copy(tokenizer)
        tried.chat_template = chosen_template(name)
        try:
            Forms(tried, "last").of(("user", "assistant"))
        except UnsafeArtifactError:
            continue
        found.append(name)
    return found


def _names_in(template: str) -> set[str]:
    """Return the names that stand in a template's code; none where it is no Jinja."""
    from jinja2 import Environment, TemplateSyntaxError

    try:
        return {value for _line, kind, value in Environment(autoescape=True).lex(template) if kind == "name"}
    except TemplateSyntaxError:
        return set()


def _literal(value: Any) -> str:
    """Write a value as Jinja reads it."""
    words = {True: "true", False: "false", None: "none"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value)
