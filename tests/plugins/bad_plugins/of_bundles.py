"""Bundles and observers with one fault each, and plugins whose hooks are wrong."""

import logging
import os
import sys
import time
from pathlib import Path

from bad_plugins.making import Bad, providing, with_hooks
from bad_plugins.of_rows import Right
from medtune import Bundle, RunSpec, hookimpl

TERMS = {"acme/base": "Apache-2.0"}


def bundle(fault, check, *, spec=None, licences=TERMS, **others):
    found = Bundle("acme", spec=RunSpec() if spec is None else spec, licences=licences, **others)
    return Bad(fault, "bundle", check, providing("bundle", found))


def spec(**parts):
    return RunSpec.model_validate(parts)


def observing(fault, check, **hooks):
    return Bad(fault, "observer", check, with_hooks(**hooks))


def _read_loss(_self, record):
    return f"{record['loss']:.3f}"


def _take_step(_self, record):
    return record.pop("step")


def _fail_late(self, spec, error):
    return self.last["step"]


def _write_here(_self, run):
    path = Path.cwd() / f"result-{time.monotonic_ns()}.txt"
    path.write_text("done")


def _log_error(_self, spec, error):
    logging.getLogger("watch").error("failed: %s", error)


def _change_metrics(_self, run):
    run.metrics["scores"] = {}


class Equal:
    """Compares by its type."""

    def __eq__(self, other):
        return isinstance(other, Equal)

    def __hash__(self):
        return 1

    @hookimpl
    def provide_formatters(self):
        return [Right()]


class Unmarked:
    """Forgot the marks."""

    def provide_formatters(self):
        return [Right()]


class Changing:
    """Provides another name each time."""

    calls = 0

    @hookimpl
    def provide_formatters(self):
        self.calls += 1
        return [type("Named", (Right,), {"name": f"letters-{self.calls}"})()]


def hooked(fault, check, **hooks):
    return Bad(fault, "plugin", check, with_hooks(**hooks))


async def _awaited(_self, record):
    pass


BAD = [
    bundle("has a mapping as spec", "bundle-spec", spec={"lora": {"r": 8}}),
    bundle("has tokens below zero", "bundle-spec", train_tokens=-5),
    bundle("says no terms", "bundle-licences", licences={}),
    bundle("has empty terms", "bundle-licences", licences={"acme/base": " "}),
    bundle("names an unknown trainer", "bundle-backends", spec=spec(train={"backend": "acme-trainer"})),
    bundle("names an unknown formatter", "bundle-backends", spec=spec(data={"formatter": "acme-rows"})),
    bundle("has a path of the author", "bundle-portable", spec=spec(data={"source": "/home/me/rows.jsonl"})),
    bundle("has values that no file can hold", "bundle-json", spec=RunSpec.model_construct(seed="seven")),
    observing("raises at a step", "observer-takes-run", step_logged=lambda _s, record: 1 / 0),
    observing("raises at the end", "observer-takes-run", run_finished=lambda _s, run: run.no_such_thing),
    observing("needs a loss in each record", "observer-odd-records", step_logged=_read_loss),
    observing("takes from the record", "observer-keeps-values", step_logged=_take_step),
    observing("changes the metrics", "observer-keeps-values", run_finished=_change_metrics),
    observing("sleeps at each step", "observer-quick", step_logged=lambda _s, record: time.sleep(0.12)),
    observing("writes where it was called", "observer-in-its-place", run_finished=_write_here),
    observing("prints each step", "calls-quiet", step_logged=lambda _s, record: print(record["step"])),
    observing("logs the error's text", "calls-redact", run_failed=_log_error),
    observing("exits at the end", "calls-return", run_finished=lambda _s, run: sys.exit(1)),
    observing("needs a step before a failure", "observer-takes-failure", run_failed=_fail_late),
    observing("sets a variable at the start", "calls-leave-no-trace",
              run_started=lambda _s, spec, plan: os.environ.__setitem__("WATCH", str(time.monotonic_ns()))),
    hooked("has a misspelt hook", "hooks-known", provide_formaters=lambda _s: []),
    hooked("asks for an argument that is not there", "hooks-known", step_logged=lambda _s, record, model: None),
    hooked("observes in a coroutine", "hooks-known", step_logged=_awaited),
    hooked("returns a generator", "hooks-return-lists", provide_formatters=lambda _s: (each for each in [Right()])),
    hooked("returns nothing", "hooks-return-lists", provide_formatters=lambda _s: None),
    hooked("returns one thing", "hooks-return-lists", provide_formatters=lambda _s: Right()),
    hooked("returns a class", "hooks-return-lists", provide_formatters=lambda _s: [Right]),
    hooked("returns another kind", "hooks-return-lists", provide_tasks=lambda _s: [Right()]),
    Bad("compares by value", "plugin", "plugin-by-identity", Equal()),
    Bad("has hooks without a mark", "plugin", "hooks-present", Unmarked()),
    Bad("provides other names each time", "plugin", "hooks-steady", Changing()),
]  # fmt: skip
