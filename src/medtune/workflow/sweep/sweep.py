"""A sweep from its settings to the chosen one: part by part on one base in memory, each setting a run folder of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtune.errors import (
    DataError,
    MedtuneError,
    NonFiniteLossError,
    OutOfMemoryError,
    RunInterruptedError,
    SpecChangedError,
    SpecError,
    UnsafeArtifactError,
)
from medtune.export.side_by_side import RunTable
from medtune.export.sweep_page import html_page, settings_table, worth_table
from medtune.machine.hardware import world_size
from medtune.planning.required import require_backends
from medtune.plugins.host import PluginHost
from medtune.runs.durable import replace_file
from medtune.runs.lock import RunLock
from medtune.runs.signals import StopNow, StopRequest
from medtune.workflow.given_rows import Rows
from medtune.workflow.locked import begin
from medtune.workflow.progress import ProgressChoice, progress_of
from medtune.workflow.run import Run
from medtune.workflow.shared_base import SharedBase
from medtune.workflow.sweep.choice import Answers, figure_of, in_words, worth_of
from medtune.workflow.sweep.halving import figure_at, is_there, ranked, shares_of
from medtune.workflow.sweep.note import note_choice
from medtune.workflow.sweep.parts import Parts
from medtune.workflow.sweep.record import SweepRecord
from medtune.workflow.sweep.settings import Setting
from medtune.workflow.sweep.shared import pinned_settings

__all__ = ["Sweep", "SweepRequest", "sweep"]

PAGE = "sweep.html"
_OWN_FAULTS = (SpecError, NonFiniteLossError, OutOfMemoryError, UnsafeArtifactError, DataError)
"""Errors that say something of a setting; others, such as a full disk or a lock, would come with any."""


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What a sweep is asked to do.

    Attributes:
        folder: of the sweep.
        settings: what is tried.
        host: the plugins.
        halving: whether the worse half is given up after 1/2, 1/4, ... of the updates.
        by: figure that chooses: "macro", "loss" or a task.
        rows: training rows instead of those that the spec names.
        progress: whom to tell.
    """

    folder: Path
    settings: Sequence[Setting]
    host: PluginHost
    halving: bool = False
    by: str = "macro"
    rows: Rows | None = None
    progress: ProgressChoice = "auto"

    def to_json(self) -> dict[str, Any]:
        """Return what a sweep that goes on must be asked for again."""
        shared = self.settings[0].spec.model_dump(mode="json", exclude={"output_dir", "locked", "plugins"})
        for setting in self.settings:
            for key in setting.values:
                _drop(shared, key.split("."))
        return {
            "spec": shared,
            "settings": [{"name": setting.name, "values": dict(setting.values)} for setting in self.settings],
            "halving": self.halving,
            "by": self.by,
        }


