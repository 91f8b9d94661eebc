"""Runs one engine of the comparison in this process; compare.py starts it.

Usage: python benchmarks/contestant.py '{"engine": ..., "base": ..., "settings": [...], "shapes": [[16, 512]], ...}'

Imports first, then waits for a line on its input that holds the time (as time.time() counts) after which no further run
starts: so that engines load while others have not begun yet, and never while one is timed. Every run appends a line of
JSON to the file that ``out`` names.
"""

import json
import os
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ORDER = json.loads(sys.argv[1])
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", UNSLOTH_DISABLE_STATISTICS="1")
if ORDER["engine"] == "unsloth":
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(Path(ORDER["checkpoint"]).parent / "unsloth_compiled"))
    import unsloth  # noqa: F401 - before all that it patches

import torch
from contest import (
    DISCARDED,
    IGNORED,
    LORA,
    RATE,
    SEVEN,
    Clock,
    figures,
    fill_adapters,
    make_batches,
    rows_in_order,
    stand_in_tokenizer,
    write_checkpoint,
)
from starling import CUDA, DEVICE, free, make_model

OPTIMIZER = "adamw_torch_fused" if CUDA else "adamw_torch"
STEPS = DISCARDED + ORDER["steps"]
BATCHES = {}


def batches_of(shape):
    """Return the batches of a shape, made once."""
    if shape not in BATCHES:
        BATCHES[shape] = make_batches(*shape)
    return BATCHES[shape]


class Reference:
    """Plain eager peft, a row at a time: what loss and gradient norm of the first step should be."""

    def __init__(self, order):
        self._model = make_model(order["base"], order["tiny"])
        fill_adapters(self._model)
        # the same numbers in memory that small cards have
        self._model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._model.enable_input_require_grads()

    def run(self, setting, shape):
        """Return loss and gradient norm of the first batch."""
        (ids, positions, labels), _lengths = batches_of(shape)[0]
        count = int((labels[:, 1:] != IGNORED).sum())
        total = 0.0
        for row in range(len(ids)):
            total += self._row(ids[row], positions[row] if setting["isolated"] else None, labels[row], count)
        grads = [p.grad.float() for p in self._model.parameters() if p.requires_grad]
        norm = torch.stack([g.norm() for g in grads]).norm()
        self._model.zero_grad(set_to_none=True)
        return {"loss": total, "grad_norm": norm.item()}

    def _row(self, ids, positions, labels, count):
        place = torch.arange(len(ids))
        own = place if positions is None else place - positions  # where a token's sample begins
        seen = (place[:, None] >= place[None, :]) & (torch.tensor(positions is None) | (own[:, None] == own[None, :]))
        given = place if positions is None else positions
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = self._model(
                input_ids=ids[None].to(DEVICE),
                position_ids=given[None].to(DEVICE),
                attention_mask=seen[None, None].to(DEVICE),
                use_cache=False,
            ).logits
        chosen = labels[1:] != IGNORED
        loss = torch.nn.functional.cross_entropy(
            logits[0, :-1][chosen].float(), labels[1:][chosen].to(DEVICE), reduction="sum"
        )
        (loss / count).backward()
        return loss.item() / count


