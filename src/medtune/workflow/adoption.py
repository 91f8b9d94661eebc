"""Makes a run of an adapter that was trained elsewhere: proved on its base, scored beside it, and kept as any run is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.base.folder import BaseFolder, folder_of
from medtune.data.base.inspection import inspect_base
from medtune.data.outside.trial import try_patterns
from medtune.data.prepare import encoder_of, validation_examples
from medtune.data.sources.kinds import reading_with
from medtune.data.tokenizer import load_tokenizer, splitting
from medtune.errors import SpecError, StorageError, UnsafeAdapterError
from medtune.evaluation.comparison import compare
from medtune.evaluation.source_survey import survey
from medtune.export.report import write_report
from medtune.machine.owner_only import make_folder, write_text
from medtune.planning.make_plan import make_plan
from medtune.plugins.contracts import Example
from medtune.plugins.host import PluginHost, host_of
from medtune.runs.adapter_files import CONFIG, read_json
from medtune.runs.base_fingerprint import base_fingerprint
from medtune.runs.durable import attempt
from medtune.runs.folder import RunFolder
from medtune.runs.foreign_adapter import ForeignAdapter, read_foreign, write_own
from medtune.runs.lock import RunLock
from medtune.runs.record.recording import Recording
from medtune.specs import ModelSpec, RunSpec
from medtune.specs.bounded import BoundsError, bounded_text, json_file
from medtune.workflow.base_identity import identity_of
from medtune.workflow.kept_adapter import keep_adapter, write_beside
from medtune.workflow.kept_answers import AnswerFiles, questions_of
from medtune.workflow.locked import begin, record_of
from medtune.workflow.run import Run
from medtune.workflow.run_record import (
    begin_record,
    keeps_record,
    made_with,
    run_id_of,
    training_recorded,
    training_scope,
)
from medtune.workflow.saved_adapter import probe
from medtune.workflow.scoring import assess, scores_table
from medtune.workflow.settled_tasks import settled
from medtune.workflow.stages.fetch import fetch, pin
from medtune.workflow.state import RunRequest, failure
from medtune.workflow.validation_rows import scorable

__all__ = ["adopt"]

_TEMPLATE = "chat_template.jinja"
_LONGEST_TEMPLATE = 2**20  # bytes
_ANOTHER = "adopt an adapter of this base, or name the base that it was trained on"


def adopt(
    adapter: str | Path,
    spec: RunSpec,
    *,
    plugins: PluginHost | Sequence[object] = (),
    on_stage: Callable[[str], None] | None = None,
) -> Run:
    """Make a run of an adapter that was trained elsewhere: base and adapter are scored on the same rows, as any run's are.

    Args:
        adapter: folder of a LoRA adapter that peft, or a trainer built on it, saved as safetensors.
        spec: base, validation rows, storage of the base and ``output_dir``; what it says of the adapter is replaced by what
            the adapter's files say, and nothing is trained.
        plugins: a plugin host, or plugin objects to use besides the installed ones.
        on_stage: called with a sentence when something begins.

    Returns:
        The finished run; its record says under ``adopted`` what the adapter's files tell of its training.

    Raises:
        SpecError: there is a run in the folder already.
        StorageError: there is no such folder, or no weights of the base here.
        UnsafeAdapterError: the adapter cannot be used on this base, or changes nothing there.
        DataError: there is no row to score on.
    """
    begin(spec)
    host = host_of(plugins, spec.plugins).require(spec.plugins)
    with reading_with(host), RunLock(Path(spec.output_dir)):
        if RunFolder(spec.output_dir).exists:
            raise SpecError(f"'{spec.output_dir}' already holds a run; choose another output_dir")
        asked = RunRequest(spec, host, make_plan(spec, host), run_id=run_id_of(RunFolder(spec.output_dir)))
        record = Recording(Path(spec.output_dir), "adopt", (*training_scope(asked), _TEMPLATE))
        asked = replace(asked, record=record)
        with training_recorded(asked):
            return _adopted(asked if on_stage is None else replace(asked, on_stage=on_stage), Path(adapter))


def _adopted(asked: RunRequest, adapter: Path) -> Run:
    if asked.spec.data.canaries.count:
        raise SpecError(
            "data.canaries plants secrets among the rows of a training, and an adopted adapter is trained already; leave it out"
        )
    asked.folder.require_free()
    if not adapter.is_dir():
        raise StorageError(f"'{adapter}' is no folder; name the one that holds adapter_config.json")
    asked = fetch(pin(asked))
    layers = _layers_of(asked.spec.model)
    _require_bounded_patterns(adapter, layers)
    foreign = read_foreign(adapter, layers)
    asked = replace(asked, spec=_described(asked, foreign))
    inspect_base(asked.spec, loading=True)
    examples = validation_examples(asked.spec, asked.host)
    told = [contract.to_json() for contract in survey(examples, asked.spec.tasks).members]
    asked = replace(asked, host=settled(asked.host, asked.spec, told))
    tokenizer = load_tokenizer(asked.spec.model)
    _open_record(asked, foreign, examples, tokenizer)
    asked.folder.update(preparation={"tasks": told}, locked=record_of({}))
    try:
        _take(asked, foreign, tokenizer)
        run = Run.open(asked.folder.path, plugins=asked.host)
        asked.on_stage("loading the base model and the adapter")
        _require_effect(run, adapter)
        _score(asked, run, examples)
    except BaseException as error:
        asked.note("failed", error=failure(error))
        raise
    return Run.open(asked.folder.path, plugins=asked.host)


def _layers_of(model: ModelSpec) -> frozenset[str]:
    """Return the names of the base's layers that have weights, from the headers of its files."""
    folder = folder_of(model)
    tensors = {} if folder is None else BaseFolder(folder).tensors
    if not tensors:
        raise StorageError(f"base '{model.label}' has no safetensors weights here to compare the adapter's layers with")
    return frozenset(name.removesuffix(".weight") for name in tensors if name.endswith(".weight"))


