"""Fine-tunes an encoder with a head for labels by transformers' Trainer, and answers with it; no checkpoint, no pickle."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medtune.backends.encoder_inputs import IGNORED, Inputs, Piece
from medtune.errors import NonFiniteLossError, OutOfMemoryError
from medtune.machine.libraries import quiet_libraries
from medtune.machine.owner_only import make_folder
from medtune.plugins.contracts import EncoderJob, EncoderKind, EncoderResult, EncoderTrainer
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.origin import told_of

__all__ = ["TransformersEncoder", "provide_encoders"]

_UPDATES, _LEAST_EPOCHS, _MOST_EPOCHS = 1500, 3, 10
_LIKELY = 0.5


class TransformersEncoder:
    """Any encoder for which transformers has a head for tokens or for texts, on a CPU or one GPU."""

    name = "transformers"

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("transformers")

    def fit_and_answer(self, job: EncoderJob) -> EncoderResult:
        """Train on the job's rows and answer what it asks.

        Raises:
            BaseUnsuitedError: the encoder cannot be used so.
            BaseDamagedError: its files are damaged, or lack what its body needs.
            NonFiniteLossError: training went astray.
            OutOfMemoryError: a batch does not fit the device.
        """
        import torch

        began = time.perf_counter()
        with quiet_libraries():
            from medtune.backends.encoder_model import load_encoder, usable_length
            from medtune.machine.hardware import local_device, seed_all

            seed_all(job.seed)
            model, tokenizer = load_encoder(job)
            length = usable_length(model, tokenizer, job.spec.max_length)
            inputs = Inputs(tokenizer, job.kind, length, job.spec.overlap)
            try:
                facts = _train(model, job, inputs)
                trained = time.perf_counter()
                found = _answers(model.to(local_device()).eval(), job, inputs)
            except torch.OutOfMemoryError as error:
                raise OutOfMemoryError(
                    f"the encoder '{job.model.label}' does not fit with {job.spec.batch_size} windows of {length} tokens; "
                    "lower batch_size or max_length (--set batch_size=8)"
                ) from error
            if job.keep is not None:
                make_folder(job.keep)
                model.save_pretrained(job.keep)
                tokenizer.save_pretrained(job.keep)
        parameters = sum(p.numel() for p in model.parameters())
        facts |= {"max_length": length, "parameters": parameters, "asked_cut_words": inputs.cut_words}
        facts["asked_in_several_windows"] = inputs.long_rows
        return EncoderResult(found, trained - began, time.perf_counter() - trained, facts)


@hookimpl
def provide_encoders() -> Sequence[EncoderTrainer]:
    """Provide ``transformers``."""
    return [TransformersEncoder()]


def _train(model: Any, job: EncoderJob, inputs: Inputs) -> dict[str, Any]:
    """Train in place and return what was done."""
    from transformers import PrinterCallback, Trainer

    pieces = inputs.pieces(job.rows)
    counted = {"rows": len(job.rows), "windows": len(pieces), "rows_in_several_windows": inputs.long_rows}
    counted["cut_words"] = inputs.cut_words
    inputs.long_rows = inputs.cut_words = 0
    items: Any = [
        {"ids": piece.ids, "labels": inputs.targets(piece, job.rows[piece.row], len(job.labels))} for piece in pieces
    ]
    per_epoch = -(-len(items) // job.spec.batch_size)
    epochs = _epochs(job, per_epoch)
    with tempfile.TemporaryDirectory(prefix="medtune-encoder-") as folder:
        arguments = _arguments(job, folder, epochs, round(job.spec.warmup_ratio * epochs * per_epoch))
        if arguments.n_gpu > 1:  # Trainer would spread the model over all GPUs, and multiply the batch without a word
            arguments._n_gpu = 1  # noqa: SLF001 - as Trainer itself does for a model on one device
        pad = int(model.config.pad_token_id)
        trainer: Any = Trainer(
            model=model, args=arguments, train_dataset=items, data_collator=lambda some: _batch(some, pad, job.kind)
        )
        trainer.remove_callback(PrinterCallback)  # it would print on stdout
        done = trainer.train()
    if not abs(float(done.training_loss)) < float("inf"):  # also of nan
        raise NonFiniteLossError(int(done.global_step), "the encoder's loss")
    return {**counted, "epochs": epochs, "updates": int(done.global_step), "train_loss": float(done.training_loss)}


def _epochs(job: EncoderJob, per_epoch: int) -> float:
    if job.spec.epochs != "auto":
        return job.spec.epochs
    return float(min(_MOST_EPOCHS, max(_LEAST_EPOCHS, -(-_UPDATES // max(per_epoch, 1)))))


def _arguments(job: EncoderJob, folder: str, epochs: float, warmup_steps: int) -> Any:
    """Return Trainer's arguments: nothing saved, nothing pushed, nothing reported."""
    from transformers import TrainingArguments

    from medtune.machine.hardware import describe_machine

    gpu = describe_machine().accelerator
    spec = job.spec
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=warmup_steps,
        weight_decay=spec.weight_decay,
        num_train_epochs=epochs,
        max_grad_norm=1.0,
        optim="adamw_torch",
        bf16=gpu is not None and (spec.precision == "bf16" or (spec.precision == "auto" and gpu.has_bf16)),
        use_cpu=gpu is None,
        dataloader_pin_memory=gpu is not None,
        seed=job.seed,
        data_seed=job.seed,
        remove_unused_columns=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        disable_tqdm=True,
        report_to="none",
        push_to_hub=False,
    )


