"""Reads a Modelfile and renders its TEMPLATE as Ollama does, as far as medtune writes that; imports no medtune, so that proofs can run it alone.

Of Go's text/template: text, trim marks, string constants, ``.Field``, ``$.Field``, variables, ``range``, ``if``, ``else if``,
``else``, ``end``, ``eq``, ``and``, ``or``, ``not``, ``index``. Anything else is an error, never passed by. As in Ollama, messages of one
role that follow each other are one, ``.System`` is all system messages, and ``.Messages`` holds them too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GoError", "Modelfile", "read_modelfile", "rendered"]

_COMMAND = re.compile(
    r'(?P<name>[A-Z]+)[ \t]+(?P<rest>(?:[a-z_]+[ \t]+(?="|\S))?)(?P<value>"""(?:.|\n)*?"""|[^\n]*)(?:\n|\Z)'
)
_ACTION = re.compile(r"\{\{(?P<left>- )?(?P<code>(?:\"(?:\\.|[^\"\\])*\"|[^\"}])*?)(?P<right> -)?\}\}")
_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\$?\.?[\w.]+|\$|:=|[()=]')


class GoError(ValueError):
    """A template that is outside of the subset, or that fails as it is rendered."""


@dataclass(slots=True)
class Modelfile:
    """What a Modelfile says.

    Attributes:
        base: of FROM.
        adapter: of ADAPTER.
        template: of TEMPLATE.
        system: of SYSTEM.
        parameters: name of a PARAMETER -> its values in order.
    """

    base: str = ""
    adapter: str = ""
    template: str = ""
    system: str = ""
    parameters: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


def read_modelfile(text: str) -> Modelfile:
    """Return what a Modelfile says; raises GoError for a line that is no command of those above."""
    found, place = Modelfile(), 0
    names = {"FROM": "base", "ADAPTER": "adapter", "TEMPLATE": "template", "SYSTEM": "system"}
    while place < len(text):
        if text[place] == "\n" or text[place] == "#":
            place = (text.find("\n", place) + 1) or len(text)
            continue
        match = _COMMAND.match(text, place)
        if match is None or (match["name"] != "PARAMETER" and match["name"] not in names):
            raise GoError(f"character {place} of the Modelfile begins no command that is known")
        value, place = _unquoted(match["value"]), match.end()
        if match["name"] == "PARAMETER":
            found.parameters.setdefault(match["rest"].strip(), []).append(value)
        else:
            setattr(found, names[match["name"]], match["rest"] + value)
    return found


def rendered(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """Return the prompt of a conversation; raises GoError where Ollama's rendering fails too."""
    merged: list[dict[str, str]] = []
    for message in messages:
        if merged and merged[-1]["Role"] == message["role"]:
            merged[-1]["Content"] += "\n\n" + message["content"]
        else:
            merged.append({"Role": message["role"], "Content": message["content"]})
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    top: dict[str, Any] = {"Messages": merged, "System": system, "Response": ""}
    return "".join(_run(_tree(iter(_pieces(template)))[0], top, {"$": top}))


def _unquoted(value: str) -> str:
    for quote in ('"""', '"'):
        if len(value) >= 2 * len(quote) and value.startswith(quote) and value.endswith(quote):
            return value[len(quote) : -len(quote)]
    if value.startswith('"'):
        raise GoError("a quote of the Modelfile has no end")
    return value.strip()


def _pieces(template: str) -> list[tuple[str, list[str]]]:
    """Return texts as ("", [text]) and actions as (first word, words)."""
    found: list[tuple[str, list[str]]] = []
    place, trims = 0, False
    for match in _ACTION.finditer(template):
        text = template[place : match.start()]
        text = text.lstrip() if trims else text
        found.append(("", [text.rstrip() if match["left"] else text]))
        words = _WORD.findall(match["code"])
        if "".join(words) != re.sub(r'("(?:\\.|[^"\\])*")|\s+', r"\1", match["code"]) or not words:
            raise GoError("an action holds what is not read")
        found.append((words[0], words))
        place, trims = match.end(), bool(match["right"])
    last = template[place:]
    found.append(("", [last.lstrip() if trims else last]))
    if any("{{" in words[0] for kind, words in found if not kind):
        raise GoError("an action is not closed, or holds what is not read")
    return found


def _tree(pieces: Iterator[tuple[str, list[str]]]) -> tuple[list[Any], list[str]]:
    """Return the nodes up to an ``else`` or ``end``, and that."""
    nodes: list[Any] = []
    for kind, words in pieces:
        if kind in ("end", "else"):
            return nodes, words
        if kind in ("if", "range"):
            nodes.append(_branch(words, pieces))
        else:
            nodes.append((kind, words))
    return nodes, []


def _branch(words: list[str], pieces: Iterator[tuple[str, list[str]]]) -> tuple[str, list[str], list[Any], list[Any]]:
    inside, ended = _tree(pieces)
    other: list[Any] = []
    if ended[:2] == ["else", "if"]:
        other = [_branch(ended[1:], pieces)]
    elif ended == ["else"]:
        other, ended = _tree(pieces)
    if not ended:
        raise GoError(f"'{words[0]}' has no end")
    return words[0], words[1:], inside, other


def _run(nodes: Sequence[Any], dot: Any, names: dict[str, Any]) -> Iterator[str]:
    for node in nodes:
        kind, words = node[0], node[1]
        if kind == "":
            yield words[0]
        elif kind == "if":
            yield from _run(node[2] if _value(words, dot, names) else node[3], dot, names)
        elif kind == "range":
            for each in _value(words, dot, names):
                yield from _run(node[2], each, names)
        elif words[1:2] in ([":="], ["="]):
            if (words[0] in names) != (words[1] == "="):
                raise GoError(f"variable '{words[0]}' is declared twice, or not at all")
            names[words[0]] = _value(words[2:], dot, names)
        else:
            yield str(_value(words, dot, names))


def _value(words: Sequence[str], dot: Any, names: Mapping[str, Any]) -> Any:
    """Return the value of one operand, or of a function and its operands."""
    operands, rest = list[Any](), list(words)
    function = rest.pop(0) if rest and rest[0] in _FUNCTIONS else ""
    while rest:
        word = rest.pop(0)
        if word == "(":
            depth, place = 1, 0
            while depth:
                depth += {"(": 1, ")": -1}.get(rest[place], 0)
                place += 1
            operands.append(_value(rest[: place - 1], dot, names))
            rest = rest[place:]
        else:
            operands.append(_operand(word, dot, names))
    if function:
        return _FUNCTIONS[function](operands)
    if len(operands) != 1:
        raise GoError("an action has no function and more than one operand")
    return operands[0]


def _operand(word: str, dot: Any, names: Mapping[str, Any]) -> Any:
    if word.startswith('"'):
        return json.loads(word)
    if word.lstrip("-").isdigit():
        return int(word)
    root, _, name = word.partition(".")
    if root and root not in names:
        raise GoError(f"'{word}' is not known")
    value = names[root] if root else dot
    if not name:
        return value
    if not isinstance(value, Mapping) or name not in value:
        raise GoError(f"there is no field '{word}'")
    return value[name]


def _index(operands: Sequence[Any]) -> Any:
    held, place = operands
    if not 0 <= place < len(held):
        raise GoError("index out of range")
    return held[place]


_FUNCTIONS: Mapping[str, Any] = {
    "eq": lambda operands: operands[0] in operands[1:],
    "and": lambda operands: next((each for each in operands if not each), operands[-1]),
    "or": lambda operands: next((each for each in operands if each), operands[-1]),
    "not": lambda operands: not operands[0],
    "index": _index,
}
