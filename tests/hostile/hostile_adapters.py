"""Adapters, runs and checkpoints that would run code, reach out, or are not what was trained."""

import json
import os
import shutil

import bombs
import numpy as np
from edits import all_of, as_json, edited, entry, header, length, linked, put, removed, tensors
from laboratory import Case

from medtune.runs.folder import RunFolder
from medtune.runs.manifest import MANIFEST, file_digest, seal_folder
from medtune.runs.record.recording import recorded

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DEEP = 100_000
PREFIX = "base_model.model.model.layers.0.self_attn.q_proj"
A = f"{PREFIX}.lora_A.weight"
ASKED = ("-m", "Zyxwv?")
NOT_USED = "is not used"


def chat(change, code, says, *, sealed=True, **more):
    """Return a case that asks a run whose adapter was changed; sealed again, as whoever changes it on purpose would."""

    def build(scene):
        run = RunFolder(scene.copy("run"))
        change(run.adapter_dir, scene)
        if sealed:
            seal_folder(run.adapter_dir, {})
            run.update(adapter={"manifest": file_digest(run.adapter_dir / MANIFEST)})
        return [run.path, *ASKED]

    return Case("chat", build, code, says, **more)


def adopted(change, code, says, **more):
    """Return a case that adopts a changed adapter as a foreign trainer would have left it."""

    def build(scene):
        folder = shutil.copytree(scene.stock / "run" / "adapter", scene.folder / "adapter")
        for name in ("MANIFEST.json", "prompt_contract.json", "README.md"):
            (folder / name).unlink(missing_ok=True)
        change(folder, scene)
        limits = ("quant.scheme=none", "eval.rows_per_source=2", "eval.max_new_tokens=4")
        sets = [part for limit in limits for part in ("--set", limit)]
        return [folder, "--base", scene.stock / "base", "--data", scene.rows, "--out", scene.folder / "out", *sets]

    return Case("adopt", build, code, says, **more)


def set_first(value):
    return lambda values: values[A].flat.__setitem__(0, value)


def unsealed_link(name, target):
    def change(folder, scene):
        (folder / MANIFEST).unlink()
        RunFolder(folder.parent).update(adapter={})
        linked(name, target)(folder, scene)

    return change


