"""What is asked of baselines, and the rows that they share with the run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.data.canaries import is_canary
from medtune.data.encode import Encoder
from medtune.data.prepare import encoder_of, trained_examples
from medtune.errors import DataError, SpecError
from medtune.evaluation.predict import assigned
from medtune.plugins.contracts import Example, Loaded
from medtune.plugins.host import PluginHost
from medtune.runs.folder import RunFolder
from medtune.specs import EncoderSpec, RunSpec
from medtune.workflow.given_rows import rows_again
from medtune.workflow.trained_rows import prepared_again

__all__ = ["BaselineRequest", "SharedRows", "shared_rows"]


@dataclass(frozen=True, slots=True)
class BaselineRequest:
    """What is asked.

    Attributes:
        folder: the run.
        record: its ``run.json``.
        spec: its spec.
        host: its plugins, told what its sources are.
        loaded: returns base and adapter in memory; called only where one of them has to answer.
        encoder: repository (``OWNER/NAME`` or ``OWNER/NAME@COMMIT``) or folder of an encoder.
        few_shot: examples before each question to the untuned base; 0 for none.
        simple: whether the simple systems answer.
        settings: how the encoder is fine-tuned.
        max_length: most tokens of a few-shot prompt with its answer; None is what the base takes, 4,096 at most.
        price_per_hour: of this machine, None where costs are not asked for.
        keep: folder that fine-tuned encoders are written to, one folder in it for each source.
        rows: the training rows that the run was given in Python, where it could not keep them.
        on_stage: called with a sentence when something begins.
    """

    folder: RunFolder
    record: Mapping[str, Any]
    spec: RunSpec
    host: PluginHost
    loaded: Callable[[], Loaded]
    encoder: str | None = None
    few_shot: int = 0
    simple: bool = False
    settings: EncoderSpec = field(default_factory=EncoderSpec)
    max_length: int | None = None
    price_per_hour: float | None = None
    keep: Path | None = None
    rows: Iterable[Mapping[str, Any]] | None = None
    on_stage: Callable[[str], None] = lambda _sentence: None

    def __post_init__(self) -> None:
        if self.encoder is None and not self.few_shot and not self.simple:
            raise SpecError(
                "no baseline is asked for; give an encoder, few_shot or simple (--encoder, --few-shot, --simple)"
            )
        unused = {
            "settings (--set)": self.encoder is None and self.settings != EncoderSpec(),
            "keep (--keep)": self.encoder is None and self.keep is not None,
            "max_length (--max-length)": not self.few_shot and self.max_length is not None,
        }
        for name, is_unused in unused.items():
            if is_unused:
                needs = "few_shot (--few-shot)" if name.startswith("max_length") else "an encoder (--encoder)"
                raise SpecError(f"{name} needs {needs}")


@dataclass(frozen=True, slots=True)
class SharedRows:
    """The rows of a run.

    Attributes:
        trained: what the adapter was trained on, copies included, without the reasoning before answers.
        asked: what is scored, each with its task.
        overlapping: ids of asked rows that stand in the training rows too.
        encoder: by which the run asks its model.
    """

    trained: Sequence[Example]
    asked: Sequence[Example]
    overlapping: Sequence[str]
    encoder: Encoder


def shared_rows(request: BaselineRequest) -> SharedRows:
    """Return the rows that a run was trained on and those that it is scored on, proved to be the same as then.

    Raises:
        DataError: they are no longer the same, or were never known.
    """
    record, spec, host, place = request.record, request.spec, request.host, request.folder.path
    request.on_stage("reading the rows of the run")
    given = rows_again(place, record, request.rows)
    prepared, tokenizer = prepared_again(request.folder, record, spec, host, given)
    encoder = encoder_of(spec, tokenizer)
    tasks = host.all("task")
    asked = [assigned(encoder.placed(example), tasks) for example in prepared.validation]
    if not asked:
        raise DataError(
            f"run '{place}' has no validation rows to score on; set data.validation or data.validation_fraction"
        )
    read = trained_examples(spec, host, prepared.rows, rows=given)
    trained = [assigned(example, tasks) for example in read if not is_canary(example)]
    return SharedRows(trained, asked, prepared.report.overlapping, encoder)
