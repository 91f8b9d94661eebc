"""medtune in the comparison: the trainer that MedTuner.train() uses, and a bare loop of its kernels."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from contest import (
    DISCARDED,
    IGNORED,
    OPTIMIZER,
    RATE,
    Clock,
    figures,
    fill_adapters,
    make_batches,
    stand_in_tokenizer,
)
from starling_shape import CUDA, free, make_model

from medtune import RunSpec
from medtune.accel import train as kernels
from medtune.backends.trl import TrlTrainer
from medtune.plugins.contracts import Job, Loaded, PackedRow


class Medtune:
    """The trainer that MedTuner.train() uses, on the job that it would get."""

    def __init__(self, order):
        self._order, self._steps = order, DISCARDED + order["steps"]
        self._model = make_model(order["base"], order["tiny"])
        self._model.get_base_model().is_loaded_in_4bit = order["base"] == "nf4"

    def run(self, setting, shape):
        """Return the figures of a run of the trainer, and of a bare loop over the same batches beside them."""
        fill_adapters(self._model)
        first, batches = {}, make_batches(*shape)

        def note(record):
            if "loss" in record and not first:
                first.update(loss=record["loss"], grad_norm=record["grad_norm"])

        with TemporaryDirectory(prefix="compare-") as folder:
            loaded = Loaded(self._model, stand_in_tokenizer(), "cuda:0" if CUDA else "cpu", "bf16", (2,), self._scheme)
            spec, rows = self._spec(setting, shape, folder), DealtRows(batches, self._steps)
            clock = Clock()
            job = Job(spec, loaded, rows, Path(folder), self._steps, on_log=note, on_step=lambda _step: clock.tick())
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
        rows, length, _texts = shape
        train = {
            "per_device_batch_size": rows,
            "gradient_accumulation_steps": 1,
            "micro_batch": "as_written",
            "max_length": length,
            "max_steps": self._steps,
            "recompute": setting["recompute"],
            "dequantized_weights": setting.get("restored", "each_pass"),
            "share_prefixes": setting.get("shares", True),
            "save_strategy": "no",
            "optim": OPTIMIZER,
            "learning_rate": RATE,
        }
        return RunSpec(quant={"scheme": self._scheme}, train=train, output_dir=folder, eval={"enabled": False})

    def _bare(self, setting, batches):
        fill_adapters(self._model)
        path = kernels.enable(
            self._model,
            recompute=setting["recompute"],
            keep_dequantized=setting.get("restored") == "keep",
            share=setting.get("shares", True),
        )
        if isinstance(path, kernels.Refusal):
            raise TypeError(str(path))
        laid = [path.lay_out(*tensors) for tensors, _lengths in batches]
        laid = [batch.pin_memory() if CUDA else batch for batch in laid]
        trained = [p for p in self._model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=RATE, fused=CUDA)
        clock, first = Clock(), {}
        for step in range(self._steps):
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