def _described(asked: RunRequest, foreign: ForeignAdapter) -> RunSpec:
    """Return the spec with the adapter's own settings, and with the template that lies beside it."""
    spec, own = asked.spec, load_tokenizer(asked.spec.model)
    if (foreign.folder / "tokenizer.json").is_file():
        beside = load_tokenizer(ModelSpec(path=str(foreign.folder)))
        if splitting(beside) != splitting(own):
            raise UnsafeAdapterError(
                str(foreign.folder),
                "tokenizer",
                "the tokenizer beside it splits texts in another way than the base's",
                _ANOTHER,
            )
    text = _template_of(foreign.folder)
    if text and text != own.chat_template and spec.model.chat_template is None:
        asked.on_stage("prompts follow the chat template that lies beside the adapter, which is not the base's")
        attempt(lambda: make_folder(asked.folder.path), "the run folder", asked.folder.path)
        write_text(asked.folder.path / _TEMPLATE, text)
        model = spec.model.model_copy_with(chat_template=str((asked.folder.path / _TEMPLATE).resolve()))
        spec = spec.model_copy_with(model=model)
    said = foreign.told.get("base_model_name_or_path")
    if said and said not in (spec.model.name, spec.model.path):
        asked.on_stage(f"the adapter's files call its base '{said}'; here it is put on '{spec.model.label}'")
    for what, key in (("pickles, which are not read", "not_read"), ("left aside", "left_aside")):
        if foreign.told.get(key):
            asked.on_stage(f"beside the adapter, {what}: {', '.join(foreign.told[key])}")
    return spec.model_copy_with(lora=foreign.lora)