@dataclass(frozen=True, slots=True)
class Sweep:
    """A finished sweep: ``sweep.json``, ``sweep.html`` and a run folder for each setting below ``runs``.

    Attributes:
        path: its folder.
        record: content of ``sweep.json``: ``settings`` with state, parts and figures, ``winner``, and ``sentence``.
        host: the plugins.
    """

    path: Path
    record: Mapping[str, Any]
    host: PluginHost

    @property
    def winner(self) -> Run:
        """The run of the chosen setting: the same to the bit as if it had been trained alone."""
        return Run.open(self.path / "runs" / self.record["winner"]["name"], plugins=self.host)

    @property
    def tables(self) -> Sequence[RunTable]:
        """The settings and what each came to, and what the chosen one is worth."""
        return settings_table(self.record), worth_table(self.record)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of ``medtune sweep``."""
        told = ("state", "settings", "loads", "winner", "sentence")
        return {"sweep": str(self.path), **{name: self.record[name] for name in told}}


def sweep(asked: SweepRequest) -> Sweep:
    """Do what is left of a sweep.

    Raises:
        SpecError: the settings cannot be compared, or the folder holds another sweep.
        RunLockedError: another process works on it.
        RunInterruptedError: it was stopped, and goes on with the same call.
        MedtuneError: no setting came to its end; the error of the last one.
    """
    begin(asked.settings[0].spec)
    _require_comparable(asked)
    with ExitStack() as held:
        lock = held.enter_context(RunLock(asked.folder.absolute()))
        told = held.enter_context(closing(progress_of(asked.progress)))
        record = SweepRecord(asked.folder, asked.to_json())
        if record.values["state"] == "finished":
            told.stage("this sweep is finished; nothing to do")
            return Sweep(asked.folder, record.values, asked.host)
        record.write(state="running")
        stop = held.enter_context(StopRequest(cancels=(lambda: lock.is_cancelled,)))
        parts = Parts(asked.folder, asked.by, asked.host, asked.rows, told, SharedBase(told.stage))
        told.stage(_announced(asked))
        with _stops_told(record, asked.folder):
            settings = pinned_settings(asked.settings, record, told.stage, has_rows=asked.rows is not None)
            asked = replace(asked, settings=settings)
            _Course(asked, record, parts, stop).run()
            told.stage("choosing")
            _choose(asked, record)
        return Sweep(asked.folder, record.values, asked.host)


class _Course:
    """The settings on their way: which go on, which are given up, which fail."""

    def __init__(self, asked: SweepRequest, record: SweepRecord, parts: Parts, stop: StopRequest) -> None:
        self._asked, self._record, self._parts, self._stop = asked, record, parts, stop
        self._specs = {setting.name: setting for setting in asked.settings}
        self._error: MedtuneError | None = None

    def run(self) -> None:
        """Bring every setting as far as it comes; those that are there already are left as they are.

        Raises:
            MedtuneError: none comes to the end.
        """
        going, before = _by_base(self._record.settings, self._specs), 0.0
        for share in shares_of(len(going), halving=self._asked.halving):
            if before:
                going = ranked([one for one in going if figure_at(one, before) is not None], before)
            wanted = -(-len(going) // 2) if before else len(going)
            going = self._bring(going, wanted, share)
            before = share
            if not going:
                break
        if not any(one["state"] == "finished" for one in self._record.settings):
            self._record.write(state="failed")
            raise self._error or SpecError(
                f"no setting of sweep '{self._asked.folder}' came to its end; sweep.json says why"
            )

    def _bring(self, ranks: Sequence[dict[str, Any]], wanted: int, share: float) -> list[dict[str, Any]]:
        """Bring the best ``wanted`` settings to a share of their updates; where one fails, the next best takes its place."""
        arrived: list[dict[str, Any]] = []
        for one in ranks:
            if len(arrived) == wanted:
                if one["state"] == "paused":
                    one["state"] = "stopped"
            elif one["state"] != "failed" and (is_there(one, share) or self._bring_one(one, share)):
                arrived.append(one)
        self._record.write(loads=self._parts.bases.loads)
        return arrived

    def _bring_one(self, one: dict[str, Any], share: float) -> bool:
        """Bring a setting to a share of its updates; its failure is kept in the record, and nobody else's."""
        self._stop.check()
        try:
            self._parts.bring(self._specs[one["name"]], one, share)
        except (RunInterruptedError, SpecChangedError):
            raise
        except _OWN_FAULTS as error:
            self._fail(one, error)
        except MedtuneError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library raises for one setting; its text may quote a row
            self._fail(one, error)
        self._record.write(loads=self._parts.bases.loads)
        return bool(one["state"] != "failed")

    def _fail(self, one: dict[str, Any], error: Exception) -> None:
        self._parts.fail(one, error)
        self._error = error if isinstance(error, MedtuneError) else self._error