class Medtune:
    """The trainer that MedTuner.train() uses, on the job that it would get."""

    def __init__(self, order):
        self._order = order
        self._model = make_model(order["base"], order["tiny"])
        self._model.get_base_model().is_loaded_in_4bit = order["base"] == "nf4"

    def run(self, setting, shape):
        """Return the figures of a run of the trainer, and of a bare loop over the same batches beside them."""
        from medtune.backends.trl import TrlTrainer
        from medtune.plugins.contracts import Job, Loaded

        fill_adapters(self._model)
        first, batches = {}, batches_of(shape)

        def note(record):
            if "loss" in record and not first:
                first.update(loss=record["loss"], grad_norm=record["grad_norm"])

        with Scratch() as folder:
            loaded = Loaded(self._model, stand_in_tokenizer(), "cuda:0" if CUDA else "cpu", "bf16", (2,), self._scheme)
            spec, rows = self._spec(setting, shape, folder), DealtRows(batches, STEPS)
            clock = Clock()
            job = Job(spec, loaded, rows, Path(folder), STEPS, on_log=note, on_step=lambda _step: clock.tick())
            result = TrlTrainer().fit(job)
        found = figures(self._model, batches, clock, first)
        found |= {"path": result.fast_path}
        if self._order["bare"]:
            free()
            found["bare"] = self._bare(setting, batches)
        return found

    @property
    def _scheme(self):
        return {"bf16": "none"}.get(self._order["base"], self._order["base"])

    def _spec(self, setting, shape, folder):
        from medtune import RunSpec

        rows, length = shape
        train = {
            "per_device_batch_size": rows,
            "gradient_accumulation_steps": 1,
            "micro_batch": "as_written",
            "max_length": length,
            "max_steps": STEPS,
            "recompute": setting["recompute"],
            "save_strategy": "no",
            "optim": OPTIMIZER,
            "learning_rate": RATE,
        }
        return RunSpec(quant={"scheme": self._scheme}, train=train, output_dir=folder, eval={"enabled": False})

    def _bare(self, setting, batches):
        from medtune import kernels

        fill_adapters(self._model)
        path = kernels.enable(self._model, recompute=setting["recompute"])
        if isinstance(path, kernels.Refusal):
            raise TypeError(str(path))
        laid = [kernels.lay_out(*tensors) for tensors, _lengths in batches]
        laid = [batch.pin_memory() if CUDA else batch for batch in laid]
        trained = [p for p in self._model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=RATE, fused=CUDA)
        clock, first = Clock(), {}
        for step in range(STEPS):
            batch = laid[step % len(laid)]
            loss = path.loss_of(batch) / len(batch.targets)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            clock.tick()
            if not first:
                first = {"loss": loss.detach(), "grad_norm": norm}
        found = figures(self._model, batches, clock, first)
        path.disable()
        return {name: found[name] for name in ("tokens_per_second", "step_s", "peak_gib", "loss", "grad_norm")}


class DealtRows:
    """Packed rows that come in one order, whichever of them is asked for: trainers draw at random, this must not."""

    def __init__(self, batches, steps):
        from medtune.plugins.contracts import PackedRow

        self._rows, self._next = [], 0
        for step in range(steps):
            (ids, positions, labels), _lengths = batches[step % len(batches)]
            for row in range(len(ids)):
                lengths = self._lengths(positions[row], labels[row])
                real = sum(lengths)
                marks = (labels[row, :real] != IGNORED).int().tolist()
                self._rows.append(PackedRow(ids[row, :real].tolist(), marks, lengths, range(len(lengths))))
        self.fingerprint = "dealt"

    @staticmethod
    def _lengths(positions, labels):
        """Return the lengths of a row's samples; what follows the last supervised token is no sample."""
        real = int((labels != IGNORED).nonzero()[-1]) + 1
        begins = (positions[:real] == 0).nonzero().flatten().tolist()
        return [end - begin for begin, end in zip(begins, [*begins[1:], real], strict=True)]

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, _index):
        self._next += 1
        return self._rows[(self._next - 1) % len(self._rows)]

    def row_id(self, sample):
        """Return the id of a sample."""
        return f"generated-{sample}"

    def source(self, _sample):
        """Return the source of a sample."""
        return "generated"


class Peer:
    """trl's SFTTrainer as its users call it; the base comes from the checkpoint."""

    def __init__(self, order):
        from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

        self._order = order
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
            attn_implementation="sdpa",
            device_map={"": 0} if CUDA else None,
            quantization_config=four_bit if order["base"] == "nf4" else None,
        )

    def adapter(self):
        """Return peft's settings, None where the model holds an adapter already."""
        from peft import LoraConfig, PeftModel

        if isinstance(self.model, PeftModel):
            return None
        return LoraConfig(**LORA, bias="none", task_type="CAUSAL_LM", target_modules=SEVEN)

    def run(self, setting, shape):
        """Return the figures of a run of the trainer."""
        from datasets import Dataset

        batches = batches_of(shape)
        rows = rows_in_order(batches, STEPS)
        columns = {
            "input_ids": [ids for ids, _labels in rows],
            "completion_mask": [[int(label != IGNORED) for label in labels] for _ids, labels in rows],
        }
        with Scratch() as folder:
            trainer = trainer_class()(
                model=self.model,
                args=self._arguments(setting, shape, folder),
                train_dataset=Dataset.from_dict(columns),
                processing_class=self.tokenizer,
                peft_config=self.adapter(),
            )
            self.model = trainer.model
            check_rows(trainer, rows)
            fill_adapters(self.model)
            clock, first = Clock(), {}
            trainer.add_callback(watcher(clock, first))
            trainer.train()
        found = figures(self.model, batches, clock, first)
        del trainer
        return found

    def _arguments(self, setting, shape, folder):
        from trl import SFTConfig

        rows, length = shape
        # every row is exactly as long as is trained on: neither way of feeding changes what a step consists of
        feeding = {"packing": True, "packing_strategy": "wrapped"}
        if setting.get("feeding") == "padded":
            feeding = {"packing": False, "padding_free": False}
        return SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=1,
            max_steps=STEPS,
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


