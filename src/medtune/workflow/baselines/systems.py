"""The systems themselves: an encoder per source, the untuned base with examples in its prompt, and the simple ones."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.errors import RemoteNameError, SpecError
from medtune.errors.locked_mode import is_locked
from medtune.evaluation.baselines.closed_rows import ClosedRows, Split, closed_rows, split_by_form
from medtune.evaluation.baselines.few_shot import draw_shots, with_shots
from medtune.evaluation.baselines.simple import SIMPLE, simple_answers
from medtune.plugins.contracts import Completion, EncoderJob, EncoderTrainer, GenerationRequest, Message, Prediction
from medtune.specs import ModelSpec
from medtune.workflow.answering import Answering
from medtune.workflow.baselines.request import BaselineRequest, SharedRows
from medtune.workflow.scoring import answers_by

__all__ = ["Answered", "answered", "file_name"]

_LONGEST_PROMPT = 4096
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Answered:
    """What one system answered.

    Attributes:
        name: of the system, unique within a run.
        kind: "encoder", "few-shot" or "simple".
        about: what it is, in words.
        predictions: place of an asked row -> its answer; rows that it cannot answer are absent.
        left_out: reason -> rows that it cannot answer.
        training_seconds: wall time of its training, None where it has none worth measuring.
        answering_seconds: wall time of its answers.
        facts: further JSON values.
    """

    name: str
    kind: str
    about: str
    predictions: Mapping[int, Prediction]
    left_out: Mapping[str, int]
    training_seconds: float | None
    answering_seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def answered(request: BaselineRequest, shared: SharedRows) -> Iterator[Answered]:
    """Yield the systems that are asked for, each when it has answered."""
    splits = split_by_form(shared.trained, shared.asked, request.host.all("task"))
    if request.simple:
        request.on_stage("letting the simple systems answer")
        yield from _simple(splits, shared, request.spec.seed)
    if request.encoder is not None:
        yield _encoder(request, shared, splits, request.encoder)
    if request.few_shot:
        yield _few_shot(request, shared)


def file_name(system: str) -> str:
    """Return a system's name as a part of a file's name."""
    return _UNSAFE.sub("-", system).strip("-.")


def _simple(splits: Sequence[Split], shared: SharedRows, seed: int) -> Iterator[Answered]:
    began = time.perf_counter()
    found = simple_answers(splits, seed)
    seconds = (time.perf_counter() - began) / max(len(found), 1)
    for name, answers in found.items():
        texts = {place: Prediction(shared.asked[place], text) for place, text in sorted(answers.texts.items())}
        yield Answered(name, "simple", SIMPLE[name], texts, answers.left_out, None, seconds)


def _encoder(request: BaselineRequest, shared: SharedRows, splits: Sequence[Split], encoder: str) -> Answered:
    model = _model_of(encoder)
    trainer: EncoderTrainer = request.host.find("encoder", request.settings.backend)
    texts: dict[int, Prediction] = {}
    left_out: Counter[str] = Counter()
    training = answering = 0.0
    facts: dict[str, Any] = {"encoder": model.label, "commit": model.commit, "settings": request.settings.model_dump()}
    facts["by_source"] = {}
    for split in splits:
        closed = closed_rows(split)
        if isinstance(closed, str):
            left_out[closed] += len(split.asked)
            continue
        request.on_stage(f"fine-tuning {model.label} on {len(closed.rows):,} rows of '{closed.source}'")
        result = trainer.fit_and_answer(_job(request, model, closed))
        training, answering = training + result.training_seconds, answering + result.answering_seconds
        answers = zip(closed.places, closed.asked, result.labels, strict=True)
        texts |= {place: Prediction(shared.asked[place], closed.answer(row, found)) for place, row, found in answers}
        facts["by_source"][f"{closed.source} {split.form}"] = {**result.facts, "labels": len(closed.labels)}
    if not texts:
        reasons = "; ".join(f"{rows:,} {reason}" for reason, rows in left_out.items())
        raise SpecError(f"no row can be answered by an encoder ({reasons}); use --few-shot or --simple")
    about = f"{model.label}, fine-tuned on the same training rows, one for each source"
    name = f"encoder:{Path(encoder).name or model.label}"
    return Answered(name, "encoder", about, dict(sorted(texts.items())), left_out, training, answering, facts)


def _model_of(encoder: str) -> ModelSpec:
    folder = Path(encoder).expanduser()
    if folder.is_dir():
        return ModelSpec(path=str(folder))
    if encoder.startswith(("/", ".", "~")):
        raise SpecError(f"encoder '{encoder}' is no folder")
    name, _at, commit = encoder.partition("@")
    if is_locked():
        raise RemoteNameError(f"encoder '{name}' is a repository of the hub", "name the folder that holds it")
    return ModelSpec(name=name, revision=commit or None)


def _job(request: BaselineRequest, model: ModelSpec, closed: ClosedRows) -> EncoderJob:
    keep = None if request.keep is None else request.keep / (file_name(f"{closed.source}-{closed.task}") or "rows")
    return EncoderJob(
        model=model,
        spec=request.settings,
        kind=closed.kind,
        labels=closed.labels,
        rows=closed.rows,
        asked=closed.asked,
        seed=request.spec.seed,
        may_be_empty=bool(closed.empty),
        keep=keep,
    )


def _few_shot(request: BaselineRequest, shared: SharedRows) -> Answered:
    loaded, spec = request.loaded(), request.spec
    answering = Answering(loaded, spec, request.host)
    shots = draw_shots(shared.trained, shared.asked, request.few_shot, spec.seed)
    request.on_stage(f"letting the base answer {len(shared.asked):,} rows with {request.few_shot} examples each")
    room = request.max_length or _context(loaded.model)
    given: list[int] = []

    def generate(requests: Sequence[GenerationRequest]) -> Sequence[Completion]:
        prompts: list[GenerationRequest] = []
        for example, plain in zip(shared.asked, requests, strict=True):

            def fits(messages: Sequence[Message], most: int = plain.max_new_tokens) -> bool:
                return len(answering.encoder.prompt_ids(messages)) + most <= room

            messages, count = with_shots(example.messages[:-1], shots.get(example.source, ()), fits)
            given.append(count)
            ids = answering.encoder.prompt_ids(messages) if count else plain.input_ids
            prompts.append(GenerationRequest(ids, plain.max_new_tokens))
        return answering.answer(prompts)

    began = time.perf_counter()
    with loaded.base_only():
        found = answers_by(generate, answering.encoder, shared.asked, spec, request.host)
    seconds = time.perf_counter() - began
    facts = {
        "examples": request.few_shot,
        "max_length": room,
        "mean_examples": sum(given) / len(given),
        "rows_with_fewer": sum(count < request.few_shot for count in given),
        "row_ids": {source: [example.row_id for example in some] for source, some in shots.items()},
    }
    about = f"the untuned base with {request.few_shot} training rows of the same source in its prompt"
    name = f"few-shot:{request.few_shot}"
    return Answered(name, "few-shot", about, dict(enumerate(found)), {}, None, seconds, facts)


def _context(model: Any) -> int:
    """Return how many tokens the base takes, 4,096 at most: more would cost more than examples are worth."""
    config: Any = model.config.get_text_config()
    return min(_LONGEST_PROMPT, int(getattr(config, "max_position_embeddings", None) or _LONGEST_PROMPT))