def _choose(asked: SweepRequest, record: SweepRecord) -> None:
    """Choose among the finished settings, and write what that is worth into record, page and the chosen run."""
    seed, runs = asked.settings[0].spec.seed, asked.folder / "runs"
    finished = [one for one in record.settings if one["state"] == "finished"]
    answers = {one["name"]: Answers.read(runs / one["name"], asked.host, seed) for one in finished}
    first = answers[finished[0]["name"]]
    for one in finished:
        if answers[one["name"]].rows != first.rows:
            raise DataError(f"settings {finished[0]['name']} and {one['name']} answered other validation rows")
        own = figure_at(one, 1.0)  # the loss, which training measured
        one["figure"] = own if asked.by == "loss" and own is not None else figure_of(answers[one["name"]], asked.by)
    winner = min(finished, key=lambda one: (one["figure"] is None, -(one["figure"] or 0.0)))
    name = winner["name"]
    worth = worth_of(answers[name], Answers.read(runs / name, asked.host, seed, base=True))
    sentence = in_words(name, len(record.settings), asked.by, worth)
    note_choice(runs / name, {"sentence": sentence, **worth})
    for one in record.settings:
        one["state"] = "stopped" if one["state"] in ("paused", "waiting") else one["state"]
    record.values |= {"winner": {"name": name, "run": str(runs / name), "by": asked.by, **worth}, "sentence": sentence}
    replace_file(asked.folder / PAGE, html_page(record.values).encode(), "the page of the sweep")
    record.write(state="finished")


@contextmanager
def _stops_told(record: SweepRecord, folder: Path) -> Iterator[None]:
    """Keep in the record that the sweep was stopped, and end a stop between two parts as one within."""
    try:
        yield
    except StopNow as reached:
        record.write(state="interrupted")
        raise RunInterruptedError(str(folder), 0, reached.reason, 0) from None
    except (RunInterruptedError, KeyboardInterrupt):
        record.write(state="interrupted")
        raise


def _require_comparable(asked: SweepRequest) -> None:
    """Refuse settings that could not be compared, before anything is loaded.

    Raises:
        SpecError: nothing is scored, or the run would choose by rows of the other half itself.
        UnknownNameError: a backend is not registered.
    """
    for setting in asked.settings:
        require_backends(setting.spec, asked.host)
    if world_size() > 1:
        raise SpecError("a sweep runs in one process; start it without torchrun")
    scoring = asked.settings[0].spec.eval
    if not scoring.enabled:
        raise SpecError("a sweep chooses by scores: set eval.enabled=true")
    if scoring.keep_best or scoring.patience:
        raise SpecError(
            "eval.keep_best and eval.patience choose by rows that a sweep keeps apart to say what its choice is worth; leave "
            "them out, and set them when the chosen setting is trained again"
        )


def _announced(asked: SweepRequest) -> str:
    """Return what is ahead, in a sentence: how many settings, bases and preparations."""
    specs = [setting.spec for setting in asked.settings]
    bases = len({(spec.model.model_dump_json(), spec.quant.model_dump_json()) for spec in specs})
    sets = len(
        {
            (spec.data.model_dump_json(), spec.train.max_length, spec.train.packing, spec.model.model_dump_json())
            for spec in specs
        }
    )
    how = "successive halving" if asked.halving else "each to its end"
    counted = [f"{number} {what}{'s' * (number != 1)}" for number, what in ((bases, "base"), (sets, "preparation"))]
    return f"{len(specs)} settings, {how}, chosen by {asked.by}; {counted[0]} to load, {counted[1]} of rows"


def _by_base(settings: Sequence[dict[str, Any]], specs: Mapping[str, Setting]) -> list[dict[str, Any]]:
    """Return settings in order, those with one base next to each other."""
    keys: list[Any] = []

    def place(one: Mapping[str, Any]) -> int:
        spec = specs[one["name"]].spec
        key = spec.model, spec.quant
        if key not in keys:
            keys.append(key)
        return keys.index(key)

    return sorted(settings, key=place)


def _drop(values: dict[str, Any], names: Sequence[str]) -> None:
    for name in names[:-1]:
        values = values.get(name, {})
    values.pop(names[-1], None)
