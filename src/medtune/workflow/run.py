"""A run folder opened for use: its figures, its adapter, scoring it again, talking to it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Self, TextIO

from medtune.data.sources.kinds import with_readers
from medtune.errors import DamagedArtifactError
from medtune.plugins.contracts import Exported, GenerationRequest, Loaded, Message
from medtune.plugins.host import PluginHost, host_of
from medtune.plugins.provenance import missing_of
from medtune.runs.folder import RunFolder
from medtune.runs.lock import cancel_run
from medtune.specs import RunSpec
from medtune.workflow.given_rows import Rows
from medtune.workflow.locked import lock_where
from medtune.workflow.metrics import metrics_of
from medtune.workflow.progress import ProgressChoice, progress_of
from medtune.workflow.settled_tasks import settled
from medtune.workflow.turns import LOADING, one_at_a_time

if TYPE_CHECKING:
    from medtune.runs.verification import Verification
    from medtune.workflow.answering import Answering

__all__ = ["DEFAULT_NEW_TOKENS", "Run"]

DEFAULT_NEW_TOKENS = 512
"""Longest answer in tokens where nobody says how long it may be."""


class Run:
    """A finished or interrupted run, made by ``Run.open`` and ``MedTuner.train``; threads that ask it take turns, by ``turn``."""

    def __init__(
        self, folder: RunFolder, record: Mapping[str, Any], host: PluginHost, base: str | Path | None = None
    ) -> None:
        self._folder, self._record, self._host, self._base = folder, record, host, base
        self.turn = RLock()
        self._loaded: Loaded | None = None
        self._answering: Answering | None = None

    @classmethod
    def open(
        cls, path: str | Path, *, plugins: PluginHost | Sequence[object] = (), base: str | Path | None = None
    ) -> Self:
        """Open a run folder.

        Args:
            path: the folder.
            plugins: a host, or modules and objects to register beside the installed plugins.
            base: folder in which the run's base lies now; it has to be the same by its contents, wherever it was before.

        Raises:
            StorageError: there is no run at ``path``.
            UnsafeArtifactError: its record is damaged.
        """
        folder = RunFolder(path)
        record = folder.read()
        lock_where(record["spec"].get("locked"))  # before a plugin is imported
        host = host_of(plugins, record["spec"].get("plugins"))
        host = (
            host.without(missing) if (missing := missing_of(host, record.get("plan", {}).get("plugins", ()))) else host
        )
        run = cls(folder, record, host, base)
        try:
            run._host = settled(host, run.spec, record.get("preparation", {}).get("tasks", []))
        except (TypeError, KeyError, AttributeError):  # of values that medtune did not write so
            raise DamagedArtifactError(str(path), "run.json", "holds tasks that cannot be read") from None
        return run

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy is made, here or in another process: opened anew by its path, its model not yet loaded."""
        base = None if self._base is None else Path(self._base).absolute()  # the working directory may be another there
        return partial(type(self).open, self.path.absolute(), plugins=self._host, base=base), ()

    @staticmethod
    def cancel(path: str | Path) -> None:
        """Ask whoever trains in a run folder to save and stop; see ``medtune.runs.lock.cancel_run``."""
        cancel_run(path)

    @property
    def host(self) -> PluginHost:
        """The plugins that the run is opened with."""
        return self._host

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def state(self) -> str:
        """One of planned, running, interrupted, finished, failed; running only while a process does."""
        return self._folder.state_by(self._record)

    @cached_property
    def spec(self) -> RunSpec:
        """The spec that the run was made with; its base is where ``open`` was told that it lies."""
        try:
            spec = RunSpec.model_validate(self._record["spec"])
        except ValueError:  # whose words quote what was written there
            raise DamagedArtifactError(str(self.path), "run.json", "holds no spec that can be read") from None
        return spec if self._base is None else spec.model_copy_with(model=spec.model.at(str(self._base)))

    @property
    def adapter_dir(self) -> Path:
        """Folder of the adapter in peft's standard form, with tokenizer and prompt contract."""
        return self._folder.adapter_dir

    @property
    def metrics(self) -> dict[str, Any]:
        """Training figures, and per task the metric, base, tuned and rows: the JSON of ``medtune train``."""
        return metrics_of(self._folder, self._record)

    @property
    @one_at_a_time
    def loaded(self) -> Loaded:
        """Base and trained adapter in memory, once both were checked; see ``opening.open_adapter``."""
        from medtune.workflow.opening import open_adapter

        if self._loaded is None:  # no cached_property: in Python 3.11 its own lock and ours would wait for each other
            with LOADING:
                self._loaded = open_adapter(self._folder, self._record, self.spec, self._host)
        return self._loaded

    @one_at_a_time
    @with_readers
    def evaluate(
        self,
        *,
        baseline: bool = False,
        rows_per_source: int | None = None,
        paraphrases: int = 1,
        rows: Rows | None = None,
        progress: ProgressChoice = "silent",
    ) -> dict[str, Any]:
        """Score the run on its validation rows.

        Args:
            baseline: also score the base without the adapter, and compare.
            rows_per_source: validation rows per source; None as in the run's spec.
            paraphrases: how often the rows are asked, each time with the next of the instructions that their source uses.
            rows: the training rows that the run was given in Python, where it could not keep them.
            progress: whom to tell what begins.

        Returns:
            ``tasks``, ``sources``, and ``without_overlap`` where rows also stand in the training rows; with ``baseline`` also
            ``base`` and ``comparison``; with ``paraphrases`` how each main figure varies; ``set_aside`` counts rows left out.
        """
        from medtune.workflow.evaluating import EvaluationRequest, evaluate_run

        place = self._folder, self._record, self.spec, self._host, self.loaded
        with closing(progress_of(progress)) as told:
            return evaluate_run(EvaluationRequest(*place, told.stage, baseline, rows_per_source, paraphrases, rows))

    @one_at_a_time
    @with_readers
    def baseline(
        self, encoder: str | Path | None = None, *, few_shot: int = 0, simple: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Let other systems answer the validation rows and test the adapter against each; see ``medtune.workflow.baselines``.

        Args:
            encoder: repository or folder of an encoder (BioBERT, PubMedBERT, ...), fine-tuned on the same training rows.
            few_shot: examples before each question to the untuned base; 0 leaves it out.
            simple: whether a dictionary, the commonest answer and drawn answers are scored.
            options: ``settings`` (an ``EncoderSpec``), ``max_length`` (of few-shot prompts), ``price_per_hour``, ``keep``
                (folder for the fine-tuned encoders), ``rows`` (given in Python) and ``on_stage`` (takes sentences).

        Returns:
            ``rows``, ``tuned`` and ``systems``; the same lies in ``evaluation/baselines.json``.
        """
        from medtune.workflow.baselines.baselines import run_baselines
        from medtune.workflow.baselines.request import BaselineRequest

        named = None if encoder is None else str(encoder)
        place = self._folder, self._record, self.spec, self._host, lambda: self.loaded
        return run_baselines(BaselineRequest(*place, named, few_shot, simple=simple, **options))

    @one_at_a_time
    @with_readers
    def audit(self, **options: Any) -> dict[str, Any]:
        """Ask adapter and base what they remember of the training rows; also kept as ``evaluation/audit.json``.

        Options are ``rows_per_source``, ``candidates``, ``rows`` and ``on_stage``; see ``medtune.workflow.audit.request``.
        """
        from medtune.workflow.audit.audit import AuditRequest, run_audit

        place = self._folder, self._record, self.spec, self._host, lambda: self.loaded
        found = run_audit(AuditRequest(*place, **options))
        self._record = self._folder.read()  # the adapter's folder was sealed anew
        return found

    def report(self, *, show_texts: bool | None = None) -> Path:
        """Write ``report.html`` anew from what the run folder holds, and return its path.

        Args:
            show_texts: whether sampled inputs and answers, maybe patients', are shown; None is as ``eval.show_texts`` says.
        """
        from medtune.workflow.reporting import report_run

        return report_run(self._folder, self._record, self._host, seed=self.spec.seed, show_texts=show_texts)

    def verify(self, key: str | Path | None = None) -> "Verification":
        """Hold every file against manifests and record, and with a public ``key`` those against what its owner signed."""
        from medtune.runs.verification import verify_all

        return verify_all(self._folder, key)

    def sign(self, key: str | Path, ask: Callable[[], str] | None = None) -> dict[str, Any]:
        """Sign the run as it is with a private key, once it verifies; ``ask`` is called for the key's passphrase."""
        from medtune.runs.verification import sign_run

        return sign_run(self._folder, Path(key), ask)

    def reproduce(self, out: str | Path | None = None, **options: Any) -> dict[str, Any]:
        """Do the run again in folder ``out`` and say what is equal; see ``medtune.workflow.reproduction.reproduce_run``."""
        from medtune.workflow.reproduction import reproduce_run

        return reproduce_run(self, None if out is None else Path(out), **options)

    @one_at_a_time
    @with_readers
    def export(
        self,
        to: str,
        out: str | Path | None = None,
        *,
        score: bool = False,
        prove: bool = True,
        rows: Rows | None = None,
        progress: ProgressChoice = "silent",
        **options: Any,
    ) -> Exported:
        """Write the tuned model in another form and prove it; see ``medtune.workflow.exporting.export.export_run``.

        Args:
            to: name of an exporter, such as "merged" or "gguf".
            out: folder of the artifact; None is ``export/NAME`` in the run folder.
            score: also score the artifact's answers to the validation rows beside the adapter's.
            prove: load the artifact again and compare; False leaves it marked "unproved".
            rows: the training rows that the run was given in Python, where it could not keep them.
            progress: whom to tell what begins.
            options: of the exporter.
        """
        from medtune.workflow.exporting.export import ExportRequest, export_run

        place = None if out is None else Path(out)
        asked = ExportRequest(
            self._folder, self._record, self.spec, self._host, to, place, options, score=score, prove=prove, rows=rows
        )
        with closing(progress_of(progress)) as told:
            told.stage(f"exporting '{self.path}' as {to}{', and proving it' if prove else ''}")
            return export_run(asked)

    @one_at_a_time
    def harness(
        self,
        tasks: Sequence[str],
        *,
        baseline: bool = False,
        limit: int | None = None,
        chat: bool = False,
        folder: str | Path | None = None,
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Run tasks of lm-evaluation-harness (``run_harness``): ``tuned``, with ``baseline`` also ``base``, figures by task."""
        from medtune.workflow.asked_harness import ask_harness

        place = None if folder is None else str(folder)
        return ask_harness(self.loaded, tasks, baseline=baseline, limit=limit, chat=chat, folder=place)

    @property
    @one_at_a_time
    def answering(self) -> "Answering":
        """How the tuned model is asked, as scoring and serving ask it."""
        from medtune.workflow.answering import Answering

        self._answering = self._answering or Answering(self.loaded, self.spec, self._host)
        return self._answering

    @one_at_a_time
    def generate(self, messages: Sequence[Message], max_new_tokens: int = DEFAULT_NEW_TOKENS) -> str:
        """Answer a conversation greedily with the tuned model; the last message is the user's.

        A conversation without a system turn gets the one that ``data.system`` gives to all rows.
        """
        request = GenerationRequest(self.answering.prompt_ids(messages), max_new_tokens)
        return self.answering.text(self.answering.answer([request])[0])

    def chat(self, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        """Talk with the tuned model, line by line, until the end of the input; the conversation is kept in memory only."""
        from medtune.workflow.chat import chat

        chat(self.generate, source if source is not None else sys.stdin, sink or sys.stdout)
