"""Readers with one fault each."""

import os
import time

from bad_plugins.making import Bad, providing


class Right:
    """A right reader, which the others break in one place."""

    name, suffixes = "bars", (".bar",)
    samples = ("a|b\nc|d\n", b"e|f\n")

    def rows(self, path):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                question, _bar, answer = line.strip().partition("|")
                yield {"question": question, "answer": answer}


HELD = []


def _held_open(_self, path):
    HELD.append(os.open(path, os.O_RDONLY))
    yield {"text": path.read_text()}


def _texts_of_damaged(_self, path):
    content = path.read_bytes()
    return [{"text": content.decode()}] if content.endswith(b"\n") else ["damaged"]


def _moved(_self, path):
    path.with_suffix(".seen").write_text("seen")
    return [{"text": "a"}]


def reading(fault, check, **members):
    return Bad(fault, "reader", check, providing("reader", type("Wrong", (Right,), members)()))


BAD = [
    reading("has its suffix as a text", "reader-suffixes", suffixes=".bar"),
    reading("has no suffix", "reader-suffixes", suffixes=()),
    reading("takes over a suffix", "reader-suffixes", suffixes=(".csv",)),
    reading("yields lists", "reader-rows", rows=lambda _s, path: [["a", "b"]]),
    reading("yields nothing", "reader-rows", rows=lambda _s, path: []),
    reading("has numbers as columns", "reader-rows", rows=lambda _s, path: [{1: "a"}]),
    reading("yields other rows each time", "reader-same-rows", rows=lambda _s, path: [{"t": str(time.monotonic_ns())}]),
    reading("writes beside the file", "reader-keeps-file", rows=_moved),
    reading("holds the file open", "reader-closes-file", rows=_held_open),
    reading("yields texts of a damaged file", "reader-bad-files", rows=_texts_of_damaged),
    reading("prints as it reads", "calls-quiet", rows=lambda _s, path: print("read") or [{"a": "b"}]),
    reading("takes one argument too few", "signatures", rows=lambda _s: []),
]
