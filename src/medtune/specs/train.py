"""The optimisation and the scoring, as a user writes them."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medtune.errors import SpecError
from medtune.specs.values import Fraction, Names, Options, Positive, Spec

__all__ = ["EvalSpec", "TrainSpec"]


class TrainSpec(Spec):
    """The optimisation."""

    former_names: ClassVar = {"restored_weights": "dequantized_weights"}

    per_device_batch_size: Positive = 1
    """Packed rows (samples without packing) per forward pass and device. Source: the tutorial."""
    gradient_accumulation_steps: Positive = 4
    """Forward passes per update. Source: the tutorial.

    The rows of an update are ``per_device_batch_size`` times this, for any number of processes, which divide them.
    """
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
    """Share of the steps that ramp up to the peak, where ``warmup_steps`` is None. Source: arXiv 2305.14314."""
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Updates that ramp up to the peak, instead of ``warmup_ratio``; fewer than the run has."""
    min_lr_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the peak that the learning rate falls to at the end, of the schedules "cosine" and "linear". Source:
    transformers' default."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled decay of the adapter. Source: transformers' default."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of AdamW's mean of the gradients. Source: transformers' default."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of AdamW's mean of the squared gradients. Source: transformers' default."""
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """What AdamW adds to the root that it divides by. Source: transformers' default."""
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
    dequantized_weights: Literal["auto", "keep", "each_pass"] = "auto"
    """Weights of a 4-bit base as the fast path multiplies by them: dequantized once and kept, in each pass, or by memory.

    Kept ones lie beside the 4-bit ones, at two bytes a weight in 16 bits. The same numbers, faster.
    """
    fast_path: Literal["auto", "off"] = "auto"
    """Whether medtune's own pass over LoRA models is used where it applies: the same gradients, faster."""
    share_prefixes: bool = True
    """Whether the fast path computes the common prefixes of samples of a micro-batch once.

    Faster where instructions repeat, else as fast. The same gradients, with dropout too.
    """
    reduce_dtype: Literal["fp32", "bf16"] = "fp32"
    """Type in which several processes send each other the gradients of the adapter.

    "bf16" sends half as much and rounds them to 8 bits, so that losses are those of one process only to about 1e-3.
    """
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes share a run: each with the whole base, or its layers sharded over all of them (FSDP2).

    "auto" shards where the base fits these GPUs only so. A sharded base is stored as "none" or "fp8"; the fast path does not
    apply to it.
    """
    report_to: Names = ()
    """Trackers that are told of the run: "tensorboard", "mlflow", "trackio", "wandb", or those of plugins; none by default."""
    backend: str = "trl"
    """Name of the registered trainer."""
    options: Options = Field(default_factory=dict)
    """What this trainer takes besides, by its own names; ``medtune schema`` lists them. medtune's own takes none."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.max_steps is not None and self.num_train_epochs is not None:
            raise ValueError("max_steps and num_train_epochs exclude each other; set one of them")
        return self

    @model_validator(mode="after")
    def _one_warm_up(self) -> Self:
        if self.warmup_steps is None:
            return self
        if self.warmup_ratio != type(self).model_fields["warmup_ratio"].default:
            raise ValueError("warmup_steps and warmup_ratio exclude each other; set one of them")
        if self.lr_scheduler_type == "constant" and self.warmup_steps:
            raise ValueError('the schedule "constant" has no warm-up; set lr_scheduler_type = "constant_with_warmup"')
        return self

    @model_validator(mode="after")
    def _a_minimum_is_of_a_falling_rate(self) -> Self:
        if self.min_lr_rate and self.lr_scheduler_type not in ("cosine", "linear"):
            raise ValueError(
                f'min_lr_rate is for the schedules "cosine" and "linear"; "{self.lr_scheduler_type}" does not fall'
            )
        return self

    def warm_up(self, total: int) -> int:
        """Return the updates that ramp up to the peak in a run of ``total``.

        Raises:
            SpecError: ``warmup_steps`` is not below the total.

        >>> from medtune import TrainSpec
        >>> TrainSpec(warmup_ratio=0.1).warm_up(200), TrainSpec(warmup_steps=5).warm_up(200)
        (20, 5)
        """
        if self.warmup_steps is None:
            steps = round(self.warmup_ratio * total)
            return min(steps, max(total - 1, 0)) if self.min_lr_rate else steps  # else nothing is left to fall in
        if self.warmup_steps and self.warmup_steps >= total:
            raise SpecError(
                f"train.warmup_steps {self.warmup_steps:,} is not below the {total:,} updates of the run, which would never reach its "
                "learning rate; set fewer, or train.warmup_ratio"
            )
        return self.warmup_steps

    @property
    def update_rows(self) -> int:
        """Rows of an update, over all processes."""
        return self.per_device_batch_size * self.gradient_accumulation_steps

    def share(self, processes: int) -> Self:
        """Return what each of some processes does, so that together they take the rows of an update as one would.

        A pass takes as many rows as written, or the most below that divide a process's share.

        Raises:
            SpecError: the rows of an update do not divide; the nearest numbers that do are named.

        >>> from medtune import TrainSpec
        >>> TrainSpec(per_device_batch_size=2, gradient_accumulation_steps=6).share(4).gradient_accumulation_steps
        3
        """
        rows, left = divmod(self.update_rows, processes)
        if left:
            raise SpecError(_indivisible(self, processes))
        most = min(rows, self.per_device_batch_size)
        micro = next(size for size in range(most, 0, -1) if rows % size == 0)
        return self.model_copy_with(per_device_batch_size=micro, gradient_accumulation_steps=rows // micro)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _indivisible(train: TrainSpec, processes: int) -> str:
    rows, micro, times = train.update_rows, train.per_device_batch_size, train.gradient_accumulation_steps
    fewer = max(count for count in range(1, processes) if rows % count == 0)
    more = next((f" or {count}" for count in range(processes + 1, rows + 1) if rows % count == 0), "")
    below = rows // processes * processes
    one_or_many = "process" if fewer == 1 and not more else "processes"
    near = f"{below} or {below + processes}" if below else f"{processes}"
    example = f"train.per_device_batch_size=1 with train.gradient_accumulation_steps={below + processes}"
    return (
        f"an update of {_counted(rows, 'row')} (train.per_device_batch_size {micro} x train.gradient_accumulation_steps {times}) cannot be "
        f"divided among {processes} processes; start {fewer}{more} {one_or_many}, or take updates of {near} rows, such as {example}"
    )


class EvalSpec(Spec):
    """How base and tuned model are scored."""

    former_names: ClassVar = {"closed_answers": "label_likelihood"}

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
    drafts: bool | Literal["auto"] = "auto"
    """Whether answers are drafted and several tokens verified in one pass; they are the same without, up to rounding.

    "auto" drafts on a CPU. On an H200 drafts were slower, unless few sequences are decoded and nearly all of a draft is right.
    """
    constrained: bool = False
    """Whether tagged rows are also answered in their form, each word of the input with a label, and scored beside the free
    answers."""
    label_likelihood: bool = False
    """Whether questions with allowed answers are also answered from those alone, and how calibrated that is."""
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = 0.1
    """Share of the trusted answers that may be wrong, by which the confidence above which to trust one is chosen; None
    measures no confidence."""
    loss: bool = False
    """Whether the mean loss per supervised token of the validation rows is measured too, by training's own loss."""
    every: Literal["never", "epoch"] | Positive = "epoch"
    """When the adapter is scored during training: at the end of each epoch, after that many updates, or never."""
    rows_in_training: Positive = 100
    """Validation rows scored each time during training, evenly by source, drawn with the seed."""
    keep_best: str | None = None
    """Figure by which the best scored checkpoint becomes the adapter: "macro", a task's name, or "loss" (the lowest, where
    ``loss`` is set); None takes the last."""
    patience: Positive | None = None
    """Scores in a row that may be no better than the best (by ``keep_best``, else "macro") before training ends."""
    show_texts: bool = False
    """Whether report.html shows sampled inputs and answers, which may be patients' texts."""
    backend: str = "transformers"
    """Name of the registered generator."""
    options: Options = Field(default_factory=dict)
    """What this generator takes besides, by its own names; ``medtune schema`` lists them. medtune's own take none."""

    def drafts_on(self, device: str) -> bool:
        """Say whether answers are drafted on a device, such as "cuda:0"."""
        return device == "cpu" if self.drafts == "auto" else self.drafts

    @model_validator(mode="after")
    def _scores_for_choices(self) -> Self:
        if (self.keep_best or self.patience) and (self.every == "never" or not self.enabled):
            raise ValueError(
                "keep_best and patience need scores during training: set enabled, and every to epoch or steps"
            )
        if self.keep_best == "loss" and not self.loss:
            raise ValueError('keep_best = "loss" needs the loss of the validation rows: set eval.loss = true')
        return self
