"""One training run from rows to report: the stages in order, and what each leaves in the run folder."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medtune.data.contract import write_contract
from medtune.data.prepare import Prepared, encoder_of, prepare
from medtune.data.tokenizer import load_tokenizer, save_tokenizer
from medtune.errors import RunInterruptedError, SpecError
from medtune.evaluation.comparison import compare
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import Evaluation, score_predictions
from medtune.export.card import write_card
from medtune.export.report import write_report
from medtune.machine.hardware import first_rank_says, is_first_rank, seed_all, world_size
from medtune.planning.counting import size_of
from medtune.planning.make_plan import make_plan, total_steps
from medtune.plugins.contracts import Adapter, Job, Loaded, Prediction, Quantizer, Trainer, TrainResult
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import Plan
from medtune.runs.changes import refuse_changes
from medtune.runs.durable import require_space
from medtune.runs.folder import RunFolder, State
from medtune.runs.log import RunLog
from medtune.runs.manifest import read_manifest
from medtune.runs.signals import StopNow, StopRequest
from medtune.runs.store import CheckpointStore, PassedOver, bytes_to_keep, publish
from medtune.specs import RunSpec
from medtune.workflow.run import Run
from medtune.workflow.scoring import assess, rows_in_training, score_briefly, scores_table

__all__ = ["Training"]

Tell = Callable[[Any], None]


class Training:
    """The stages of one run; the first rank holds the run's lock around them.

    Args:
        spec: the run as the user wrote it.
        host: the plugins.
        plan: what was decided before the rows were read.
        rows: training rows instead of ``spec.data.source``.
    """

    def __init__(
        self, spec: RunSpec, host: PluginHost, plan: Plan, rows: Iterable[Mapping[str, Any]] | None = None
    ) -> None:
        self.spec, self.host, self.plan, self._rows = spec, host, plan, rows
        self.folder = RunFolder(spec.output_dir)
        self.log = RunLog(self.folder.log_path)
        self._stop = StopRequest(spec.train.max_minutes)
        self._steps_done = 0
        self._passed_over: list[PassedOver] = []

    def run(self, resume: str | Path, on_step: Tell, on_stage: Tell) -> Run:
        """Do what is left of the run, whose lock the caller holds; failures are told to the plugins and kept."""
        self._require_own(resume)
        if first_rank_says(is_first_rank() and self._is_finished(resume)):
            on_stage("this run is finished; nothing to do")
            return Run.open(self.folder.path, plugins=self.host)
        self.host.manager.hook.run_started(spec=self.spec, plan=self.plan)
        try:
            run = self._until_stopped(resume, on_step, on_stage)
        except BaseException as error:
            self._tell_failure(error)
            raise
        self.host.manager.hook.run_finished(run=run)
        return run

    def _until_stopped(self, resume: str | Path, on_step: Tell, on_stage: Tell) -> Run:
        try:
            with self._stop:
                return self._stages(resume, on_step, on_stage)
        except StopNow as stop:
            self._update("interrupted")
            raise RunInterruptedError(str(self.folder.path), self._steps_done, stop.reason) from None

    def _stages(self, resume: str | Path, on_step: Tell, on_stage: Tell) -> Run:
        with self._stop.at_once():
            prepared, checkpoint, loaded, base = self._before_training(resume, on_stage)
        on_stage(f"training for {self.plan.steps} steps")
        result = self._fit(loaded, prepared, checkpoint, on_step)
        if not is_first_rank():
            return Run.open(self.folder.path, plugins=self.host)
        if result.stopped_early:
            on_stage(f"training ended early: {result.stopped_early}")
        on_stage("saving the adapter")
        publish(self.folder.adapter_dir, lambda path: self._write_adapter(path, loaded))
        with self._stop.at_once():
            self._after_training(loaded, prepared, base, result, on_stage)
        return Run.open(self.folder.path, plugins=self.host)

    def _before_training(
        self, resume: str | Path, on_stage: Tell
    ) -> tuple[Prepared, Path | None, Loaded, Evaluation | None]:
        on_stage("reading and encoding the rows")
        tokenizer = load_tokenizer(self.spec.model)
        prepared = prepare(
            self.spec, self.host, tokenizer, rows=self._rows, quarantine_path=self.folder.path / "quarantine.jsonl"
        )
        kept = first_rank_says(self.folder.read()["plan"] if is_first_rank() and self.folder.exists else None)
        self.plan = make_plan(self.spec, self.host, size_of(prepared, self.spec), kept=kept)
        checkpoint = first_rank_says(self._open_record(resume, prepared, tokenizer) if is_first_rank() else None)
        for passed in self._passed_over:
            on_stage(f"passing over checkpoint '{passed.path.name}': {passed.reason}")
        self._require_space(resuming=checkpoint is not None)
        on_stage(f"loading the base model ({self.plan.scheme})")
        loaded = self._load()
        return prepared, checkpoint, loaded, self._score_base(loaded, prepared, on_stage)

    def _after_training(
        self, loaded: Loaded, prepared: Prepared, base: Evaluation | None, result: TrainResult, on_stage: Tell
    ) -> None:
        facts: dict[str, Any] = {"result": {**asdict(result), "tokens_per_second": result.tokens_per_second}}
        if base is not None:
            on_stage("scoring the tuned model")
            facts |= self._score_tuned(loaded, prepared, base)
        record = self.folder.update(**facts, preparation=prepared.report.to_json())
        on_stage("writing the report")
        write_report(self.folder.path, record={**record, "state": "finished"}, log=self.log.read())
        self.folder.update("finished")  # last, so that a run killed before has its report written when it is rerun

    def _is_finished(self, resume: str | Path) -> bool:
        if not self.folder.exists:
            return False
        record = self.folder.read()
        if resume == "never":
            raise SpecError(
                f"'{self.folder.path}' already holds a run ({record['state']}); choose another output_dir, "
                "or continue it with resume=auto"
            )
        if record["state"] == "finished":
            refuse_changes(str(self.folder.path), record, self._spec_values(), record["fingerprints"])
            return True
        return False

    def _require_own(self, resume: str | Path) -> None:
        """Refuse what is no checkpoint of this run: another run's spec and data would not be compared."""
        if resume in ("auto", "never"):
            return
        checkpoint, own = Path(resume), self.folder.checkpoints_dir
        if not (self.folder.exists and checkpoint.is_dir()) or checkpoint.resolve().parent != own.resolve():
            raise SpecError(f"resume '{resume}' is neither auto nor never nor a checkpoint folder in '{own}'")

    def _open_record(self, resume: str | Path, prepared: Prepared, tokenizer: Any) -> Path | None:
        """Create the record, or check that it is still the same run and find where to go on."""
        prints = {
            "data": prepared.rows.fingerprint,
            "prompt_contract": encoder_of(self.spec, tokenizer).fingerprint,
            "model": _model_fingerprint(self.spec),
        }
        if not self.folder.exists:
            self.folder.create(self._spec_values(), self.plan.to_json(), prints)
            return None
        refuse_changes(str(self.folder.path), self.folder.read(), self._spec_values(), prints)
        self.folder.update(plan=self.plan.to_json())
        if resume != "auto":
            return self._chosen(Path(resume))
        store = CheckpointStore(self.folder.checkpoints_dir, self.spec.train.save_total_limit)
        newest, self._passed_over = store.newest_whole()
        self.folder.update(passed_over=[{"path": p.path.name, "reason": p.reason} for p in self._passed_over])
        self._steps_done = newest.step if newest else 0
        self.log.keep_until(self._steps_done)
        return newest.path if newest else None

    def _require_space(self, *, resuming: bool) -> None:
        """Refuse a disk on which the planned checkpoints cannot fit, before hours of scoring and training."""
        if is_first_rank() and self.plan.trainable_parameters is not None:
            kept = self.spec.train.save_total_limit + (self.spec.eval.keep_best is not None)
            require_space(self.folder.path, bytes_to_keep(self.plan.trainable_parameters, kept, resuming=resuming))

    def _chosen(self, checkpoint: Path) -> Path:
        """Return the checkpoint that the user named, once it is one of this run and whole."""
        CheckpointStore.verify(checkpoint)
        self._steps_done = int(read_manifest(checkpoint)["facts"]["step"])
        self.log.keep_until(self._steps_done)
        return checkpoint

    def _load(self) -> Loaded:
        seed_all(self.spec.seed)
        quant = self.plan.settle(self.spec).quant
        quantizer: Quantizer = self.host.find("quantizer", quant.quantizer)
        adapter: Adapter = self.host.find("adapter", self.spec.lora.backend)
        return adapter.attach(quantizer.load(self.spec.model, quant), self.spec.lora)

    def _score_base(self, loaded: Loaded, prepared: Prepared, on_stage: Tell) -> Evaluation | None:
        if not (self.spec.eval.enabled and prepared.validation and is_first_rank()):
            return None
        kept = self.folder.evaluation_dir / "predictions-base.jsonl"
        tasks = self.host.all("task")
        if kept.is_file():  # an interrupted run may have scored it before
            answers = read_predictions(kept, tasks)
            if [a.example.row_id for a in answers] == [e.row_id for e in prepared.validation]:
                return score_predictions(answers, tasks, seed=self.spec.seed, overlapping=prepared.report.overlapping)
        on_stage(f"scoring the base model on {len(prepared.validation)} rows")
        with loaded.base_only():
            return self._assess(loaded, prepared, "base")[0]

    def _score_tuned(self, loaded: Loaded, prepared: Prepared, base: Evaluation) -> dict[str, Any]:
        tuned, answers = self._assess(loaded, prepared, "tuned")
        tasks = self.host.all("task")
        before = read_predictions(self.folder.evaluation_dir / "predictions-base.jsonl", tasks)
        comparison = compare(base, tuned, before, answers, tasks=tasks, seed=self.spec.seed)
        return {"scores": scores_table(base, tuned), "comparison": comparison.to_json()}

    def _assess(self, loaded: Loaded, prepared: Prepared, name: str) -> tuple[Evaluation, list[Prediction]]:
        out = (self.folder.evaluation_dir, name)
        return assess(loaded, prepared.validation, self.spec, self.host, out, prepared.report.overlapping)

    def _fit(self, loaded: Loaded, prepared: Prepared, checkpoint: Path | None, on_step: Tell) -> TrainResult:
        steps = total_steps(self.spec, len(prepared.rows), world_size())
        job = Job(
            spec=self.plan.settle(self.spec),
            loaded=loaded,
            rows=prepared.rows,
            run_dir=self.folder.path,
            total_steps=steps,
            resume_from=checkpoint,
            on_log=lambda record: self._log(record, steps, on_step),
            on_step=lambda step: self._note_step(step, steps, on_step),
            on_evaluate=self._scorer(loaded, prepared, steps, on_step),
            stop_reason=lambda: self._stop.reason,
        )
        self._update("running", error=None)
        seed_all(self.spec.seed)
        trainer: Trainer = self.host.find("trainer", self.spec.train.backend)
        result = trainer.fit(job)
        if result.interrupted:
            self._update("interrupted")
            raise RunInterruptedError(str(self.folder.path), result.steps, result.interrupted)
        return result

    def _scorer(self, loaded: Loaded, prepared: Prepared, steps: int, on_step: Tell) -> Callable[[int], float] | None:
        """Return what scores the adapter during training, None where nothing is to be scored."""
        wanted = self.spec.eval
        if not (wanted.enabled and prepared.validation) or wanted.every == "never":
            return None
        rows = rows_in_training(prepared.validation, self.spec, self.host)

        def score(step: int) -> float:
            found = score_briefly(loaded, rows, self.spec, self.host)
            self._log({"step": step, **found}, steps, on_step)
            return float(
                found["macro"] if wanted.keep_best in (None, "macro") else found["evaluation"][wanted.keep_best]
            )

        return score

    def _note_step(self, step: int, steps: int, on_step: Tell) -> None:
        self._steps_done = step
        on_step({"step": step, "total_steps": steps})

    def _update(self, state: State, **facts: Any) -> None:
        """Change the record, where there is one, from the first rank."""
        if is_first_rank() and self.folder.exists:
            self.folder.update(state, **facts)

    def _log(self, record: Mapping[str, Any], steps: int, on_step: Tell) -> None:
        self.log.append(record)
        self.host.manager.hook.step_logged(record=record)
        if "step" in record:
            on_step({**record, "total_steps": steps})

    def _write_adapter(self, path: Path, loaded: Loaded) -> None:
        if loaded.save_adapter is None:
            loaded.model.save_pretrained(path, safe_serialization=True)
        else:
            loaded.save_adapter(path)
        save_tokenizer(loaded.tokenizer, path)
        write_contract(path, encoder_of(self.spec, loaded.tokenizer))
        write_card(path / "README.md", self.plan.settle(self.spec), self.plan.licences)

    def _tell_failure(self, error: BaseException) -> None:
        """Keep the state and tell the plugins; neither may hide the error itself."""
        try:
            if isinstance(error, KeyboardInterrupt):  # the second Ctrl-C; a checkpoint may be older than the last step
                self._update("interrupted")
            elif not isinstance(error, RunInterruptedError):
                self._update("failed", error={"type": type(error).__name__, "message": str(error)})
            self.host.manager.hook.run_failed(spec=self.spec, error=error)
        except Exception as second:  # noqa: BLE001 - the first error is the one that matters
            error.add_note(f"while this was reported: {type(second).__name__}: {second}")

    def _spec_values(self) -> dict[str, Any]:
        return self.spec.model_dump(mode="json")


def _model_fingerprint(spec: RunSpec) -> str:
    """Identify the base: its commit, or for a folder its config and the names and sizes of its weights."""
    if not spec.model.path:
        return f"{spec.model.name}@{spec.model.revision}"
    folder = Path(spec.model.path)
    weights = sorted((f.name, f.stat().st_size) for f in folder.glob("*.safetensors"))
    config = (folder / "config.json").read_bytes() if (folder / "config.json").is_file() else b""
    return hashlib.sha256(config + json.dumps(weights).encode()).hexdigest()
