"""trl and unsloth in the comparison, called as their users call them. Imported after unsloth, which patches trl."""

from importlib import import_module
from tempfile import TemporaryDirectory

import torch
from contest import (
    DISCARDED,
    IGNORED,
    LORA,
    OPTIMIZER,
    RATE,
    SEVEN,
    Clock,
    figures,
    fill_adapters,
    make_batches,
    rows_in_order,
)
from datasets import Dataset
from peft import LoraConfig, PeftModel
from starling_shape import CUDA
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Trl:
    """trl's SFTTrainer as its users call it; the base comes from the checkpoint."""

    def __init__(self, order):
        self.steps = DISCARDED + order["steps"]
        four_bit = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        self.tokenizer = AutoTokenizer.from_pretrained(order["checkpoint"])
        self.model = AutoModelForCausalLM.from_pretrained(
            order["checkpoint"],
            dtype=torch.bfloat16,
            attn_implementation=order["settings"][0].get("attention", "sdpa"),
            device_map={"": 0} if CUDA else None,
            quantization_config=four_bit if order["base"] == "nf4" else None,
        )

    def adapter(self):
        """Return peft's settings, None where the model holds an adapter already."""
        if isinstance(self.model, PeftModel):
            return None
        return LoraConfig(**LORA, bias="none", task_type="CAUSAL_LM", target_modules=SEVEN)

    def run(self, setting, shape):
        """Return the figures of a run of the trainer."""
        batches = make_batches(*shape)
        rows = rows_in_order(batches, self.steps)
        with TemporaryDirectory(prefix="compare-") as folder:
            trainer = trainer_class()(
                model=self.model,
                args=self._arguments(setting, shape, folder),
                train_dataset=prepared(rows, isolated=setting["isolated"]),
                processing_class=self.tokenizer,
                peft_config=self.adapter(),
            )
            self.model = trainer.model
            check_rows(trainer, rows)
            fill_adapters(self.model)
            clock, first = Clock(), {}
            trainer.add_callback(Watcher(clock, first))
            trainer.train()
        found = figures(self.model, batches, clock, first)
        del trainer
        return found

    def _arguments(self, setting, shape, folder):
        rows, length, _texts = shape
        # every row is exactly as long as is trained on: neither way of feeding changes what a step consists of
        feeding = {"packing": True, "packing_strategy": "wrapped"}
        if setting["isolated"]:  # packed as trl would, and left as it is
            feeding = {"packing": True, "packing_strategy": "bfd", "dataset_kwargs": {"skip_prepare_dataset": True}}
        elif setting.get("feeding") == "padded":
            feeding = {"packing": False, "padding_free": False}
        return SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=1,
            max_steps=self.steps,
            max_length=length,
            **feeding,
            train_sampling_strategy="sequential",
            completion_only_loss=True,
            gradient_checkpointing=setting["recompute"] != "none",
            use_liger_kernel=setting.get("liger", False),
            optim=OPTIMIZER,
            learning_rate=RATE,
            bf16=True,
            use_cpu=not CUDA,
            logging_steps=10,
            logging_first_step=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_num_workers=2 if CUDA else 0,
            seed=0,
        )


class Unsloth(Trl):
    """unsloth's model in the same trainer, which unsloth has patched."""

    def __init__(self, order):
        fast = import_module("unsloth").FastLanguageModel
        self.steps, (setting, *_rest) = DISCARDED + order["steps"], order["settings"]
        self.model, self.tokenizer = fast.from_pretrained(
            order["checkpoint"],
            max_seq_length=max(length for _rows, length, _texts in order["shapes"]),
            load_in_4bit=order["base"] == "nf4",
            dtype=torch.bfloat16,
            local_files_only=True,
        )
        self.model = fast.get_peft_model(
            self.model,
            **LORA,
            bias="none",
            target_modules=SEVEN,
            use_gradient_checkpointing="unsloth" if setting["recompute"] == "offload" else False,
            random_state=0,
        )

    def adapter(self):
        """Return None: the model holds an adapter already."""
        return


def trainer_class():
    """Return trl's trainer; on a CPU one with the model's own loss, since trl's needs Triton."""
    if CUDA:
        return SFTTrainer

    class PlainLoss(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # noqa: ARG002
            names = ("input_ids", "labels", "attention_mask", "position_ids", "packed_seq_lengths")
            output = model(**{name: inputs[name] for name in names if name in inputs}, use_cache=False)
            return (output.loss, output) if return_outputs else output.loss

    return PlainLoss


def prepared(rows, *, isolated):
    """Return the rows as trl takes them: with the lengths of their samples where these are kept apart."""
    ids, labels, lengths = (list(column) for column in zip(*rows, strict=True))
    if isolated:
        return Dataset.from_dict({"input_ids": ids, "labels": labels, "seq_lengths": lengths})
    marks = [[int(label != IGNORED) for label in row] for row in labels]
    return Dataset.from_dict({"input_ids": ids, "completion_mask": marks})


def check_rows(trainer, rows):
    """Raise where the trainer's preparation has changed or reordered the rows."""
    found = trainer.train_dataset
    if len(found) != len(rows) or found[0]["input_ids"] != rows[0][0] or found[-1]["input_ids"] != rows[-1][0]:
        raise RuntimeError(f"{len(rows)} rows were given and {len(found)} other ones would be trained on")


class Watcher(TrainerCallback):
    """Ticks the clock and keeps the first log."""

    def __init__(self, clock, first):
        self._clock, self._first = clock, first

    def on_step_end(self, *_events, **_kwargs):
        """Note the end of a step."""
        self._clock.tick()

    def on_log(self, *_events, logs=None, **_kwargs):
        """Keep loss and gradient norm of the first step."""
        if logs and "loss" in logs and not self._first:
            self._first.update(loss=float(logs["loss"]), grad_norm=float(logs["grad_norm"]))
