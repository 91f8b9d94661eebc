"""What a user writes: every setting of a run as frozen values, with its unit and where its default comes from."""
# Longer than other files: all settings of a run are read in one place.

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["DataSpec", "EvalSpec", "LoraSpec", "ModelSpec", "QuantSpec", "RunSpec", "SourceSpec", "TrainSpec"]

STARLING = "berkeley-nest/Starling-LM-7B-alpha"
STARLING_REVISION = "1dddf3b95bc1391f6307299eb1c162c194bde9bd"
MEDTUNED = "nlpie/Llama2-MedTuned-Instructions"
MEDTUNED_REVISION = "b4fc72ad5a413b06d81a60dd3ea9a7ebb2708794"


def _split_commas(value: Any) -> Any:
    """Read "a,b" as two names, so that lists need no quotes on a command line."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Positive = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def _drop_foreign_pin(values: Any, name_field: str, pinned_name: str) -> Any:
    """Leave ``revision`` unset for another repository: the default commit belongs to the default one only."""
    if isinstance(values, dict) and values.get(name_field, pinned_name) != pinned_name:
        values = dict(values)
        values.setdefault("revision", None)
    return values


class _Spec(BaseModel):
    """Frozen, closed to unknown keys, described by the docstrings under its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    def model_copy_with(self, **changes: Any) -> Self:
        """Return a validated copy with ``changes`` applied (``model_copy`` would not validate)."""
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **changes})


class ModelSpec(_Spec):
    """The base model, frozen during training."""

    name: str = STARLING
    """Hub repository of the base model. Source: the tutorial."""
    revision: str | None = STARLING_REVISION
    """Commit of the repository; None follows its main branch, which makes a run irreproducible."""
    path: str | None = None
    """Local folder with the same files; when set, nothing is downloaded."""
    attn_implementation: Literal["auto", "sdpa", "eager"] = "auto"
    """Attention of transformers; "auto" is sdpa, which isolates packed samples on CPU and CUDA."""
    system_turns: Literal["fold", "refuse"] = "fold"
    """What to do with a system turn when the chat template has none: put it before the first user turn, or refuse."""

    @model_validator(mode="before")
    @classmethod
    def _unpin_other_models(cls, values: Any) -> Any:
        return _drop_foreign_pin(values, "name", STARLING)


class SourceSpec(_Spec):
    """Rows from one place."""

    source: str
    """Hub data set (owner/name), or a local JSONL, JSON, CSV, Parquet or Arrow file (perhaps .gz or .zst), folder or
    glob."""
    revision: str | None = None
    """Commit of the hub data set; None for a local source."""
    subset: str | None = None
    """Configuration of a hub data set that has several, such as "pqa_labeled" of qiaojin/PubMedQA."""
    split: str = "train"
    """Split to train on, of the hub data set or of a folder whose files are named or grouped by split."""
    formatter: str = "auto"
    """Name of the registered formatter; "auto" chooses by the columns."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Times each row is trained on per epoch: 2 takes every row twice, 0.5 half of them, drawn by the seed."""
    name: str = ""
    """Source given to rows that have none; empty takes the name of the file or repository when several are mixed."""


class DataSpec(SourceSpec):
    """The rows to learn from and the rows to score on."""

    source: str = MEDTUNED
    """Hub data set (owner/name), or a local JSONL, JSON, CSV, Parquet or Arrow file (perhaps .gz or .zst), folder or
    glob."""
    revision: str | None = MEDTUNED_REVISION
    """Commit of the hub data set; None for a local source."""
    mix: tuple[SourceSpec, ...] = ()
    """Further sources to train on, each with its own weight, beside ``source``."""
    streaming: bool = False
    """Whether hub data sets are read while they are downloaded, instead of stored first; files always are."""
    validation: str | None = "validation"
    """Split of ``source``, or local file, folder or glob, to score on; None holds out ``validation_fraction`` of the
    training rows, those of ``mix`` included."""
    validation_fraction: Fraction = 0.02
    """Share of training rows held out, by source, when there is no validation set."""
    limit: Positive | None = None
    """Most rows to train on, drawn evenly by source; None takes all."""
    include_sources: Names = ()
    """Only rows of these sources; empty means all."""
    exclude_sources: Names = ()
    """Never rows of these sources (for example those under a data-use agreement)."""
    overlong: Literal["drop", "truncate_input", "error"] = "drop"
    """What happens to a row longer than ``train.max_length``; answers are never cut."""
    accept_loss: bool = False
    """Whether more than 2 % of a source may be lost to ``max_length``."""
    max_quarantined: Fraction = 0.01
    """Share of malformed rows above which preparation stops."""
    supervise: Literal["last", "all"] = "last"
    """Assistant turns that carry loss: the last one, or every one."""
    drop_overlap: bool = False
    """Whether training rows that also stand in the validation rows are left out."""
    cache: bool = True
    """Whether prepared ids are kept on disk and found again; they spell out the text, readable by their owner only."""

    @model_validator(mode="before")
    @classmethod
    def _unpin_other_sources(cls, values: Any) -> Any:
        values = _drop_foreign_pin(values, "source", MEDTUNED)
        if isinstance(values, dict) and values.get("source", MEDTUNED) != MEDTUNED:
            values.setdefault("validation", None)
        return values


