"""Formatters with one fault each."""

import json
import logging
import os
import random
import socket
import sys
import tempfile
import threading
import time

from bad_plugins.making import Bad, providing
from medtune import Example
from medtune.data.formatters import MalformedRowError, conversation, text


class Right:
    """A right formatter, which the others break in one place."""

    name = "letters"
    columns = frozenset({"letter", "summary"})

    def ask(self, row):
        return f"Summarise.\n\n{text(row, 'letter')}"

    def format(self, row):
        return conversation(self.ask(row), text(row, "summary"), row)


def turns(question, answer, role="assistant"):
    return [{"role": "user", "content": question}, {"role": role, "content": answer}]


def formatting(fault, check, seconds=60.0, **members):
    """Return a case: ``Right`` with other members."""
    thing = type("Wrong", (Right,), members)()
    return Bad(fault, "formatter", check, providing("formatter", thing), seconds)


def before(action):
    """Return a ``format`` that does something first."""

    def format_(self, row):
        action(self, row)
        return Right.format(self, row)

    return format_


def returning(make):
    return lambda self, row: make(text(row, "letter"), text(row, "summary"))


class _Kept:
    """Turns that all examples share."""

    turns = turns("", "")


def share_turns(question, answer):
    _Kept.turns[0]["content"], _Kept.turns[1]["content"] = question, answer
    return Example(_Kept.turns)


def leave_on_bad_row(self, row):
    if not isinstance(row.get("letter"), str):
        sys.exit(3)
    return Right.format(self, row)


def hang_on_huge_row(self, row):
    while len(str(row.get("letter"))) > 100_000:
        time.sleep(0.01)
    return Right.format(self, row)


def quote_on_bad_row(self, row):
    if not isinstance(row.get("summary"), str) or not row["summary"].strip():
        raise MalformedRowError(f"no summary of {row.get('letter')}")
    return Right.format(self, row)


def hide_bad_row(self, row):
    try:
        return Right.format(self, row)
    except ValueError:
        return Example(turns("unknown", None))


def patch_json(_self, _row):
    json.dumps = lambda *_a, **_k: "{}"


def set_environment(_self, _row):
    os.environ["LETTERS_SEEN"] = str(random.random())


def start_thread(_self, _row):
    threading.Thread(target=time.sleep, args=(3,), daemon=True).start()


def log_row(_self, row):
    logging.getLogger("letters").info("formatting %s", row.get("letter"))


def change_folder(_self, _row):
    os.chdir(tempfile.mkdtemp())


def configure_logging(_self, _row):
    logging.getLogger().addHandler(logging.NullHandler())


class Nested(Right):
    """Reads a list inside the row, and takes from it."""

    columns = frozenset({"letter", "parts"})
    samples = ({"letter": "Cough.", "parts": ["a", "b"]}, {"letter": "Fever.", "parts": ["c", "d"]})

    def format(self, row):
        parts = row["parts"]
        return conversation(text(row, "letter"), str(parts.pop()) if len(parts) > 1 else str(parts[0]), row)


def count_calls(self, row):
    self.calls = getattr(self, "calls", 0) + 1
    return f"Letter {self.calls}: {text(row, 'letter')}"


async def wait_for_format(self, row):
    return Right.format(self, row)


def want_dict(self, row):
    return Right.format(self, json.loads(json.dumps(row)))


def _popped(self, row):
    row = row if isinstance(row, dict) else dict(row)
    found = Right.format(self, row)
    row.pop("letter")
    return found


BAD = [
    formatting("takes a column off the row", "formatter-keeps-row", format=_popped),
    Bad("takes from a list in the row", "formatter", "formatter-keeps-row", providing("formatter", Nested())),
    formatting("asks at random", "formatter-same-answer", ask=lambda _s, row: f"{random.random()} {text(row, 'letter')}"),
    formatting("counts its calls", "formatter-same-answer", ask=count_calls),
    formatting("returns a mapping", "formatter-example", format=returning(lambda q, a: {"messages": turns(q, a)})),
    formatting("answers None", "formatter-example", format=returning(lambda q, _a: Example(turns(q, None)))),
    formatting("has no turns", "formatter-example", format=returning(lambda _q, _a: Example([]))),
    formatting("ends with the user", "formatter-example", format=returning(lambda q, a: Example(turns(q, a, "user")))),
    formatting("names a role of its own", "formatter-example", format=returning(lambda q, a: Example(turns(q, a, "bot")))),
    formatting("has a source None", "formatter-example", format=returning(lambda q, a: Example(turns(q, a), source=None))),
    formatting("gives turns as text", "formatter-example", format=returning(lambda q, a: Example(f"{q} {a}"))),
    formatting("shares its turns", "formatter-own-turns", format=returning(share_turns)),
    formatting("gives the same for all", "formatter-uses-row", format=returning(lambda _q, _a: Example(turns("Hi", "Ho")))),
    formatting("writes None", "formatter-no-none", ask=lambda _s, row: f"Letter: {row['letter']}"),
    formatting("prints the row", "calls-redact", format=before(lambda _s, row: print(dict(row)))),
    formatting("prints a line", "calls-quiet", format=before(lambda _s, _row: print("formatting"))),
    formatting("writes to the descriptor", "calls-quiet", format=before(lambda _s, _row: os.write(1, b"formatting"))),
    formatting("tells stderr the row", "calls-redact", format=before(lambda _s, row: print(dict(row), file=sys.stderr))),
    formatting("logs the row", "calls-redact", format=before(log_row)),
    formatting("quotes the row in its refusal", "calls-redact", format=quote_on_bad_row),
    formatting("exits on a bad row", "calls-return", format=leave_on_bad_row),
    formatting("hangs on a huge row", "calls-return", seconds=5.0, format=hang_on_huge_row),
    formatting("hides a bad row", "formatter-bad-rows", format=hide_bad_row),
    formatting(
        "asks a server", "calls-offline",
        format=before(lambda _s, _row: socket.create_connection(("192.0.2.1", 9), timeout=0.1)),
    ),
    formatting("sets a variable", "calls-leave-no-trace", format=before(set_environment)),
    formatting("leaves a thread", "calls-leave-no-trace", format=before(start_thread)),
    formatting("patches json", "calls-leave-no-trace", format=before(patch_json)),
    formatting("changes the folder", "calls-leave-no-trace", format=before(change_folder)),
    formatting("configures logging", "calls-leave-no-trace", format=before(configure_logging)),
    formatting("has columns in one text", "formatter-columns", columns="letter,summary"),
    formatting("has a version in numbers", "formatter-columns", version=2),
    formatting("has a name with spaces", "name-plain", name="my letters"),
    formatting("has no name to type", "name-plain", name="briefe\n"),
    formatting("takes the name of another", "name-free", name="alpaca"),
    formatting("is a coroutine", "signatures", format=wait_for_format),
    formatting("takes no row", "signatures", format=lambda self: None),
    formatting("wants a dict", "formatter-any-mapping", format=want_dict),
    formatting("answers with nothing", "formatter-round-trip", format=returning(lambda q, _a: Example(turns(q, "")))),
    Bad("provides a name twice", "formatter", "name-free", providing("formatter", Right(), Right())),
]  # fmt: skip
