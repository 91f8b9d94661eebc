"""Talks with a model, line by line."""

from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from medtune.errors.visible import visible
from medtune.plugins.contracts import Message

__all__ = ["chat"]


def chat(generate: Callable[[Sequence[Message]], str], lines: Iterable[str], sink: TextIO) -> None:
    """Answer each line that is not blank, until there are no more; the conversation is kept in memory only."""
    messages: list[Message] = []
    print("> ", end="", file=sink, flush=True)
    for line in lines:
        if line.strip():
            messages.append({"role": "user", "content": line.strip()})
            messages.append({"role": "assistant", "content": generate(messages)})
            print(visible(messages[-1]["content"]), file=sink)
        print("> ", end="", file=sink, flush=True)
