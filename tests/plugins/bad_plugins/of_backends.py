"""Quantizers, adapters, trainers, generators and exporters with one fault each, around medtune's own or the examples."""

import importlib.util
import pickle
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from bad_plugins.making import Bad, providing
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.plugins.contracts import Completion

EXAMPLES = Path(__file__).parents[3] / "examples"


def example(name, thing):
    """Return a class of an example plugin."""
    module = name.replace("-", "_")
    spec = importlib.util.spec_from_file_location(module, EXAMPLES / name / "src" / module / "__init__.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return getattr(found, thing)


Sgd, OneByOne, Npz = (
    example("medtune-sgd", "Sgd"),
    example("medtune-one-by-one", "OneByOne"),
    example("medtune-npz", "Npz"),
)


def made(kind, right, fault, caught_by, **members):
    return Bad(fault, kind, caught_by, providing(kind, type("Wrong", (right,), {"name": "acme", **members})()))


def loading(fault, check, change):
    """Return a quantizer whose outcome is changed."""
    return made("quantizer", BitsAndBytesQuantizer, fault, check, schemes=("none",),
                load=lambda self, model, spec: change(self, model, BitsAndBytesQuantizer.load(self, model, spec)))  # fmt: skip


def thaw(_self, _model, loaded):
    next(loaded.model.parameters()).requires_grad_(True)
    return loaded


def train_mode(_self, _model, loaded):
    loaded.model.train()
    return loaded


def add_noise(_self, _model, loaded):
    import torch

    for parameter in loaded.model.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    return loaded


def lose_weights(_self, _model, loaded):
    for name, parameter in loaded.model.named_parameters():
        if "layers" in name or "embed" in name:
            parameter.data.copy_(parameter.data.flip(0))
    return loaded


def keep_first(self, _model, loaded):
    self.first = getattr(self, "first", loaded)
    return self.first


def leave_note(_self, model, loaded):
    (Path(model.path) / "acme-cache.json").write_text("{}")
    return loaded


def attaching(fault, check, change):
    """Return an adapter whose outcome is changed."""
    return made("adapter", PeftAdapter, fault, check,
                attach=lambda self, loaded, spec: change(self, loaded, PeftAdapter.attach(self, loaded, spec)))  # fmt: skip


def halve(_self, _base, found):
    import torch

    for parameter in found.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    return found


def freeze(_self, _base, found):
    found.model.requires_grad_(False)
    return found


def thaw_base(_self, _base, found):
    for name, parameter in found.model.named_parameters():
        if "norm" in name:
            parameter.requires_grad_(True)
    return found


def save_pickle(_self, _base, found):
    def save(folder):
        found.save_adapter(folder)
        (folder / "state.pkl").write_bytes(pickle.dumps({}))

    return replace(found, save_adapter=save)


def save_beside(_self, _base, found):
    def save(folder):
        found.save_adapter(folder)
        (folder.parent / "notes.json").write_text("{}")

    return replace(found, save_adapter=save)


def save_silently(_self, _base, found):
    def save(folder):
        try:
            found.save_adapter(folder)
        except Exception:  # noqa: BLE001 - this is the fault
            print("could not save")

    return replace(found, save_adapter=save)


def draw_anew(_self, _base, found):
    import torch

    draw = torch.Generator()
    draw.seed()
    for parameter in found.model.parameters():
        if parameter.requires_grad:
            parameter.data += torch.rand(parameter.shape, generator=draw)
    return found


def change_base(_self, _base, found):
    def save(folder):
        found.save_adapter(folder)
        next(p for p in found.model.parameters() if not p.requires_grad).data.add_(1e-3)

    return replace(found, save_adapter=save)


def switch_off(_self, _base, found):
    found.model.disable_adapter_layers()
    return found


def detach(_self, _base, found):
    for name, parameter in found.model.named_parameters():
        if "lora_A" in name:
            parameter.register_hook(lambda gradient: gradient * 0)
    return found


def fitting(fault, check, change=None, **members):
    """Return a trainer whose outcome is changed."""
    if change is not None:
        members["fit"] = lambda self, job: change(self, job, Sgd.fit(self, job))
    return made("trainer", Sgd, fault, check, **members)


class _AllSupervised:
    """Rows in which every token carries loss."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        row = self._rows[index]
        return replace(row, supervised=[1] * len(row.input_ids))


def touch_base(_self, job, result):
    next(p for p in job.loaded.model.parameters() if not p.requires_grad).data.add_(1e-3)
    return result


def shake(_self, job, result):
    import random

    for parameter in job.loaded.model.parameters():
        if parameter.requires_grad:
            parameter.data += 1e-3 * random.SystemRandom().random()
    return result


def spoil(_self, job, result):
    next(p for p in job.loaded.model.parameters() if p.requires_grad).data.fill_(float("nan"))
    return result


def learn_nothing(self, job):
    import copy

    model = job.loaded.model
    before = copy.deepcopy(model.state_dict())
    result = Sgd.fit(self, job)
    model.load_state_dict(before)
    return result


def go_on_elsewhere(self, job):
    """Resume, and lose a little of what was learned."""
    import torch

    if job.resume_from is not None:
        step = job.on_step

        def lose(number):
            with torch.no_grad():
                next(p for p in job.loaded.model.parameters() if p.requires_grad).mul_(0.999)
            step(number)

        job = replace(job, on_step=lose)
    return TrlTrainer.fit(self, job)


def answering(fault, check, change):
    """Return a generator whose answers are changed."""
    return made("generator", OneByOne, fault, check,
                generate=change)  # fmt: skip


def own(self, loaded, prompts, spec):
    return list(OneByOne.generate(self, loaded, prompts, spec))


def by_length(self, loaded, prompts, spec):
    return own(self, loaded, sorted(prompts, key=lambda prompt: len(prompt.input_ids)), spec)


def with_stop(self, loaded, prompts, spec):
    found = own(self, loaded, prompts, spec)
    return [
        each if each.truncated else replace(each, token_ids=[*each.token_ids, loaded.stop_ids[0]]) for each in found
    ]


def ignoring_limit(self, loaded, prompts, spec):
    return own(self, loaded, [replace(prompt, max_new_tokens=prompt.max_new_tokens + 2) for prompt in prompts], spec)


def second_best(_self, loaded, prompts, _spec):
    answers = []
    for prompt in prompts:
        import torch

        with torch.no_grad():
            chosen = loaded.model(input_ids=torch.tensor([list(prompt.input_ids)])).logits[0, -1].topk(2).indices[1]
        answers.append(Completion([int(chosen)], loaded.tokenizer.decode([int(chosen)]), truncated=True))
    return answers


def left_in_eval(self, loaded, prompts, spec):
    found = own(self, loaded, prompts, spec)
    loaded.model.eval()
    return found


def needs_a_prompt(self, loaded, prompts, spec):
    assert prompts[0]
    return own(self, loaded, prompts, spec)


def by_neighbours(self, loaded, prompts, spec):
    longest = max((len(prompt.input_ids) for prompt in prompts), default=0)
    padded = [replace(p, input_ids=[0] * (longest - len(p.input_ids)) + list(p.input_ids)) for p in prompts]
    return own(self, loaded, padded, spec)


def as_tuned(self, loaded, prompts, spec):
    self.kept = getattr(self, "kept", {})
    keys = [tuple(prompt.input_ids) for prompt in prompts]
    missing = [
        prompt
        for key, prompt in zip(keys, prompts, strict=True)
        if (key, prompt.max_new_tokens, loaded.stop_ids) not in self.kept
    ]
    for prompt, answer in zip(missing, own(self, loaded, missing, spec), strict=True):
        self.kept[tuple(prompt.input_ids), prompt.max_new_tokens, loaded.stop_ids] = answer
    return [self.kept[key, prompt.max_new_tokens, loaded.stop_ids] for key, prompt in zip(keys, prompts, strict=True)]


def exporting(fault, check, change, **members):
    """Return an exporter that does more."""
    return made("exporter", Npz, fault, check, **members,
                export=lambda self, source, target, options: change(self, source, target, Npz.export(self, source, target, options)))  # fmt: skip


def write_beside(_self, _source, target, exported):
    (target.parent / "index.json").write_text("{}")
    return exported


def write_into_run(_self, source, _target, exported):
    (source.run_dir / "exported.json").write_text("{}")
    return exported


def copy_answers(_self, source, target, exported):
    (target / "samples.jsonl").write_bytes((source.run_dir / "evaluation" / "predictions-tuned.jsonl").read_bytes())
    return exported


def link_adapter(_self, source, target, exported):
    (target / "adapter.safetensors").symlink_to(source.adapter_dir / "adapter_model.safetensors")
    return exported


def name_by_time(_self, _source, target, exported):
    import time

    (target / "adapter.npz").rename(target / f"adapter-{time.monotonic_ns()}.npz")
    return exported


def take_options(self, source, target, options):
    return Npz.export(self, source, target, {})


BAD = [
    loading("leaves a parameter trainable", "quantizer-freezes", thaw),
    loading("leaves training mode on", "quantizer-freezes", train_mode),
    loading("adds noise", "quantizer-same-twice", add_noise),
    loading("mixes rows of weights up", "quantizer-answers", lose_weights),
    loading("keeps its first base", "quantizer-follows-weights", keep_first),
    loading("has no ids that end", "quantizer-loads", lambda _s, _m, loaded: replace(loaded, stop_ids=())),
    loading("names a type that is none", "quantizer-loads", lambda _s, _m, loaded: replace(loaded, compute_dtype="float32")),
    loading("returns the model alone", "quantizer-loads", lambda _s, _m, loaded: loaded.model),
    loading("writes into the base", "quantizer-reads-only", leave_note),
    attaching("is bf16", "adapter-trainable", halve),
    attaching("trains nothing", "adapter-trainable", freeze),
    attaching("trains norms of the base", "adapter-is-small", thaw_base),
    attaching("says that tuned is base", "adapter-base-only", lambda _s, _b, found: replace(found, base_only=nullcontext)),
    attaching("says nothing of the base", "adapter-complete", lambda _s, base, found: replace(found, base_only=base.base_only)),
    attaching("cannot be saved", "adapter-complete", lambda _s, _b, found: replace(found, save_adapter=None)),
    attaching("loads nothing", "adapter-saves", lambda _s, _b, found: replace(found, load_adapter=lambda folder: None)),
    attaching("saves a pickle", "adapter-files", save_pickle),
    attaching("saves beside its folder", "adapter-files", save_beside),
    attaching("hides a full disk", "adapter-full-disk", save_silently),
    attaching("draws its values anew", "adapter-seeded", draw_anew),
    attaching("changes the base as it saves", "adapter-keeps-base", change_base),
    attaching("stops gradients", "adapter-learns", detach),
    attaching("is switched off", "adapter-takes-part", switch_off),
    fitting("trains on prompts too", "trainer-loss", fit=lambda self, job: Sgd.fit(self, replace(job, rows=_AllSupervised(job.rows)))),
    fitting("says other updates", "trainer-result", lambda _s, _j, result: replace(result, steps=result.steps + 1)),
    fitting("loses its loss", "trainer-result", lambda _s, _j, result: replace(result, train_loss=float("nan"))),
    fitting("returns None", "trainer-result", lambda _s, _j, _result: None),
    fitting("tells no steps", "trainer-tells-steps", fit=lambda self, job: Sgd.fit(self, replace(job, on_step=lambda step: None))),
    fitting("logs nothing", "trainer-logs", fit=lambda self, job: Sgd.fit(self, replace(job, on_log=lambda record: None))),
    fitting("logs NaN", "trainer-logs", fit=lambda self, job: Sgd.fit(
        self, replace(job, on_log=lambda record: job.on_log({**record, "grad_norm": float("nan")})))),
    fitting("changes the base", "trainer-keeps-base", touch_base),
    fitting("ends with NaN", "trainer-learns", spoil),
    fitting("learns nothing", "trainer-learns", fit=learn_nothing),
    fitting("is random", "trainer-seeded", shake),
    fitting("does not stop", "trainer-stops", fit=lambda self, job: Sgd.fit(self, replace(job, stop_reason=lambda: None))),
    made("trainer", TrlTrainer, "loses something as it resumes", "trainer-resumes", fit=go_on_elsewhere),
    answering("sorts by length", "generator-order", by_length),
    answering("drops an answer", "generator-answers", lambda *asked: own(*asked)[1:]),
    answering("returns texts", "generator-answers", lambda *asked: [each.text for each in own(*asked)]),
    answering("keeps the id that ends", "generator-stops", with_stop),
    answering("answers beyond the limit", "generator-limits", ignoring_limit),
    answering("never says truncated", "generator-limits", lambda *asked: [replace(e, truncated=False) for e in own(*asked)]),
    answering("takes the second best", "generator-greedy", second_best),
    answering("leaves evaluation mode on", "generator-keeps-model", left_in_eval),
    answering("needs a prompt", "generator-none", needs_a_prompt),
    answering("attends to padding", "generator-alone", by_neighbours),
    answering("tells another text", "generator-text", lambda *asked: [replace(e, text="Yes.") for e in own(*asked)]),
    answering("serves kept answers for the base", "generator-base-too", as_tuned),
    exporting("writes beside its folder", "exporter-inside", write_beside),
    exporting("writes into the run", "exporter-inside", write_into_run),
    exporting("copies answers", "exporter-redacts", copy_answers),
    exporting("links the adapter", "exporter-writes", link_adapter),
    exporting("names files by the time", "exporter-again", name_by_time),
    exporting("says another folder", "exporter-result", lambda _s, source, _t, e: replace(e, path=source.run_dir)),
    exporting("names a reader of its own", "exporter-result", lambda _s, _r, _t, e: replace(e, reader="acme")),
    exporting("says that it is proved", "exporter-result", lambda _s, _r, _t, e: replace(e, state="proved")),
    exporting("returns a path", "exporter-result", lambda _s, _r, target, _e: target),
    made("exporter", Npz, "takes any option", "exporter-unknown-option", check=lambda *_a: None, export=take_options),
]  # fmt: skip
