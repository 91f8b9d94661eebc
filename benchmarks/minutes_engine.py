"""One engine of minutes.py, from the spec to its answers; minutes.py starts it and tells it by its input what to do.

Leaves figures.json (loss, peak memory, seconds by stage) and predictions.jsonl, which minutes.py scores.
"""

import json
import os
import sys
import time
from pathlib import Path


def medtune(order):
    """Train and score by medtune, as `medtune train` does."""
    from medtune import MedTuner

    out = Path(order["out"])
    run = MedTuner.from_defaults(**{**order["spec"], "output_dir": str(out / "run")}).train(progress="silent")
    record = json.loads((out / "run" / "run.json").read_text())
    (out / "run" / "evaluation" / "predictions-tuned.jsonl").rename(out / "predictions.jsonl")
    minutes = record["minutes"]
    seconds = {stage: round(60 * taken, 1) for stage, taken in minutes["measured"].items()}
    loss = run.metrics["train_loss"]
    return {
        "loss": loss,
        "peak_gib": run.metrics["peak_memory_gib"],
        "seconds": seconds,
        "promised": minutes["promised"],
    }


class Peer:
    """trl's trainer and transformers' generate, or unsloth's forms of both."""

    def __init__(self, order):
        self._order, self._spec, self._setting = order, order["settled"], order["setting"]
        self._seconds, self._at = {}, time.perf_counter()

    def run(self):
        """Load, train, answer; return the figures."""
        if self._order["engine"] == "unsloth":
            import unsloth  # noqa: F401 - before all that it patches
        import torch

        model, tokenizer = self._load_by_unsloth() if self._order["engine"] == "unsloth" else self._load()
        self._mark("load")
        trainer = self._trainer(model, tokenizer)
        self._mark("prepare")
        result = trainer.train()
        self._mark("train")
        self._answer(trainer.model, tokenizer)
        self._mark("score")
        peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
        return {"loss": result.training_loss, "peak_gib": peak, "seconds": self._seconds, "steps": result.global_step}

    def _mark(self, stage):
        now = time.perf_counter()
        self._seconds[stage], self._at = round(now - self._at, 1), now

    def _load(self):
        import torch

        place = self._spec["model"]["path"]
        four_bit = self._spec["quant"]["scheme"] == "nf4"
        from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

        on_gpu = torch.cuda.is_available()
        stored = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if on_gpu else torch.float32,
        )
        model = AutoModelForCausalLM.from_pretrained(
            place,
            dtype=torch.bfloat16 if on_gpu else torch.float32,
            attn_implementation=self._setting.get("attention", "sdpa"),
            device_map={"": 0} if on_gpu else None,
            quantization_config=stored if four_bit else None,
        )
        return model, AutoTokenizer.from_pretrained(place)

    def _load_by_unsloth(self):
        import torch
        from unsloth import FastLanguageModel as fast  # noqa: N813 - as its documents call it

        lora = self._spec["lora"]
        model, tokenizer = fast.from_pretrained(
            self._spec["model"]["path"],
            max_seq_length=self._spec["train"]["max_length"],
            load_in_4bit=self._spec["quant"]["scheme"] == "nf4",
            dtype=torch.bfloat16,
            local_files_only=True,
        )
        kept = "unsloth" if self._setting["recompute"] else False
        model = fast.get_peft_model(
            model,
            r=lora["r"],
            lora_alpha=lora["alpha"],
            lora_dropout=lora["dropout"],
            bias="none",
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            use_gradient_checkpointing=kept,
            random_state=self._spec["seed"],
        )
        return model, tokenizer

    def _trainer(self, model, tokenizer):
        from contest_peers import trainer_class
        from datasets import Dataset
        from peft import LoraConfig

        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
        lora = self._spec["lora"]
        rows = [json.loads(line)["messages"] for line in Path(self._order["train"]).read_text().splitlines()]
        rows = Dataset.from_list([{"prompt": turns[:-1], "completion": turns[-1:]} for turns in rows])
        wanted = LoraConfig(
            r=lora["r"],
            lora_alpha=lora["alpha"],
            lora_dropout=lora["dropout"],
            bias="none",
            task_type="CAUSAL_LM",
            target_modules="all-linear",
        )
        return trainer_class()(
            model=model,
            args=self._arguments(),
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=None if self._order["engine"] == "unsloth" else wanted,
        )

    def _arguments(self):
        import torch
        from trl import SFTConfig

        train, on_gpu = self._spec["train"], torch.cuda.is_available()
        return SFTConfig(
            output_dir=self._order["out"],
            per_device_train_batch_size=train["per_device_batch_size"],
            gradient_accumulation_steps=train["gradient_accumulation_steps"],
            max_steps=train["max_steps"] or -1,
            num_train_epochs=train["num_train_epochs"] or 1.0,
            max_length=train["max_length"],
            packing=True,
            packing_strategy=self._setting["packing"],
            completion_only_loss=True,
            gradient_checkpointing=self._setting["recompute"],
            use_liger_kernel=self._setting["liger"],
            optim="adamw_torch_fused" if on_gpu else "adamw_torch",
            learning_rate=train["learning_rate"],
            lr_scheduler_type=train["lr_scheduler_type"],
            warmup_steps=train["warmup_ratio"] or 0.0,  # below 1 a ratio
            bf16=on_gpu,
            use_cpu=not on_gpu,
            logging_steps=10,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_num_workers=2 if on_gpu else 0,
            seed=self._spec["seed"],
        )

    def _answer(self, model, tokenizer):
        """Answer greedily, in batches of about one length, and write what medtune's scorer reads."""
        import torch

        if self._order["engine"] == "unsloth":
            from unsloth import FastLanguageModel

            FastLanguageModel.for_inference(model)
        model.eval()
        model.config.use_cache = True
        if hasattr(model, "gradient_checkpointing_disable"):
            model.gradient_checkpointing_disable()
        rows = [json.loads(line) for line in Path(self._order["asked"]).read_text().splitlines()]
        texts = [
            tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True)
            for row in rows
        ]
        tokenizer.padding_side = "left"
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        most = self._spec["eval"]["max_new_tokens"]
        order, batch = sorted(range(len(ids)), key=lambda n: len(ids[n])), self._setting["batch"]
        answers = [""] * len(rows)
        for begin in range(0, len(order), batch):
            chosen = order[begin : begin + batch]
            given = tokenizer.pad({"input_ids": [ids[n] for n in chosen]}, return_tensors="pt").to(model.device)
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_available()):
                out = model.generate(
                    **given, max_new_tokens=most, do_sample=False, num_beams=1, pad_token_id=tokenizer.pad_token_id
                )
            told = tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
            for n, text in zip(chosen, told, strict=True):
                answers[n] = text.strip()
        self._write(rows, answers)

    def _write(self, rows, answers):
        with (Path(self._order["out"]) / "predictions.jsonl").open("w", encoding="utf-8") as file:
            for row, answer in zip(rows, answers, strict=True):
                asked = row["messages"][-2]["content"]
                told = {
                    "task": row["task"],
                    "source": row["source"],
                    "input": asked,
                    "gold": row["messages"][-1]["content"],
                }
                file.write(json.dumps({**told, "prediction": answer}) + "\n")


def main():
    """Do what the input says."""
    order = json.load(sys.stdin)
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", UNSLOTH_DISABLE_STATISTICS="1")
    figures = medtune(order) if order["engine"] == "medtune" else Peer(order).run()
    (Path(order["out"]) / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
