"""Checks of a base against what it is to be used for: its architecture, its tokenizer, and the settings of the run.

Imported without torch; what needs the model itself loads torch inside a function.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from medtune.data.base.fault import Fault
from medtune.data.base.file_checks import some
from medtune.data.base.folder import Case
from medtune.data.base.headers import AGAIN
from medtune.errors import MedtuneError, SpecError, TrialFailedError

__all__ = [
    "OWN_QUANTIZERS",
    "architecture",
    "attention",
    "decoder",
    "experts",
    "family",
    "padding",
    "positions",
    "quantized",
    "shapes",
    "stored_scheme",
    "targets",
    "tensors",
    "tokenizer",
    "too_few_positions",
    "types",
    "unused",
    "vocabulary",
]

OWN_QUANTIZERS = ("bitsandbytes", "fp8")
"""Quantizers that load a base through transformers, from safetensors."""
_FLOATS = ("F64", "F32", "F16", "BF16")
_MISFIT = "get config.json and weights from the same place"
_NUMBER = re.compile(r"\.\d+(?=\.|$)")


def family(case: Case) -> Iterator[str]:
    """Transformers has a causal language model of the type that config.json names."""
    from medtune.data.base.architecture import family_problem

    problem = family_problem(str(case.base.config.get("model_type")))
    if problem:
        raise Fault(problem, "choose a decoder-only base of a type that it knows")
    yield from ()


def architecture(case: Case) -> Iterator[str]:
    """Transformers can read config.json and build what it describes."""
    from medtune.data.base.architecture import read_architecture

    read_architecture(case.base)
    yield from ()


def decoder(case: Case) -> Iterator[str]:
    """The base predicts the next token: it is no encoder, and no encoder with a decoder."""
    from medtune.data.base.architecture import read_architecture
    from medtune.data.base.causality import sees_later_tokens

    built = read_architecture(case.base)
    if built.has_encoder:
        raise Fault("is an encoder with a decoder", "choose a decoder-only base")
    if sees_later_tokens(built.config):
        raise Fault("is an encoder: its tokens see those that follow", "choose a decoder-only base")
    yield from ()


def stored_scheme(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return by which method a base is quantized already and as which scheme of a spec ("" for none); None if it is not."""
    found = config.get("quantization_config")
    if not found:
        return None
    settings: Mapping[str, Any] = cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
    method = str(settings.get("quant_method") or ("bitsandbytes" if _bits(settings) else "an unknown method"))
    if method != "bitsandbytes":
        return method, ""
    return method, "int8" if settings.get("load_in_8bit") else str(settings.get("bnb_4bit_quant_type") or "fp4")


def quantized(case: Case) -> Iterator[str]:
    """A base that is quantized already is so in the way that the spec asks for, by the library that loads it."""
    stored = stored_scheme(case.base.config)
    if stored is None:
        return
    method, scheme = stored
    if case.spec.quant.quantizer not in OWN_QUANTIZERS:
        yield f"it is quantized already, by {method}; whether quantizer '{case.spec.quant.quantizer}' takes it so is its matter"
        return
    if not scheme or case.spec.quant.quantizer != "bitsandbytes":
        raise Fault(
            f"is quantized already, by {method}, which quantizer '{case.spec.quant.quantizer}' cannot go on from",
            "take the base's repository without quantization; medtune quantizes it as it is loaded",
        )
    if case.spec.quant.scheme != scheme:
        raise Fault(
            f"is quantized already, in {scheme}, and quant.scheme is '{case.spec.quant.scheme}'",
            f"set quant.scheme={scheme} to use it as it is, or take the base without quantization",
        )
    yield f"it is quantized already, in {scheme}, and used as it is"


def types(case: Case) -> Iterator[str]:
    """Weights are stored as floating point numbers; the loader would turn others into something else without a word."""
    if stored_scheme(case.base.config) is not None:
        return
    from medtune.data.base.architecture import read_architecture

    known = {name for name, _parameter in read_architecture(case.base).model.named_parameters()}
    for name, tensor in case.base.tensors.items():
        is_weight = name.endswith(".weight") and len(tensor.shape) > 1
        if tensor.dtype not in _FLOATS and (is_weight or any(_same(name, other) for other in known)):
            raise Fault(f"has weights that are no floating point numbers: '{name}' is stored as {tensor.dtype}", AGAIN)
    yield from ()


def tensors(case: Case) -> Iterator[str]:
    """Every parameter of the architecture is in the files; one that is not would be random."""
    from medtune.data.base.architecture import verdict_of

    found = verdict_of(case.base)
    if found.missing:
        others = f", while the files hold {some(found.unused)}" if found.unused else ""
        raise Fault(f"lacks {len(found.missing)} tensors of its architecture: {some(found.missing)}{others}", _MISFIT)
    yield from ()


def shapes(case: Case) -> Iterator[str]:
    """Every parameter has the shape that config.json says."""
    from medtune.data.base.architecture import verdict_of

    wrong = verdict_of(case.base).other_shapes
    if wrong:
        name, held, needed = wrong[0]
        raise Fault(
            f"has {len(wrong)} tensors of another shape than its config.json says: '{name}' is {held}, not {needed}",
            _MISFIT,
        )
    yield from ()


