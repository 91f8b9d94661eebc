"""Plugins that look odd and keep their contract: the kit must find nothing wrong with them."""

import functools
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from bad_plugins import of_readers, of_rows, of_tasks
from bad_plugins.making import providing, with_hooks
from bad_plugins.of_backends import Npz, OneByOne, Sgd
from medtune import Bundle, Example, MedTuner, hookimpl
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.data.formatters import conversation, formatter, text
from medtune.plugins.host import create_host

_LOG = logging.getLogger("acme")


class Slotted:
    """Has slots, no columns, and rows of its own."""

    __slots__ = ()
    name = "acme.slots_1"
    samples = ({"a": "One?", "b": "1"}, {"a": "Two?", "b": "2"})

    def format(self, row):
        return conversation(text(row, "a"), text(row, "b"), row)


@dataclass(frozen=True)
class Valued:
    """A value that says its name by a field, and takes whatever it is called with."""

    name: str = "acme-value"
    columns: frozenset = field(default=frozenset({"letter", "summary"}))

    def format(self, *given, **_more):
        return conversation(text(given[0], "letter"), text(given[0], "summary"), given[0])


class Raising:
    """Raises errors of all sorts for bad rows, which quote nothing that is shown."""

    name = "acme-strict"
    columns = ("letter", "summary")

    def format(self, row):
        letter, summary = row["letter"], row["summary"]
        if not isinstance(letter, str) or not isinstance(summary, str) or not summary.strip():
            raise TypeError(f"letter {letter!r}")
        return conversation(letter.encode("utf-8").decode(), summary, row)


class Counting:
    """Counts and logs what it does, without a word of the rows; keeps what it computed."""

    name = "acme-count"
    columns = frozenset({"letter", "summary"})

    def __init__(self):
        self.done = 0

    @functools.lru_cache(maxsize=8)  # noqa: B019 - it lives as long as the process
    def _asked(self, letter):
        return f"Summarise:\n{letter}"

    def format(self, row):
        self.done += 1
        _LOG.debug("formatted %d rows", self.done)
        return conversation(self._asked(text(row, "letter")), text(row, "summary"), row)


class Talking:
    """Makes a conversation of several turns with a system turn, tuples in the place of lists."""

    name = "acme-talk"
    columns = frozenset({"letter", "summary"})

    def format(self, row):
        first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text(row, "letter")}]
        more = [{"role": "assistant", "content": "Noted."}, {"role": "user", "content": "And now?"}]
        return Example((*first, *more, {"role": "assistant", "content": text(row, "summary")}), source="talks")


@formatter("acme-decorated", columns=["letter", "summary"])
def decorated(row):
    return conversation(text(row, "letter"), text(row, "summary"), row)


class Open(of_tasks.Right):
    """Matches by a task's name, and has no limit worth speaking of."""

    name = "acme-open"

    def max_new_tokens(self, example, prompt_tokens):
        return max(64, prompt_tokens)


class Several:
    """Provides things of two kinds, and observes."""

    @hookimpl
    def provide_formatters(self):
        return (Slotted(),)

    @hookimpl
    def provide_tasks(self):
        return [Open()]

    @hookimpl
    def step_logged(self, record):
        return record.get("loss")


def write_into_run(_self, run):
    (Path(run.path) / "acme.txt").write_text(run.state)


def bundles(_self):
    host = create_host(autoload=False)
    demo = host.find("bundle", "demo")
    return [Bundle("acme-demo", MedTuner.from_bundle("demo", plugins=host, seed=7).spec, licences=demo.licences)]


def of(kind, right, **members):
    return providing(kind, type("Right", (right,), {"name": f"acme-{kind}", **members})())


def ask_twice(self, loaded, prompts, spec):
    """Answer in two halves."""
    half = len(prompts) // 2
    return (
        *OneByOne.generate(self, loaded, prompts[:half], spec),
        *OneByOne.generate(self, loaded, prompts[half:], spec),
    )


RIGHT = {
    "a formatter with slots": providing("formatter", Slotted()),
    "a formatter that is a value": providing("formatter", Valued()),
    "a formatter that raises TypeErrors": providing("formatter", Raising()),
    "a formatter that counts and keeps": providing("formatter", Counting()),
    "a formatter of talks": providing("formatter", Talking()),
    "a formatter made by the decorator": providing("formatter", decorated),
    "two formatters": providing("formatter", Slotted(), Valued()),
    "a formatter of the catalogue without its fault": providing("formatter", of_rows.Right()),
    "a reader of the catalogue without its fault": providing("reader", of_readers.Right()),
    "a task without a tally": providing("task", of_tasks.Right()),
    "a task without a limit": providing("task", Open()),
    "several kinds in one": Several(),
    "nothing to provide today": with_hooks(provide_tasks=lambda _self: []),
    "an observer of the end alone": with_hooks(run_finished=write_into_run),
    "an observer that takes no argument": with_hooks(step_logged=lambda _self: os.getpid()),
    "an observer of failures alone": with_hooks(run_failed=lambda _self, error: type(error).__name__),
    "a bundle from another one": with_hooks(provide_bundles=bundles),
    "a quantizer of one scheme": of("quantizer", BitsAndBytesQuantizer, schemes=("none",)),
    "an adapter around another one": of("adapter", PeftAdapter),
    "a generator that returns a tuple": of("generator", OneByOne, generate=ask_twice),
    "a trainer without checkpoints": of("trainer", Sgd),
    "an exporter without a check": of("exporter", Npz),
}
"""What is odd -> plugin."""