PICKLES = {
    "adapter_model.bin instead": chat(all_of(removed(WEIGHTS), put("adapter_model.bin", bombs.torch_archive)), 4, "may run code"),
    "adapter_model.bin beside": chat(put("adapter_model.bin", bombs.torch_archive), 4, "may run code"),
    "optimizer.pt": chat(put("optimizer.pt", bombs.torch_archive), 4, "may run code"),
    "rng_state.pth": chat(put("rng_state.pth", bombs.pickled), 4, "may run code"),
    "training_args.bin": chat(put("training_args.bin", bombs.pickled), 4, "may run code"),
    "scheduler.PT": chat(put("scheduler.PT", bombs.pickled), 4, "may run code"),
    "scaler.pkl": chat(put("scaler.pkl", bombs.pickled), 4, "may run code"),
    "model.joblib": chat(put("model.joblib", bombs.pickled), 4, "may run code"),
    "array of objects": chat(put("a.npy", bombs.object_array), 4, "may run code"),
    "model.ckpt": chat(put("model.ckpt", bombs.pickled), 4, "may run code"),
    "pickle in a folder below": chat(put("a/b/c.pickle", bombs.pickled), 4, "may run code"),
    "archive of arrays": chat(put("a.npz", bombs.torch_archive), 4, "may run code"),
    "module": chat(put("peft.py", lambda s: s.code), 4, "may run code"),
    "compiled module": chat(put("__init__.pyc", b"\0"), 4, "may run code"),
    "shared library": chat(put("lib.so", b"\x7fELF"), 4, "may run code"),
    "torch archive called safetensors": chat(put(WEIGHTS, bombs.torch_archive), 4, "no whole safetensors"),
    "pickle called safetensors": chat(put(WEIGHTS, bombs.pickled), 4, "no whole safetensors"),
    "pickle called JSON": chat(put(CONFIG, bombs.pickled), 4, "UTF-8"),
    "adopted: adapter_model.bin": adopted(all_of(removed(WEIGHTS), put("adapter_model.bin", bombs.torch_archive)), 4, "no whole safetensors"),
    "adopted: optimizer.pt": adopted(put("optimizer.pt", bombs.torch_archive), 0, "finished"),
    "adopted: training_args.bin": adopted(put("training_args.bin", bombs.pickled), 0, "finished"),
    "adopted: pickle called safetensors": adopted(put(WEIGHTS, bombs.pickled), 4, "safetensors"),
}  # fmt: skip
HEADERS = {
    "length of 2^63": chat(length(WEIGHTS, 1 << 63), 4, "no whole safetensors"),
    "offsets that overlap": chat(entry(WEIGHTS, data_offsets=[0, 4]), 4, "no whole safetensors"),
    "offsets below zero": chat(entry(WEIGHTS, data_offsets=[-4, 0]), 4, "no whole safetensors"),
    "a shape of 10^30": chat(entry(WEIGHTS, shape=[10**30]), 4, "no whole safetensors"),
    "a shape of many lengths": chat(entry(WEIGHTS, shape=[2] * 100_000), 4, "no whole safetensors"),
    "a header nested deeply": chat(header(WEIGHTS, lambda v: "[" * DEEP), 4, "no whole safetensors"),
    "a header of 60 MB": chat(header(WEIGHTS, lambda v: b'{"a":"' + b"x" * (60 << 20) + b'"}'), 4, "no whole safetensors"),
    "a name of escapes": chat(header(WEIGHTS, lambda v: json.dumps(v).replace(A, "\\u001b[31m")), 4, NOT_USED),
    "a name of dunders": chat(header(WEIGHTS, lambda v: json.dumps(v).replace(A, f"{PREFIX}.__class__.lora_A.weight")), 4, NOT_USED),
    "values of NaN": chat(tensors(WEIGHTS, set_first(np.nan)), 4, "not finite"),
    "values that are infinite": chat(tensors(WEIGHTS, set_first(-np.inf)), 4, "not finite"),
    "values as whole numbers": chat(tensors(WEIGHTS, lambda v: v.update({A: v[A].astype(np.int64)})), 4, "are floats"),
    "a weight of the base": chat(
        tensors(WEIGHTS, lambda v: v.update({"base_model.model.lm_head.weight": np.ones((258, 64), np.float32)})), 4, "replace weights"
    ),
    "adopted: values of NaN": adopted(tensors(WEIGHTS, set_first(np.nan)), 4, "finite"),
    "adopted: a header nested deeply": adopted(header(WEIGHTS, lambda v: "[" * DEEP), 4, "safetensors"),
    "adopted: a shape of many lengths": adopted(entry(WEIGHTS, shape=[2] * 100_000), 4, "safetensors"),
}  # fmt: skip
SETTINGS = {
    "base above": chat(as_json(CONFIG, base_model_name_or_path="../../../../etc"), 4, "made for the base"),
    "base of a URL": chat(as_json(CONFIG, base_model_name_or_path="http://x/evil"), 4, "made for the base"),
    "auto_mapping": chat(as_json(CONFIG, auto_mapping={"base_model_class": "system", "parent_library": "os"}), 4, "code could be loaded"),
    "attention of a repository": chat(as_json(CONFIG, attn_implementation="someone/kernel"), 4, "code could be loaded"),
    "attention of a repository, within": chat(
        as_json(CONFIG, eva_config={"a": [{"_attn_implementation": "someone/kernel"}]}), 4, "code could be loaded"
    ),
    "kind by a module": chat(as_json(CONFIG, peft_type="os.system"), 4, "peft_type"),
    "task by a module": chat(as_json(CONFIG, task_type="os.system"), 4, "task_type"),
    "megatron by a module": chat(as_json(CONFIG, megatron_config={"a": 1}, megatron_core="os.system"), 4, "megatron"),
    "rank of 10^9": chat(as_json(CONFIG, r=10**9), 4, "its r is"),
    "rank of 10^5000": chat(edited(CONFIG, lambda c: c.update(r=10**4000)), 4, ""),
    "rank that is infinite": chat(edited(CONFIG, lambda c: c.update(r=float("inf"))), 4, ""),
    "alpha of NaN": chat(edited(CONFIG, lambda c: c.update(lora_alpha=float("nan"))), 4, ""),
    "targets as a pattern that never ends": chat(as_json(CONFIG, target_modules="((a|a)+)+$"), 4, "no list of names"),
    "targets in millions": chat(as_json(CONFIG, target_modules=["q_proj"] * 300_000), 4, ""),
    "rank pattern that never ends": chat(as_json(CONFIG, rank_pattern={"(.*.*)*$": 4}), 4, "rank_pattern"),
    "replaced modules": chat(as_json(CONFIG, modules_to_save=["lm_head"]), 4, "modules_to_save"),
    "layers replicated": chat(as_json(CONFIG, layer_replication=[[0, 10**6]]), 4, "layer_replication"),
    "a key twice": chat(put(CONFIG, '{"r": 4, "r": 8}'), 4, ""),
    "nested deeply": chat(put(CONFIG, "[" * DEEP), 4, "nested deeper"),
    "of half a gigabyte": chat(lambda f, _s: os.truncate(f / CONFIG, 512 << 20), 4, "", sealed=False),
    "tokenizer of own code": chat(
        all_of(as_json("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]})), 4, "code could be loaded"
    ),
    "tokenizer of a module": chat(as_json("tokenizer_config.json", tokenizer_class="os.system"), 0, "answer"),
    "README of a script": chat(put("README.md", "<script>alert(1)</script>"), 0, "answer"),
    "a link out": chat(unsealed_link(CONFIG, None), 4, "link", sealed=False),
    "a link to a device": chat(unsealed_link("README.md", "/dev/zero"), 4, "link", sealed=False),
    "a FIFO": chat(lambda f, _s: os.mkfifo(f / "notes.txt"), 4, "", sealed=False),
    "a manifest that leads up": chat(edited(MANIFEST, lambda m: m["files"].update({"../../x": {"bytes": 1, "sha256": "0"}})), 4, "was changed", sealed=False),
    "a manifest nested deeply": chat(put(MANIFEST, "[" * DEEP), 4, "was changed", sealed=False),
    "a manifest from a device": chat(linked(MANIFEST, "/dev/zero"), 4, "", sealed=False),
    "a contract nested deeply": chat(put("prompt_contract.json", "[" * DEEP), 4, "contract"),
    "a contract of another shape": chat(put("prompt_contract.json", '{"format": 2, "samples": {"a": []}}'), 4, "other prompts|contract"),
    "adopted: auto_mapping": adopted(as_json(CONFIG, auto_mapping={"base_model_class": "system", "parent_library": "os"}), 0, "finished"),
    "adopted: attention of a repository": adopted(as_json(CONFIG, attn_implementation="someone/kernel"), 4, ""),
    "adopted: targets as a pattern that never ends": adopted(as_json(CONFIG, target_modules="((.*)*)*$"), 4, ""),
    "adopted: rank pattern that never ends": adopted(as_json(CONFIG, rank_pattern={"(.*.*)*x$": 4}), 0, "finished"),
    "adopted: base above": adopted(as_json(CONFIG, base_model_name_or_path="../../../../etc"), 0, "finished"),
    "adopted: rank of 10^9": adopted(as_json(CONFIG, r=10**9), 4, ""),
    "adopted: a state nested deeply": adopted(put("trainer_state.json", "[" * DEEP), 4, NOT_USED),
    "adopted: a state of NaN": adopted(put("trainer_state.json", '{"best_metric": NaN, "global_step": 1e999}'), 4, NOT_USED),
    "adopted: a link, as of the hub's cache": adopted(linked(WEIGHTS, None), 0, "finished"),
    "adopted: weights from a device": adopted(linked(WEIGHTS, "/dev/zero"), 4, ""),
    "adopted: a FIFO of settings": adopted(lambda f, _s: ((f / CONFIG).unlink(), os.mkfifo(f / CONFIG)), 4, ""),
}  # fmt: skip


def run_case(command, change, code, says, arguments=(), *, sealed=True, **more):
    """Return a case of a command on a run whose record or files were changed."""

    def build(scene):
        run = RunFolder(scene.copy("run"))
        change(run, scene)
        return [run.path, *arguments]

    return Case(command, build, code, says, **more)


def record(**changes):
    """Return what updates run.json as medtune does, digest included."""
    return lambda run, _scene: run.update(**changes)


def spec_part(part, **changes):
    def change(run, _scene):
        spec = run.read()["spec"]
        run.update(spec={**spec, part: {**spec[part], **changes}})

    return change


def file(name, content):
    return lambda run, scene: put(name, content)(run.path, scene)


def resumed(change, code, says, **more):
    """Return a case that goes on with a run from a changed checkpoint."""

    def build(scene):
        run = RunFolder(scene.copy("run", "out"))
        spec = run.read()["spec"]
        with recorded(run.path, "test", ("run.json", "adapter/")):
            shutil.rmtree(run.adapter_dir)
            run.update("interrupted", spec={**spec, "output_dir": str(run.path)})
        change(run, scene)
        return [scene.spec(), "--resume", run.checkpoints_dir / "step-000001"]

    return Case("train", build, code, says, **more)


def first_checkpoint(name, content):
    def change(run, scene):
        folder = run.checkpoints_dir / "step-000001"
        put(name, content)(folder, scene)
        seal_folder(folder, {"step": 1})

    return change


def pickled_states(run, scene):
    """Put beside medtune's states those that transformers would look for."""
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "scaler.pt",
        "rng_state.pth",
        "training_args.bin",
        "pytorch_model.bin",
    ):
        first_checkpoint(name, bombs.torch_archive)(run, scene)


RECORDS = {
    "no record": run_case("verify", lambda r, _s: r.record_path.unlink(), 4, "is missing"),
    "nested deeply": run_case("verify", file("run.json", "[" * DEEP), 4, "run.json"),
    "a list": run_case("verify", file("run.json", "[]"), 4, "run.json"),
    "a pickle": run_case("verify", file("run.json", bombs.pickled), 4, "run.json"),
    "a FIFO": run_case("verify", lambda r, _s: (r.record_path.unlink(), os.mkfifo(r.record_path)), 4, "no regular file"),
    "a device": run_case("verify", lambda r, _s: (r.record_path.unlink(), r.record_path.symlink_to("/dev/zero")), 4, "no regular file"),
    "half a gigabyte": run_case("verify", lambda r, _s: os.truncate(r.record_path, 512 << 20), 4, ""),
    "a changed score": run_case("verify", lambda r, s: edited("run.json", lambda c: c.update(scores={}))(r.path, s), 4, "was changed since"),
    "an unknown state": run_case("verify", record(state="[red]owned[/red]"), 4, "state"),
    "a state that is a list": run_case("verify", lambda r, s: edited("run.json", lambda c: c.update(state=["x"]))(r.path, s), 4, "state"),
    "a spec of a list": run_case("report", lambda r, s: edited("run.json", lambda c: (c.pop("sha256"), c.update(spec=[])))(r.path, s), 4, "run.json"),
    "a spec of unknown keys": run_case("report", record(spec={"evil": 1}), 4, "no spec that can be read"),
    "plugins that are not there": run_case("chat", lambda r, _s: r.update(spec={**r.read()["spec"], "plugins": ["evil==6.6"]}), 2, "evil", ASKED),
    "plugins of a number": run_case("report", lambda r, _s: r.update(spec={**r.read()["spec"], "plugins": 7}), 4, "run.json"),
    "tasks of another shape": run_case("report", record(preparation={"tasks": [{"__class__": 1}, 7]}), 4, "run.json"),
    "a base elsewhere": run_case("chat", spec_part("model", path="/etc", name="/etc"), 4, "another base", ASKED),
    "a base above": run_case("chat", spec_part("model", path="../" * 20 + "etc", name="x/y"), 4, "another base", ASKED),
    "a base of a URL": run_case("chat", lambda r, s: spec_part("model", path=None, name=f"{s.url}/evil")(r, s), 4, "another base", ASKED, locked=(2, "locked")),
    "a base of another repository": run_case("chat", spec_part("model", path=None, name="someone/evil", revision=None), 4, "another base", ASKED, locked=(2, "locked")),
    "a template from a device": run_case("chat", spec_part("model", chat_template="/dev/zero"), 0, "answer", ASKED),
    "an output elsewhere": run_case("report", lambda r, s: r.update(spec={**r.read()["spec"], "output_dir": "/etc"}), 0, "report"),
    "a backend by an import": run_case("chat", spec_part("lora", backend="os.system"), 2, "os.system", ASKED),
    "adapter elsewhere": run_case("verify", lambda r, s: (shutil.move(r.adapter_dir, s.folder / "a"), r.adapter_dir.symlink_to(s.folder / "a")), 4, "link"),
    "checkpoints elsewhere": run_case("verify", lambda r, s: (shutil.move(r.checkpoints_dir, s.folder / "c"), r.checkpoints_dir.symlink_to("/etc")), 4, "is a link"),
    "a log nested deeply": run_case("report", file("log.jsonl", "[" * DEEP), 0, "report"),
    "a log of half a gigabyte": run_case("report", lambda r, _s: os.truncate(r.log_path, 512 << 20), 0, "report"),
    "a log of infinite numbers": run_case("report", file("log.jsonl", '{"step": 1e999, "loss": NaN, "epoch": -Infinity}\n'), 0, "report"),
    "scores of infinite numbers": run_case("report", lambda r, s: put("evaluation/tuned.json", '{"tasks": {"nli": {"rows": 1e999}}}')(r.path, s), 0, "report"),
    "scores nested deeply": run_case("report", file("evaluation/tuned.json", "[" * DEEP), 6, "cannot be read as an evaluation"),
    "predictions nested deeply": run_case("report", file("evaluation/predictions-tuned.jsonl", '{"a":' * DEEP), 3, "not JSON"),
    "a report through a link": run_case("report", lambda r, s: (r.report_path.unlink(), r.report_path.symlink_to(s.write("precious.txt", "precious"))), 6, "link"),
    "a run compared with a pickle": Case("compare", lambda s: [s.stock / "run", (file("run.json", bombs.pickled)(RunFolder(s.copy("run")), s), s.folder / "run")[1]], 4, "run.json"),
    "a lock of somebody": run_case("verify", file("run.lock", '{"pid": 1, "host": "[red]x"}'), 4, "not in the record"),
}  # fmt: skip
CHECKPOINTS = {
    "optimizer.pt": run_case("verify", file("checkpoints/step-000002/optimizer.pt", bombs.torch_archive), 4, "not in the record"),
    "a manifest that leads up": run_case(
        "verify", lambda r, s: edited("checkpoints/step-000002/MANIFEST.json", lambda m: m["files"].update({"../../../x": {}}))(r.path, s), 4, "bytes instead of"
    ),
    "a manifest nested deeply": run_case("verify", file("checkpoints/step-000002/MANIFEST.json", "[" * DEEP), 4, "bytes instead of"),
    "another step's": run_case(
        "verify", lambda r, _s: (r.checkpoints_dir / "step-000002").rename(r.checkpoints_dir / "step-000009"), 4, "lies under another name"
    ),
    "a step of 10^30": run_case(
        "verify", lambda r, _s: (r.checkpoints_dir / "step-000002").rename(r.checkpoints_dir / f"step-{10**30}"), 4, "lies under another name"
    ),
    "a link out": run_case("verify", lambda r, s: linked("checkpoints/step-000002/state.json", "/etc/passwd")(r.path, s), 4, "link"),
    "a FIFO": run_case("verify", lambda r, _s: os.mkfifo(r.checkpoints_dir / "step-000002" / "x"), 4, ""),
    "a file emptied": run_case("verify", lambda r, _s: os.truncate(next((r.checkpoints_dir / "step-000002").glob("*.safetensors")), 0), 4, "bytes instead of"),
    "resumed: pickles that nobody reads": resumed(pickled_states, 4, "not the one that the run recorded"),
    "resumed: trainer_state of another shape": resumed(first_checkpoint("trainer_state.json", '{"global_step": "os.system"}'), 4, ""),
    "resumed: trainer_state nested deeply": resumed(first_checkpoint("trainer_state.json", "[" * DEEP), 4, ""),
    "resumed: an adapter as a pickle": resumed(first_checkpoint("trainable.safetensors", bombs.pickled), 4, ""),
    "resumed: states as a pickle": resumed(first_checkpoint("state-00.safetensors", bombs.torch_archive), 4, ""),
    "resumed: state nested deeply": resumed(first_checkpoint("state.json", "[" * DEEP), 4, ""),
    "resumed: state of another shape": resumed(first_checkpoint("state.json", '{"progress": 7}'), 4, ""),
    "resumed: one above": Case("train", lambda s: [s.spec(), "--resume", s.folder / ".." / "x"], 2, "neither auto nor never"),
    "resumed: one of another run": Case(
        "train", lambda s: [s.spec(), "--resume", s.copy("run", "other") / "checkpoints" / "step-000001"], 2, "neither auto nor never"
    ),
}  # fmt: skip
CASES = {
    "adapters: pickles": PICKLES,
    "adapters: headers": HEADERS,
    "adapters: settings": SETTINGS,
    "runs: records": RECORDS,
    "runs: checkpoints": CHECKPOINTS,
}