def unused(case: Case) -> Iterator[str]:
    """What the architecture does not take belongs to no part of it: a further layer or a bias would be left out."""
    from medtune.data.base.architecture import read_architecture, verdict_of

    extra = verdict_of(case.base).unused
    model = read_architecture(case.base).model
    modules = {name for name, _module in model.named_modules() if name}
    numbered = {_NUMBER.sub(".#", name) for name in model.state_dict()}
    belonging = [
        name
        for name in extra
        if (name.rpartition(".")[0] in modules and name.rpartition(".")[2] in ("weight", "bias"))
        or _NUMBER.sub(".#", name) in numbered
        or ".lora_" in name
    ]
    if belonging:
        raise Fault(
            f"holds {len(belonging)} tensors that its config.json leaves out of the model: {some(tuple(belonging))}",
            _MISFIT,
        )
    if extra:
        yield f"{len(extra)} tensors of its files are not used by a causal language model: {some(extra)}"


def attention(case: Case) -> Iterator[str]:
    """The attention that the spec asks for is one that transformers has for this architecture."""
    from medtune.data.base.architecture import read_architecture

    found = read_architecture(case.base)
    if found.attention == "sdpa" or case.spec.model.attn_implementation == "eager":
        return
    kind = type(found.model).__name__
    if case.spec.model.attn_implementation == "sdpa":
        raise Fault(f"has no sdpa attention in transformers ({kind})", "set model.attn_implementation=auto")
    yield f"attention is eager: transformers has no sdpa for {kind}"


def positions(case: Case) -> Iterator[str]:
    """A row is no longer than the positions that the base knows."""
    from medtune.data.base.architecture import positions_of

    if fault := too_few_positions(positions_of(case.base), case.spec.train.max_length):
        raise fault
    yield from ()


def too_few_positions(known: object, length: int) -> Fault | None:
    """Return what is wrong with rows longer than the positions that a base is known to have; None where nothing is."""
    if not isinstance(known, int) or not 0 < known < length:
        return None
    return Fault(
        f"knows {known:,} positions, fewer than train.max_length {length:,}", f"set train.max_length to {known} or less"
    )


def tokenizer(case: Case) -> Iterator[str]:
    """The tokenizer can be loaded, without code and with something to pad with."""
    _tokenizer_of(case)
    yield from ()


def padding(case: Case) -> Iterator[str]:
    """The token that pads has a row in the embedding."""
    from medtune.data.base.architecture import read_architecture

    rows, pad = read_architecture(case.base).rows, int(_tokenizer_of(case).pad_token_id)
    if pad >= rows:
        raise Fault(
            f"has {rows:,} rows in its embedding, and its tokenizer pads with token {pad}",
            "name another pad_token in tokenizer_config.json",
        )
    yield from ()


def vocabulary(case: Case) -> Iterator[str]:
    """Every token of the tokenizer has a row in the embedding."""
    from medtune.data.base.architecture import read_architecture

    rows, ids = read_architecture(case.base).rows, _tokenizer_of(case).get_vocab().values()
    beyond = sorted(token for token in ids if token >= rows)
    if beyond:
        raise Fault(
            f"has {rows:,} rows in its embedding, and its tokenizer {len(beyond)} tokens beyond, from {beyond[0]} on",
            "use the tokenizer that belongs to these weights",
        )
    yield from ()


def targets(case: Case) -> Iterator[str]:
    """Every name in lora.target_modules is one of the base's layers, and an adapter on it takes part."""
    from medtune.data.base.architecture import read_architecture
    from medtune.data.base.targets import fused_target, transposed_target, unknown_target

    if case.spec.lora.backend == "peft":
        model, lora = read_architecture(case.base).model, case.spec.lora
        if problem := unknown_target(model, lora):
            raise Fault(f"does not have all of the spec's targets: {problem}", "name layers that it has")
        if name := transposed_target(model, lora):
            raise Fault(
                f"keeps the weight of '{name}' transposed (Conv1D), which peft's lora.init 'olora' does not mind",
                "use another lora.init",
            )
        if problem := fused_target(model, lora):
            raise Fault(f"cannot have an adapter on all of the spec's targets: {problem}", "name those")
    yield from ()


def experts(case: Case) -> Iterator[str]:
    """What an adapter of a mixture of experts changes is said, and no dropout is asked for that peft does not have there."""
    from medtune.data.base.architecture import read_architecture
    from medtune.data.base.targets import expert_targets, expert_weights, reach, routers

    model, lora = read_architecture(case.base).model, case.spec.lora
    stacked = expert_weights(model)
    if not stacked or lora.backend != "peft":
        return
    named = expert_targets(model, lora)
    if named:
        raise Fault(
            f"has its experts in stacked weights ('{named[0]}'), whose adapter cannot be proved once it is saved",
            "leave the experts out of lora.target_modules",
        )
    reached, all_of_them = reach(model, lora)
    share = reached / all_of_them
    left = f"; {len(routers(model))} routers are left out" if routers(model) else ""
    yield f"the adapter reaches {share:.1%} of the weights of a mixture of experts{left}"


def _tokenizer_of(case: Case) -> Any:
    from medtune.data.tokenizer import load_tokenizer

    if case.base.tokenizer is not None:
        return case.base.tokenizer
    try:
        case.base.tokenizer = load_tokenizer(case.spec.model.model_copy_with(path=str(case.base.path)))
    except TrialFailedError:
        raise
    except SpecError as error:
        if str(error).startswith(("model.template_options", "model.pad_token")):
            raise  # a setting of the run is at fault, and it says so
        raise Fault(f"has a tokenizer that cannot be used: {error}", "get its tokenizer files again") from error
    except MedtuneError as error:
        raise Fault(f"has a tokenizer that cannot be used: {error}", "get its tokenizer files again") from error
    return case.base.tokenizer


def _same(stored: str, parameter: str) -> bool:
    """Whether a tensor bears a parameter's name, perhaps without what the loader puts before it or takes away."""
    return stored == parameter or parameter.endswith(f".{stored}") or stored.endswith(f".{parameter}")


def _bits(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("load_in_4bit") or settings.get("load_in_8bit"))