class QuantSpec(_Spec):
    """How the frozen base is stored."""

    scheme: Literal["nf4", "fp4", "int8", "fp8", "none", "auto"] = "nf4"
    """Storage of the linear layers; "auto" is fp8, none or nf4 by memory and hardware, as the plan says. Source: the
    tutorial, arXiv 2305.14314 for NF4."""
    double_quant: bool = True
    """Whether the scales of a 4-bit scheme are quantized too (saves 0.4 bit per parameter). Source: the tutorial."""
    compute_dtype: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Type of the matrix products: "auto" is bf16 where the hardware has it, else fp16, on a CPU fp32."""
    backend: str = "bitsandbytes"
    """Name of the registered quantizer; the default leaves the scheme "fp8" to the quantizer of that name."""

    @property
    def quantizer(self) -> str:
        """Name of the quantizer that loads the base."""
        return "fp8" if (self.scheme, self.backend) == ("fp8", "bitsandbytes") else self.backend


class LoraSpec(_Spec):
    """The trainable adapter, kept in fp32 whatever the base."""

    r: Positive = 8
    """Rank of the update. Source: the tutorial."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale: the update is multiplied by alpha / r (alpha / sqrt(r) with rsLoRA). Source: the tutorial."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Probability of dropping an input of the update. Source: the tutorial."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which bias vectors are trained. Source: the tutorial."""
    target_modules: Literal["all-linear"] | Names = "all-linear"
    """Linear layers that get an adapter, by the end of their names; "all-linear" leaves out the head."""
    use_rslora: bool = False
    """Whether the scale is alpha / sqrt(r) (arXiv 2312.03732)."""
    use_dora: bool = False
    """Whether magnitude and direction are trained apart (arXiv 2402.09353)."""
    init: Literal["default", "gaussian", "pissa", "loftq", "olora", "orthogonal"] = "default"
    """Initialisation that peft offers; all but "default", "gaussian" and "orthogonal" need scheme "none"."""
    backend: str = "peft"
    """Name of the registered adapter."""