def _template_of(folder: Path) -> str:
    """Return the chat template that lies in a folder, as a file or in its tokenizer's settings; empty without one."""
    if (folder / _TEMPLATE).is_file():
        return _bounded_template(folder / _TEMPLATE)
    try:
        found = json_file(folder / "tokenizer_config.json", finite=False).get("chat_template")
    except (OSError, ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""


def _bounded_template(file: Path) -> str:
    try:
        return bounded_text(file, _LONGEST_TEMPLATE)
    except BoundsError as error:
        raise UnsafeAdapterError(str(file.parent), "template", f"'{file.name}' {error}", _ANOTHER) from None


def _require_bounded_patterns(adapter: Path, layers: frozenset[str]) -> None:
    """Try the patterns of layers that a configuration holds, each as peft puts it together, before peft matches them here."""
    if not (adapter / CONFIG).is_file():
        return
    config = read_json(adapter, CONFIG)
    whole = [config[key] for key in ("target_modules", "exclude_modules") if isinstance(config.get(key), str)]
    given = config.get("layers_pattern") or []
    inner = [each for each in ([given] if isinstance(given, str) else given) if isinstance(each, str)]
    patterns = [*whole, *(rf".*\.[^.]*\.{each}\.(\d+)\." for each in inner)]
    try_patterns(patterns, sorted(layers), "adapter", str(adapter))


def _open_record(asked: RunRequest, foreign: ForeignAdapter, examples: list[Example], tokenizer: Any) -> None:
    spec, folder = asked.spec, asked.folder
    encoder = encoder_of(spec, tokenizer)
    prints = {"prompt_contract": encoder.fingerprint, "model": base_fingerprint(spec.model)}
    begin_record(asked)
    folder.create(asked.spec_values, asked.plan.to_json(), prints)
    folder.update(None, run_id=asked.run_id, **keeps_record(asked))
    folder.update(base=identity_of(spec.model), given_rows=None, adopted=dict(foreign.told))
    folder.update(scored=questions_of(spec, examples))
    if asked.pins is not None:
        folder.update(commits=list(asked.pins))
    asked.keep("run.json", facts=made_with(folder.read()))


def _take(asked: RunRequest, foreign: ForeignAdapter, tokenizer: Any) -> None:
    """Write the adapter as a run keeps its own."""

    def write(path: Path) -> None:
        write_own(foreign, path, asked.spec.model)
        write_beside(path, asked, asked.plan, tokenizer, foreign.told)

    asked.on_stage("taking the adapter into the run folder")
    keep_adapter(asked, write)


def _require_effect(run: Run, adapter: Path) -> None:
    """Refuse an adapter with which the base answers as without it, or with values that are no numbers."""
    loaded = run.loaded
    tuned = probe(loaded)
    with loaded.base_only():
        alone = probe(loaded)
    if not tuned.isfinite().all():
        raise UnsafeAdapterError(str(adapter), "effect", "with it the base's logits are not finite", _ANOTHER)
    if not (tuned - alone).abs().max() > 0:
        raise UnsafeAdapterError(
            str(adapter),
            "effect",
            "with it the base answers as without it: it was never trained, or lost its values",
            _ANOTHER,
        )


def _score(asked: RunRequest, run: Run, examples: list[Example]) -> None:
    """Score the base and the adapter on the same rows, write the report, and finish the record."""
    spec, host, folder = asked.spec, asked.host, asked.folder
    tasks, loaded = host.all("task"), run.loaded
    kept = scorable(examples, spec, loaded, host)
    asked.on_stage(f"scoring the base model on {len(kept)} rows")
    with loaded.base_only():
        base, before = assess(loaded, kept, spec, host, AnswerFiles(folder.evaluation_dir, "base"))
    asked.on_stage("scoring the adapter")
    tuned, answers = assess(loaded, kept, spec, host, AnswerFiles(folder.evaluation_dir, "tuned"))
    found: dict[str, Any] = {
        "scores": scores_table(base, tuned),
        "comparison": compare(base, tuned, before, answers, tasks=tasks, seed=spec.seed).to_json(),
    }
    record = folder.update(**found)
    asked.on_stage("writing the report")
    write_report(folder.path, record={**record, "state": "finished"}, log=[])
    folder.update("finished")
