"""What the processes do that share a base: the victim that ``test_sharded`` gives to the laboratory, and no test itself."""

import shutil
from pathlib import Path

from medtune.errors import MedtuneError, OtherProcessError
from medtune.machine.hardware import is_first_rank, world_size
from medtune.specs import ModelSpec, QuantSpec
from medtune.testing import tiny_run, tuned_run
from medtune.testing.tiny_run import TIMED  # noqa: F401 - for the tests


def warm_up():
    tuned_run.warm_up()


def act(folder, options):
    """Do one of the things below, in every process."""
    return globals()[options["do"]](folder, options)


def small(folder, options):
    return tiny_run.tiny_run(folder, options)


def whole(folder, options):
    try:
        return tuned_run.tuned_run(folder, options)
    except FileNotFoundError:
        if is_first_rank():
            raise
        return None  # with whole bases the others do not wait for the first, which saves the adapter


def look(folder, options):
    """Load a base sharded and whole, and compare what lies where and what they say."""
    import torch

    sharded, plain = _loaded(options["base"], options["scheme"])
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        differs = (sharded.model(input_ids=ids).logits - plain.model(input_ids=ids).logits).abs().max().item()
    answers = []
    with sharded.in_step():
        for length in (3, 7) if is_first_rank() else ():  # the other process has nothing to answer
            asked = {"input_ids": ids[:, :length], "max_new_tokens": 4, "do_sample": False}
            with torch.inference_mode():
                answers.append(torch.equal(sharded.model.generate(**asked), plain.model.generate(**asked)))
    layers = [p for layer in sharded.model.model.layers for p in layer.parameters()]
    return {
        "differs": differs,
        "answers": answers,
        "kinds": sorted({type(p).__name__ for p in layers}),
        "rows": [[len(p), len(p.to_local())] for p in layers],
        "beside": [type(p).__name__ for p in (sharded.model.lm_head.weight, sharded.model.model.embed_tokens.weight)],
    }


def fail_beside(folder, options):
    """Let the second process fail between two passes of the first."""
    import torch

    sharded, _ = _loaded(options["base"], "none")
    try:
        with sharded.in_step():
            for _ in range(2):
                _in_trouble_unless(first=is_first_rank())
                sharded.model(input_ids=torch.ones(1, 3, dtype=torch.long))
    except TroubleError:
        return None
    except OtherProcessError as error:
        return str(error)
    return "nobody was told"


def _in_trouble_unless(*, first):
    if not first:
        raise TroubleError


class TroubleError(MedtuneError):
    def __init__(self):
        super().__init__("there is trouble")


def refuse(folder, options):
    """Return what is said of a base that stays whole on a process, and of files that lack a tensor."""
    from safetensors.torch import load_file, save_file

    from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
    from medtune.backends.sharded.layers import require_sharded

    said = []
    base = Path(options["base"])
    sharded, plain = _loaded(base, "none")
    said.append(_refusal(lambda: require_sharded(plain.model, world_size())))
    said.append(_refusal(lambda: require_sharded(sharded.model, world_size() + 1)))
    other = folder / f"lacking-{is_first_rank()}"
    shutil.copytree(base, other)
    tensors = load_file(base / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    spec = QuantSpec(scheme="none", compute_dtype="fp32")
    said.append(_refusal(lambda: BitsAndBytesQuantizer().load_sharded(ModelSpec(path=str(other)), spec)))
    return said


def _refusal(call):
    try:
        call()
    except MedtuneError as error:
        return f"{type(error).__name__}: {error}"
    return "it was taken"


def _loaded(base, scheme):
    """Return the base sharded, and whole."""
    from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
    from medtune.backends.fp8 import Fp8Quantizer

    quantizer = Fp8Quantizer() if scheme == "fp8" else BitsAndBytesQuantizer()
    spec = QuantSpec(scheme=scheme, backend=quantizer.name, compute_dtype="fp32")
    model = ModelSpec(path=str(base))
    return quantizer.load_sharded(model, spec), quantizer.load(model, spec)