class TrainSpec(_Spec):
    """The optimisation."""

    per_device_batch_size: Positive = 1
    """Packed rows (samples without packing) per forward pass and device. Source: the tutorial."""
    gradient_accumulation_steps: Positive = 4
    """Forward passes per update. Source: the tutorial."""
    micro_batch: Literal["auto", "as_written"] = "auto"
    """Whether a GPU takes the rows of an update in other portions than the two fields above say, as many at once as is
    fastest in its memory; their product, the effective batch, stays. The plan says how many."""
    optim: str = "paged_adamw_32bit"
    """Optimizer by transformers' name. Source: the tutorial; on a CPU it is adamw_torch, and on a GPU adamw_torch_fused as
    long as its state takes less than 1 GiB: the same arithmetic."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Peak learning rate. Source: the tutorial."""
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """Shape of the learning rate over the run. Source: the tutorial."""
    warmup_ratio: Fraction = 0.03
    """Share of the steps that ramp up to the peak. Source: arXiv 2305.14314."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled decay of the adapter. Source: transformers' default."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Global gradient norm above which gradients are scaled down. Source: transformers' default."""
    num_train_epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the packed rows; None is 1 unless ``max_steps`` is set. Source: the tutorial (1)."""
    max_steps: Positive | None = None
    """Updates to do instead of epochs; setting both is refused, because one would silently win."""
    max_length: Annotated[int, Field(ge=16)] = 512
    """Tokens per packed row, and the longest sample. Source: the tutorial."""
    packing: bool = True
    """Whether several samples share a row, isolated from each other. Source: the tutorial."""
    logging_steps: Positive = 10
    """Updates between log lines. Source: the tutorial."""
    save_strategy: Literal["epoch", "steps", "no"] = "epoch"
    """When a checkpoint is written. Source: the tutorial."""
    save_steps: Positive = 100
    """Updates between checkpoints when ``save_strategy`` is "steps"."""
    save_total_limit: Positive = 2
    """Checkpoints kept; older ones go after a newer one is whole."""
    save_every_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which a checkpoint is written besides ``save_strategy``; None for never."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which the run saves and stops, to be resumed; None for no limit."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """What to do with an update whose loss or gradient is NaN or infinite: stop, or leave the update out."""
    max_skipped_steps: Positive = 3
    """Updates that "skip" may leave out in the whole run before it stops."""
    on_oom: Literal["stop", "halve"] = "stop"
    """What to do when the device is out of memory: stop with advice, or halve the micro-batch, double accumulation."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Autocast of the trainable part: "auto" is bf16 where the hardware has it, else fp16, on a CPU fp32."""
    recompute: Literal["auto", "none", "selective", "all", "offload"] = "auto"
    """Activations recomputed in the backward pass: none, the widest, all, all with layer inputs kept on the host, or by memory.

    "selective" and "offload" are the fast path's; without it they mean "all".
    """
    restored_weights: Literal["auto", "keep", "each_pass"] = "auto"
    """Weights of a 4-bit base as the fast path multiplies by them: restored once and kept, in each pass, or by memory.

    Kept ones lie beside the 4-bit ones, at two bytes a weight in 16 bits. The same numbers, faster.
    """
    fast_path: Literal["auto", "off"] = "auto"
    """Whether medtune's own pass over LoRA models is used where it applies: the same gradients, faster."""
    share_prefixes: bool = True
    """Whether the fast path computes what samples of a micro-batch have in common at their beginnings once.

    Faster where instructions repeat, else as fast. The same gradients, except that dropout draws one mask for what is shared.
    """
    backend: str = "trl"
    """Name of the registered trainer."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.max_steps is not None and self.num_train_epochs is not None:
            raise ValueError("max_steps and num_train_epochs exclude each other; set one of them")
        return self


class EvalSpec(_Spec):
    """How base and tuned model are scored."""

    enabled: bool = True
    """Whether ``train`` scores the base before and the adapter after training."""
    rows_per_source: Positive = 50
    """Validation rows scored per source, drawn with the seed."""
    batch_size: Positive | Literal["auto"] = "auto"
    """Prompts generated together; "auto" takes as many as pay and fit into memory."""
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    """Most memory in GiB that generation may take beside the loaded model; None is what the device has left.

    During training None is what the peak of training so far leaves (not for "vllm", which loads the base itself).
    """
    max_new_tokens: Positive | Literal["auto"] = "auto"
    """Longest answer in tokens; "auto" takes it from each task and input."""
    closed_answers: bool = False
    """Whether closed questions are also answered from their allowed answers alone, and how calibrated that is."""
    every: Literal["never", "epoch"] | Positive = "epoch"
    """When the adapter is scored during training: at the end of each epoch, after that many updates, or never."""
    rows_in_training: Positive = 100
    """Validation rows scored each time during training, evenly by source, drawn with the seed."""
    keep_best: str | None = None
    """Figure by which the best scored checkpoint becomes the adapter: "macro" or a task's name; None takes the last."""
    patience: Positive | None = None
    """Scores in a row that may be no better than the best (by ``keep_best``, else "macro") before training ends."""
    show_texts: bool = False
    """Whether report.html shows sampled inputs and answers, which may be patients' texts."""
    backend: str = "transformers"
    """Name of the registered generator."""

    @model_validator(mode="after")
    def _scores_for_choices(self) -> Self:
        if (self.keep_best or self.patience) and (self.every == "never" or not self.enabled):
            raise ValueError(
                "keep_best and patience need scores during training: set enabled, and every to epoch or steps"
            )
        return self


class RunSpec(_Spec):
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
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of the adapter's initialisation, the order of rows, dropout and all sampling."""
    output_dir: str = "adjusted_model"
    """Run folder. Source: the tutorial."""

    @model_validator(mode="after")
    def _kept_weights_were_restored(self) -> Self:
        scheme, fast_path = self.quant.scheme, self.train.fast_path
        if self.train.restored_weights == "keep" and (scheme not in ("nf4", "fp4") or fast_path == "off"):
            raise ValueError(
                "train.restored_weights=keep is for a base in 4 bits on the fast path (quant.scheme nf4 or fp4, "
                f"train.fast_path auto); here they are {scheme} and {fast_path}"
            )
        return self
