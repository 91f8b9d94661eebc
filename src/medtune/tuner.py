"""MedTuner: composes a spec with plugins, and plans, previews and trains it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from medtune.data.base.inspection import inspect_base
from medtune.data.sources.kinds import with_readers
from medtune.errors import UnknownKeyError
from medtune.planning.cluster import Cluster
from medtune.planning.make_plan import make_plan, planned_machine
from medtune.planning.outlook import with_room
from medtune.planning.preflight import pre_flight
from medtune.plugins.contracts import EncodedExample, StepRecord
from medtune.plugins.host import PluginHost, host_of, listed_in
from medtune.plugins.inline_formatter import InlineFormatter
from medtune.plugins.plan import Plan
from medtune.plugins.trackers import require_trackers
from medtune.specfile import (
    apply_overrides,
    merge,
    override_values,
    read_spec_file,
    stated_lock,
    stated_plugins,
    validate_spec,
)
from medtune.specs import RunSpec
from medtune.workflow.locked import begin, lock_where
from medtune.workflow.options import LaunchOptions, Overrides, Rows, SweepOptions, TrainOptions
from medtune.workflow.run import Run
from medtune.workflow.session import Session
from medtune.workflow.sweep.settings import Grid

if TYPE_CHECKING:
    from medtune.data.hub.download import Progress
    from medtune.data.preview import Preview
    from medtune.workflow.launch.launching import Launched
    from medtune.workflow.sweep.sweep import Sweep

__all__ = ["DEFAULT_BUNDLE", "MedTuner"]

DEFAULT_BUNDLE = "starling-medtuned"


class MedTuner:
    """Fine-tunes one adapter as a spec says.

    Args:
        spec: the whole run.
        plugins: a host, or modules and objects to register beside the installed plugins.
        rows: training rows as mappings or a ``datasets`` object, instead of ``spec.data.source``.

    >>> from medtune import MedTuner, LoraSpec
    >>> MedTuner.from_defaults(lora=LoraSpec(r=16)).spec.lora.r
    16
    """

    def __init__(self, spec: RunSpec, *, plugins: PluginHost | Sequence[object] = (), rows: Rows | None = None) -> None:
        self.spec = spec
        self._plugins = plugins
        self._rows = rows
        self._host: PluginHost | None = None

    @classmethod
    def from_defaults(cls, **overrides: Unpack[Overrides]) -> Self:
        """Start from the default bundle; see ``from_bundle`` for the overrides."""
        return cls.from_bundle(DEFAULT_BUNDLE, **overrides)

    @classmethod
    def from_bundle(cls, name: str, **overrides: Unpack[Overrides]) -> Self:
        """Start from a registered bundle and swap parts of it.

        Args:
            name: a registered bundle.
            overrides: see ``Overrides``; a mapping changes the fields that it names, a spec replaces its part.

        Raises:
            UnknownNameError: no such bundle.
            UnknownKeyError: an override is no part of a spec.
            SpecError: one has a wrong value.
        """
        if unknown := overrides.keys() - Overrides.__annotations__.keys():
            raise UnknownKeyError(min(unknown), "the overrides of a bundle", Overrides.__annotations__)
        above: dict[str, Any] = {**overrides}
        lock_where(above.get("locked"))
        allowed, host = listed_in(above.pop("plugins", ()))
        above |= {} if allowed is None else {"plugins": allowed}
        values = host.find("bundle", name).spec.model_dump(mode="json", exclude_unset=True)
        return cls._from_values(values, host, above)

    @classmethod
    def from_file(
        cls, path: str | Path, overrides: Iterable[str] = (), *, plugins: PluginHost | Sequence[object] = ()
    ) -> Self:
        """Read a TOML, YAML or JSON spec; ``overrides`` are strings such as ``"lora.r=32"``.

        A top-level ``bundle = "NAME"`` starts from that bundle instead of the fields' defaults.
        """
        values = read_spec_file(path)
        lock_where(stated_lock(values, overrides, path))  # before a plugin is imported
        host = host_of(plugins, stated_plugins(values, overrides, path))
        bundle = values.pop("bundle", None)
        if bundle is not None:
            below = host.find("bundle", str(bundle)).spec.model_dump(mode="json", exclude_unset=True)
            validate_spec(values, path)  # so that a mistake is reported with its line
            values = merge(below, values)
        validate_spec(values, path)
        return cls(validate_spec(apply_overrides(values, overrides)), plugins=host)

    @classmethod
    def _from_values(cls, values: dict[str, Any], host: PluginHost, overrides: dict[str, Any]) -> Self:
        rows = None
        formatter = overrides.pop("formatter", None)
        for part, value in overrides.items():
            above, part_rows = override_values(part, value)
            rows = rows if part_rows is None else part_rows
            if hasattr(value, "model_dump"):
                values.pop(part, None)
            values = merge(values, {part: above})
        if isinstance(formatter, str):
            values = merge(values, {"data": {"formatter": formatter}})
        elif formatter is not None:
            host = host.extended(InlineFormatter(formatter))
            values = merge(values, {"data": {"formatter": formatter.name}})
        return cls(validate_spec(values), plugins=host, rows=rows)

    @property
    def host(self) -> PluginHost:
        """The plugins in use, found on first access."""
        if self._host is None:
            begin(self.spec)
            self._host = host_of(self._plugins, self.spec.plugins).require(self.spec.plugins)
        return self._host

    @with_readers
    def check(self) -> tuple[str, ...]:
        """Check what needs no machine learning library, and return sentences on settings that hardly anybody means.

        That is: names of backends, optimizer, trackers and figures, the adapter's settings, local paths, a local base's JSON files,
        what is known of the base's layers and positions. See ``medtune.planning.preflight`` for the errors, all of them before a
        base is loaded.

        Raises:
            SpecError, DataError, StorageError, BaseDamagedError, PluginError: a run could not be done as asked.
        """
        return pre_flight(self.spec, self.host, has_rows=self._rows is not None)

    @with_readers
    def plan(
        self, gpu: str | None = None, *, prove: bool = False, gpus: int = 1, nodes: int = 1, net: str | None = None
    ) -> Plan:
        """Decide how the run is done and whether it fits; downloads nothing and loads no weights, unless it is to prove.

        Rows are counted where they and the tokenizer are on this machine and that is quick, or was done before.

        Args:
            gpu: plan for this GPU instead of this machine: a known GPU such as "h200", or a size such as "24GiB".
            prove: whether to load the base, whose weights must be here, and prove its loss on the first micro-batch, as
                training does at its start; rows are fetched and prepared for that as for training.
            gpus: in each machine; with several, memory, micro-batch and path of the plan are those of each process.
            nodes: machines.
            net: between them, such as "25GbE".

        Raises:
            DataError: the rows cannot be used as asked.
            SpecError: the GPU is not known, nothing can be proved here, or an update cannot be divided among so many GPUs.
            UnprovenBaseError: no way of computing the loss is right.
        """
        from medtune.planning.counting import count_rows
        from medtune.workflow.row_checks import RowChecks

        require_trackers(self.spec.train.report_to, self.host)
        machine = planned_machine(gpu)
        inspect_base(self.spec)  # before its tokenizer is loaded to count rows
        rows = count_rows(self.spec, self.host, self._rows, RowChecks(self.host.all("task"), self.spec))
        plan = make_plan(self.spec, self.host, rows, machine, cluster=Cluster(gpus, nodes, net).of_several)
        plan = with_room(plan, self.spec) if machine is None else plan
        if not prove:
            return plan
        from medtune.workflow.planned_proof import prove_plan

        return prove_plan(self._pinned(), self.host, plan, machine, self._rows)

    @with_readers
    def preview(self, n: int = 3) -> list[EncodedExample]:
        """Return ``n`` training rows, drawn evenly by source, as the exact ids and supervision the trainer will see."""
        from medtune.data.prepare import preview
        from medtune.data.tokenizer import load_tokenizer

        spec = self._pinned()
        return preview(spec, self.host, load_tokenizer(spec.model), n, rows=self._rows)

    @with_readers
    def inspect(self, n: int = 3, *, leak_test: bool = False) -> "Preview":
        """Return ``n`` rows with their tokens' text, and the report over all training rows (which it prepares).

        Args:
            n: rows, drawn evenly by source.
            leak_test: whether to show that samples that share a row do not see each other.

        Raises:
            DataError: the rows cannot be used as asked, or the leak test finds a leak.
        """
        from medtune.data.prepare import prepare, preview
        from medtune.data.preview import Preview, token_texts
        from medtune.data.tokenizer import load_tokenizer
        from medtune.workflow.leak_test import prove_isolation
        from medtune.workflow.row_checks import RowChecks

        spec = self._pinned()
        inspect_base(spec)  # as a plan does, so that both refuse the same
        tokenizer = load_tokenizer(spec.model)
        checker = RowChecks(self.host.all("task"), self.spec)
        prepared = prepare(spec, self.host, tokenizer, rows=self._rows, checker=checker)
        isolation = prove_isolation(spec, self.host, tokenizer, prepared.rows).to_json() if leak_test else None
        rows = preview(spec, self.host, tokenizer, n, rows=self._rows)
        tokens = [token_texts(tokenizer, row.input_ids) for row in rows]
        return Preview(rows, tokens, prepared.report, isolation)

    def _pinned(self) -> RunSpec:
        """Return the spec with a commit in the place of every branch and tag, which is said in medtune's log."""
        import logging

        from medtune.data.hub.download import Listener
        from medtune.data.hub.pins import pinned

        begin(self.spec)
        listener = Listener(logging.getLogger("medtune").warning)
        return pinned(self.spec, listener, has_rows=self._rows is not None)[0]

    @with_readers
    def train(
        self,
        resume: str | Path = "auto",
        on_step: Callable[[StepRecord], None] | None = None,
        on_stage: Callable[[str], None] | None = None,
        on_plan: Callable[[Plan], None] | None = None,
        on_download: Callable[["Progress"], None] | None = None,
        **options: Unpack[TrainOptions],
    ) -> Run:
        """Score the base, train the adapter, score it again, and leave everything in ``spec.output_dir``.

        What it sets for the whole process (seeds, threads, warning filters) is put back at the end, and a process trains one
        run at a time. It may be called from any thread; signals are taken in the main thread only.

        Args:
            resume: "auto" continues an interrupted run in ``output_dir``, "never" refuses to, a path names a checkpoint.
            on_step: called after every update with ``step`` and ``total_steps``, and with the record when one is logged.
            on_stage: called with a sentence when a stage begins.
            on_plan: called with the plan, before it is refused or followed; again when the model's own configuration,
                once fetched, leads to another. What does not fit by a bundle's statement alone is told after that.
            on_download: called with how far a download is, up to ten times a second.
            options: see ``TrainOptions``.

        Returns:
            The finished run.

        Raises:
            ProcessBusyError: this process trains another run.
            RunLockedError: another process writes to ``spec.output_dir``; told before anything heavy is loaded.
            RunInterruptedError: it was cancelled or stopped, and saved; the same call goes on with it.
            OutOfMemoryError: the plan says that it cannot be done here.
            DataError: the rows cannot be used as asked.
        """
        if unknown := options.keys() - TrainOptions.__annotations__.keys():
            raise UnknownKeyError(min(unknown), "train()", TrainOptions.__annotations__)
        listeners = {"on_step": on_step, "on_stage": on_stage, "on_plan": on_plan, "on_download": on_download}
        return Session(self.spec, self.host, self._rows, resume, listeners, **options).train()

    def launch(self, engine: str, out: str | Path = "launch", **options: Unpack[LaunchOptions]) -> "Launched":
        """Write into folder ``out`` what starts the run by ``engine``: torchrun, slurm, kubernetes, skypilot or ray.

        See ``LaunchOptions``, and ``medtune.workflow.launch.launching`` for what is written.
        """
        from medtune.workflow.launch.asking import launch_run

        return launch_run(engine, Path(out), self.spec, self.plan, options, has_rows=self._rows is not None)

    @with_readers
    def sweep(self, grid: Grid, out: str | Path | None = None, **options: Unpack[SweepOptions]) -> "Sweep":
        """Try settings on one loaded base, each in a run folder of its own, and choose one; see ``medtune.workflow.sweep``.

        Args:
            grid: dotted field -> the values to try, or a range such as "1e-5..1e-3" to draw from.
            out: folder of the sweep; None is ``spec.output_dir`` with "-sweep" behind it.
            options: see ``SweepOptions``. The finished sweep has the chosen run as ``winner``.

        Raises:
            SpecError: a field cannot be tried, or ``out`` holds another sweep.
            RunInterruptedError: it was stopped; the same call goes on.
        """
        from medtune.workflow.sweep.begin import begin_sweep

        return begin_sweep(self.spec, self.host, grid, out, self._rows, **options)
