"""Checks on quantizers, on a tiny base."""

# pyright: reportUnnecessaryIsInstance=false
# What foreign code gives may be anything, whatever its types say.

from typing import Any

from medtune.errors import SpecError
from medtune.plugins.contracts import Loaded
from medtune.specs import ModelSpec, QuantSpec
from medtune.testing.conformance.checks import Case, NotTriedError, check
from medtune.testing.conformance.models import base_of, files_below, kept, logits

__all__: list[str] = []

_LEAST_LIKENESS = 0.9
"""Cosine of logits to those of the base in fp32; 4 bits give 0.98 on this base."""


@check(
    "quantizer-loads",
    "quantizer",
    "load returns a Loaded: model, tokenizer, device, type of products, ids that end an answer.",
    is_heavy=True,
)
def gives_loaded(case: Case) -> str | None:
    """Load the tiny base."""
    found = _loaded(case)
    if not isinstance(found, Loaded):
        return f"load returned a {type(found).__name__}"
    if found.compute_dtype not in {"bf16", "fp16", "fp32"}:
        return f"compute_dtype is {found.compute_dtype!r:.20}"
    if not found.stop_ids or not all(isinstance(each, int) for each in found.stop_ids):
        return "stop_ids holds no token ids"
    if found.tokenizer is None or found.tokenizer.pad_token_id is None:
        return "the tokenizer has no pad token"
    if not isinstance(found.scheme, str) or not found.scheme:
        return "scheme is no text"
    return None if str(found.device).split(":")[0] in {"cpu", "cuda"} else f"device is {found.device!r:.20}"


@check(
    "quantizer-freezes",
    "quantizer",
    "Every parameter of what was loaded is frozen, and the model in evaluation mode.",
    is_heavy=True,
)
def freezes(case: Case) -> str | None:
    """Look at the parameters."""
    model = _loaded(case).model
    if any(parameter.requires_grad for parameter in model.parameters()):
        return "some parameters are trainable"
    return "the model is in training mode" if model.training else None


@check(
    "quantizer-answers",
    "quantizer",
    "The loaded model computes finite logits close to those of the base in fp32.",
    is_heavy=True,
)
def answers(case: Case) -> str | None:
    """Compare the logits."""
    import torch

    found, reference = logits(_loaded(case).model), logits(base_of(case.bench).model)
    if found.shape != reference.shape:
        return f"logits of shape {tuple(found.shape)} instead of {tuple(reference.shape)}"
    if not bool(torch.isfinite(found).all()):
        return "some logits are not finite"
    likeness = float(torch.nn.functional.cosine_similarity(found.flatten(), reference.flatten(), dim=0))
    return f"the logits are like the base's to {likeness:.2f} only" if likeness < _LEAST_LIKENESS else None


@check("quantizer-same-twice", "quantizer", "Loading again gives the same model to the bit.", is_heavy=True)
def loads_the_same(case: Case) -> str | None:
    """Load twice."""
    import torch

    one, two = _loaded(case).model, _load(case).model
    return None if torch.equal(logits(one), logits(two)) else "the second load computes other logits"


@check("quantizer-reads-only", "quantizer", "Loading writes nothing into the folder of the base.", is_heavy=True)
def reads_only(case: Case) -> str | None:
    """Compare the folder's files."""
    base_of(case.bench)
    folder = case.bench.folder / "tiny-base"
    before = files_below(folder)
    _load(case)
    return None if files_below(folder) == before else "the folder of the base changed"


@check(
    "quantizer-follows-weights",
    "quantizer",
    "What is loaded is the base it was asked for, not one kept from before.",
    is_heavy=True,
)
def follows_weights(case: Case) -> str | None:
    """Load another base."""
    import torch

    first = logits(_loaded(case).model)
    base = base_of(case.bench)
    with torch.no_grad():
        for parameter in base.model.parameters():
            parameter.mul_(1.5)
    folder = case.bench.fresh("other-base")
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    other = case.thing.load(ModelSpec(name="tiny/other", path=str(folder)), _scheme(case))
    return "another base gave the same logits" if torch.equal(first, logits(other.model)) else None


def _loaded(case: Case) -> Any:
    return kept(case.bench, ("loaded by quantizer", case.name), lambda: _load(case))


def _scheme(case: Case) -> QuantSpec:
    found: QuantSpec = case.bench.kept["scheme of quantizer", case.name]
    return found


def _load(case: Case) -> Any:
    """Load the tiny base by the first scheme that goes here."""
    base_of(case.bench)
    model, reason = ModelSpec(name="tiny/base", path=str(case.bench.folder / "tiny-base")), ""
    schemes = sorted(
        getattr(case.thing, "schemes", ()) or ("none", "nf4", "int8", "fp8"), key=lambda each: each != "none"
    )
    for scheme in schemes:
        try:
            spec = QuantSpec.model_validate({"scheme": scheme, "compute_dtype": "fp32"})
            found = case.thing.load(model, spec)
        except (SpecError, ImportError) as error:
            reason = str(error) if isinstance(error, SpecError) else f"'{error.name}' is not installed"
        else:
            case.bench.kept["scheme of quantizer", case.name] = spec
            return found
    raise NotTriedError(f"it says that it cannot load here: {reason}")
