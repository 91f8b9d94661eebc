"""One run, whole: all other specs under their names."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from medtune.specs.data import DataSpec
from medtune.specs.model import LoraSpec, ModelSpec, QuantSpec
from medtune.specs.parallel import sharding_refusal
from medtune.specs.tasks import TaskSpec
from medtune.specs.train import EvalSpec, TrainSpec
from medtune.specs.values import Spec, split_commas

__all__ = ["RunSpec"]

Distribution = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][\w.-]*(==[\w.+!-]+)?(@sha256:[0-9a-fA-F]{64})?$")
]
"""A distribution by its name, and by its exact version and the hash of its files where these are given."""


class RunSpec(Spec):
    """One run, whole."""

    model: ModelSpec = ModelSpec()
    """The base model."""
    data: DataSpec = DataSpec()
    """Training and validation rows."""
    quant: QuantSpec = QuantSpec()
    """Storage of the frozen base."""
    lora: LoraSpec = LoraSpec()
    """The adapter."""
    train: TrainSpec = TrainSpec()
    """The optimisation."""
    eval: EvalSpec = EvalSpec()
    """Scoring."""
    tasks: tuple[TaskSpec, ...] = ()
    """What the rows of a source are, one table (``[[tasks]]``) per source; told from the gold answers otherwise."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of the adapter's initialisation, the order of rows, dropout and all sampling."""
    output_dir: str = "adjusted_model"
    """Run folder. Source: the tutorial."""
    plugins: Annotated[tuple[Distribution, ...], BeforeValidator(split_commas)] | None = None
    """Installed distributions whose plugins may load, such as "NAME" or "NAME==VERSION"; None loads all that are installed.

    Others are not even imported, and one that is missing or broken is an error. ``MEDTUNE_PLUGINS`` narrows it further.
    "NAME==VERSION@sha256:HASH" pins its files too; ``medtune plugins list`` tells the hash. "FILE.py@sha256:HASH" pins a file
    that ``--plugin`` names.
    """
    locked: bool = False
    """Whether the process refuses the network, opens local paths only, and loads no plugin that ``plugins`` does not pin by a
    hash. ``MEDTUNE_LOCKED`` and ``--locked`` lock a run whatever is set here; nothing unlocks one."""

    @property
    def rows(self) -> DataSpec:
        """``data`` as rows are read: the documents of a source named as its table in ``tasks`` says."""
        own = {task.source: task.document for task in self.tasks if task.document}
        if not own:
            return self.data
        mix = tuple(member.model_copy_with(document={**member.documents, **own}) for member in self.data.mix)
        return self.data.model_copy_with(document={**self.data.documents, **own}, mix=mix)

    @model_validator(mode="after")
    def _a_source_has_one_task(self) -> Self:
        named = [task.source for task in self.tasks]
        if len(set(named)) < len(named):
            twice = next(name for name in named if named.count(name) > 1)
            raise ValueError(f"tasks names source '{twice}' twice; keep one table for it")
        return self

    @model_validator(mode="after")
    def _kept_weights_were_dequantized(self) -> Self:
        scheme, fast_path = self.quant.scheme, self.train.fast_path
        if self.train.dequantized_weights == "keep" and (scheme not in ("nf4", "fp4") or fast_path == "off"):
            raise ValueError(
                "train.dequantized_weights=keep is for a base in 4 bits on the fast path (quant.scheme nf4 or fp4, "
                f"train.fast_path auto); here they are {scheme} and {fast_path}"
            )
        return self

    @model_validator(mode="after")
    def _a_sharded_base_can_be_sharded(self) -> Self:
        refusal = sharding_refusal(self, self.quant.scheme) if self.train.parallel == "fsdp" else None
        if refusal is not None:
            raise ValueError(refusal)
        return self