def _batch(items: Sequence[Mapping[str, Any]], pad: int, kind: EncoderKind) -> dict[str, Any]:
    """Return the tensors [items, tokens] of some pieces, padded on the right, and their labels where they have some."""
    import torch

    width = max(len(item["ids"]) for item in items)
    ids = [[*item["ids"], *[pad] * (width - len(item["ids"]))] for item in items]
    seen = [[1] * len(item["ids"]) + [0] * (width - len(item["ids"])) for item in items]
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(seen)}
    if "labels" in items[0]:
        labels = [list(item["labels"]) for item in items]
        if kind is EncoderKind.TAGS:
            labels = [[*each, *[IGNORED] * (width - len(each))] for each in labels]
        elif kind is EncoderKind.LABEL:
            labels = [each[0] for each in labels]
        batch["labels"] = torch.tensor(labels)
    return batch


def _answers(model: Any, job: EncoderJob, inputs: Inputs) -> list[list[int]]:
    """Return the labels of the asked rows."""
    import torch

    if job.kind is EncoderKind.TAGS:
        tagged = [[0] * len(row.text) for row in job.asked]
        for piece, logits in _logits(model, job, inputs):
            best = logits[list(piece.heads)].argmax(-1).tolist() if piece.heads else []
            tagged[piece.row][piece.first : piece.first + len(best)] = best
        return tagged
    scores: dict[int, list[Any]] = {}
    for piece, logits in _logits(model, job, inputs):
        scores.setdefault(piece.row, []).append(logits)
    return [_chosen(torch.stack(scores[row]), job) for row in range(len(job.asked))]


def _chosen(windows: Any, job: EncoderJob) -> list[int]:
    """Return the labels of a row by the logits [windows, labels]: the most probable over all, or those that one window finds."""
    if job.kind is EncoderKind.LABEL:
        return [int(windows.log_softmax(-1).mean(0).argmax())]
    scores = windows.amax(0)
    best = int(scores.argmax())
    likely: list[int] = (scores.sigmoid() > _LIKELY).nonzero().flatten().tolist()
    return likely or ([] if job.may_be_empty else [best])


def _logits(model: Any, job: EncoderJob, inputs: Inputs) -> Iterator[tuple[Piece, Any]]:
    """Yield each piece of the asked rows with its logits, fp32 [tokens, labels] or [labels]; like lengths together."""
    import torch

    pieces = sorted(inputs.pieces(job.asked), key=lambda piece: len(piece.ids))
    size, pad = 2 * job.spec.batch_size, int(model.config.pad_token_id)
    for start in range(0, len(pieces), size):
        some = pieces[start : start + size]
        batch = _batch([{"ids": piece.ids} for piece in some], pad, job.kind)
        with torch.inference_mode():
            logits = model(**{name: values.to(model.device) for name, values in batch.items()}).logits.float().cpu()
        yield from zip(some, logits, strict=True)
