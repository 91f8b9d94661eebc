"""Writes a chat template in Ollama's template language: which text stands between two turns, found by rendering and proved by it."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from medtune.errors import SpecError
from medtune.export.llama_cpp.ollama_language import GoError, rendered

__all__ = ["Rendering", "ollama_template", "rendering_of", "told_apart", "unlike"]

Rendering = Callable[[Sequence[Mapping[str, str]]], str | None]
"""A conversation -> its prompt; None where the chat template has no place for one of its turns."""

_MARK = "Qz{}Turn"
_MUST = ("u", "uau")
_MAY = ("su", "suau", "uasu", "usu", "au", "sau")
"""Orders of turns; those of ``_MUST`` have to be rendered, and what a template refuses of the others is refused by Ollama too."""
_LONGER = ("u", "uau", "uauau", "su", "suau", "suauau")
_ROLES = {"u": "user", "a": "assistant", "s": "system"}
_CONTENTS = (
    "plain",
    "two\n\nlines",
    'with "quotes", {{ braces }} and \\ strokes',
    "β-blocker, naïve, 患者",
    "{% if %}",
)
_THOUGHT = "<think>\nyes\n</think>\n\nno"


def rendering_of(tokenizer: Any, *, folds: bool) -> Rendering:
    """Return how training renders a conversation up to the next answer.

    Args:
        tokenizer: with its chat template.
        folds: whether a first system turn for which the template has no place stands before the user's.
    """

    def plain(messages: Sequence[Mapping[str, str]]) -> str | None:
        text = ""
        with suppress(Exception):  # a template refuses what it likes, by any error
            given = [dict(message) for message in messages]
            text = str(tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=True))
        place = -1
        for message in messages:
            place = text.find(message["content"].strip(), place + 1)
            if place < 0:
                return None
        return text

    def render(messages: Sequence[Mapping[str, str]]) -> str | None:
        text = plain(messages)
        if text is None and folds and [message["role"] for message in messages[:2]] == ["system", "user"]:
            joined = f"{messages[0]['content']}\n\n{messages[1]['content']}"
            return plain([{"role": "user", "content": joined}, *messages[2:]])
        return text

    return render


def ollama_template(render: Rendering) -> str:
    """Return a chat template in Ollama's language.

    It writes the text that stands before each turn by the role of the turn and the role of the one before, and fails, as Ollama
    then does, for an order of turns that the chat template refuses.

    Raises:
        SpecError: what stands between two turns depends on more than their roles.
    """
    texts: dict[tuple[str, str], str] = {}
    for order in (*_MUST, *_MAY):
        found = _between(render, order)
        if found is None and order in _MUST:
            raise _inexpressible(order, "does not render the turns in their order")
        clash = [pair for pair, text in (found or {}).items() if texts.get(pair, text) != text]
        if clash and (order in _MUST or order in _LONGER):
            raise _inexpressible(order, "writes other text between turns of the same roles")
        texts |= {} if clash else found or {}
    # a conversation that is cut to fit the context may begin with an answer
    for start in ("", "system"):
        texts.setdefault((start, "assistant"), "")
    template = _written(texts)
    for order in _LONGER:
        for content in _CONTENTS:
            if unlike(render, template, _conversation(order, content)):
                raise _inexpressible(order, "renders another text")
    return template


def told_apart(render: Rendering, template: str) -> str:
    """Return, in words, the contents that Ollama renders otherwise than training."""
    spaces = "spaces and line ends around a turn are kept by Ollama, and were taken away in training"
    thoughts = "; so are thoughts in former answers"
    return spaces + thoughts * unlike(render, template, _conversation("uau", _THOUGHT))


def unlike(render: Rendering, template: str, messages: Sequence[Mapping[str, str]]) -> bool:
    """Whether Ollama renders a conversation otherwise; of one that the chat template refuses, whether Ollama takes it."""
    wanted = render(messages)
    try:
        return rendered(template, messages) != wanted
    except GoError:
        return wanted is not None


def _between(render: Rendering, order: str) -> dict[tuple[str, str], str] | None:
    """Return (role before, role) -> text before that turn; ``("user", "")`` is what follows the last. None where not rendered."""
    messages = [{"role": _ROLES[kind], "content": _MARK.format(number)} for number, kind in enumerate(order)]
    text = render(messages)
    if text is None:
        return None
    found: dict[tuple[str, str], str] = {}
    before = ""
    for message in messages:
        head, mark, text = text.partition(message["content"])
        if not mark or found.get((before, message["role"]), head) != head:
            return None
        found[before, message["role"]] = head
        before = message["role"]
    found[before, ""] = text
    return found


def _written(texts: Mapping[tuple[str, str], str]) -> str:
    turns = {pair: text for pair, text in texts.items() if pair[1]}
    cases = "{{ else ".join(
        f'if and (eq $last "{before}") (eq .Role "{role}") }}}}{_constant(text)}'
        for (before, role), text in turns.items()
    )
    refuse = "{{ else }}{{ index $.Messages 1000000 }}"  # an error to Ollama, so that nothing is left out in silence
    ends = "".join(
        f'{{{{ if eq $last "{before}" }}}}{_constant(text)}{{{{ end }}}}'
        for (before, role), text in texts.items()
        if not role
    )
    loop = "{{ range .Messages }}{{ " + cases + refuse + "{{ end }}{{ .Content }}{{ $last = .Role }}{{ end }}"
    return '{{ $last := "" }}' + loop + ends


def _constant(text: str) -> str:
    """Return a text as a constant of Go's, so that nothing in it is taken for the language or for the end of it."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""


def _conversation(order: str, content: str) -> list[dict[str, str]]:
    return [{"role": _ROLES[kind], "content": f"{content}{number}{content}"} for number, kind in enumerate(order)]


def _inexpressible(order: str, what: str) -> SpecError:
    turns = ", ".join(_ROLES[kind] for kind in order)
    return SpecError(
        f"the chat template cannot be written in Ollama's language: for the turns {turns} it {what}; export to gguf, which "
        "carries the chat template itself"
    )