class Unsloth(Peer):
    """unsloth's model in the same trainer, which unsloth has patched."""

    def __init__(self, order):
        from unsloth import FastLanguageModel

        self._order, (setting, *_rest) = order, order["settings"]
        self.model, self.tokenizer = FastLanguageModel.from_pretrained(
            order["checkpoint"],
            max_seq_length=max(length for _rows, length in order["shapes"]),
            load_in_4bit=order["base"] == "nf4",
            dtype=torch.bfloat16,
            local_files_only=True,
        )
        self.model = FastLanguageModel.get_peft_model(
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
    from trl import SFTTrainer

    if CUDA:
        return SFTTrainer

    class PlainLoss(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # noqa: ARG002
            names = ("input_ids", "labels", "attention_mask", "position_ids", "packed_seq_lengths")
            output = model(**{name: inputs[name] for name in names if name in inputs}, use_cache=False)
            return (output.loss, output) if return_outputs else output.loss

    return PlainLoss


def check_rows(trainer, rows):
    """Raise where the trainer's preparation has changed or reordered the rows."""
    prepared = trainer.train_dataset
    if len(prepared) != len(rows) or prepared[0]["input_ids"] != rows[0][0] or prepared[-1]["input_ids"] != rows[-1][0]:
        raise RuntimeError(f"{len(rows)} rows were given and {len(prepared)} other ones would be trained on")


def watcher(clock, first):
    """Return a callback that ticks the clock and keeps the first log."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def on_step_end(self, *_events, **_kwargs):
            clock.tick()

        def on_log(self, *_events, logs=None, **_kwargs):
            if logs and "loss" in logs and not first:
                first.update(loss=float(logs["loss"]), grad_norm=float(logs["grad_norm"]))

    return Watcher()


def Scratch():  # noqa: N802 - reads as the class that it returns
    """Return a temporary folder."""
    from tempfile import TemporaryDirectory

    return TemporaryDirectory(prefix="compare-")


class Checkpoint:
    """Writes the base to disk, for the engines that load it from there."""

    def __init__(self, order):
        self._order = order

    def run(self, _setting, _shape):
        """Write it."""
        write_checkpoint(self._order["checkpoint"], self._order["tiny"])
        return {}


ENGINES = {"checkpoint": Checkpoint, "reference": Reference, "medtune": Medtune, "trl": Peer, "unsloth": Unsloth}


def versions():
    """Return the versions of what takes part."""
    found = {}
    for name in ("torch", "transformers", "peft", "bitsandbytes", "triton", "trl", "unsloth", "liger-kernel"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def preload():
    """Import what the engine needs, so that no run waits for it."""
    import peft  # noqa: F401
    import transformers  # noqa: F401

    if ORDER["engine"] in ("trl", "unsloth", "medtune"):
        import trl.trainer.sft_trainer  # noqa: F401
    if ORDER["base"] == "nf4":
        import bitsandbytes  # noqa: F401


def main():
    """Run the settings over the shapes."""
    preload()
    Path(ORDER["out"]).with_suffix(".ready").touch()
    line = sys.stdin.readline()
    if not line.strip():
        return  # not wanted any more
    began, until, out = time.time(), float(line), Path(ORDER["out"])

    def tell(row):
        with out.open("a") as file:
            file.write(json.dumps({**row, "at_s": round(time.time() - began, 1)}) + "\n")

    try:
        engine = ENGINES[ORDER["engine"]](ORDER)
    except Exception as error:
        tell({"failed": f"{type(error).__name__}: {str(error)[:300]}"})
        raise
    device = torch.cuda.get_device_name() if CUDA else "CPU"
    for shape, setting in [(tuple(shape), setting) for shape in ORDER["shapes"] for setting in ORDER["settings"]]:
        row = {**setting, "rows": shape[0], "length": shape[1], "device": device, "versions": versions()}
        if time.time() > until:
            tell({**row, "failed": "not run: the budget was used up"})
            continue
        try:
            row |= engine.run(setting, shape)
        except Exception as error:  # noqa: BLE001 - one run must not cost the others
            row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
            traceback.print_exc()
        tell(row)
        free()


if __name__ == "__main__":
    main()
