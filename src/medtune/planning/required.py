"""Refuses a run whose backends are not there, or cannot do what is asked of them, before anything is loaded."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from medtune.errors import InvalidValueError, PluginError, UnknownKeyError, UnknownNameError
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec
from medtune.specs.model import QUANT_SCHEMES

__all__ = ["bits_of", "require_backends"]


def require_backends(spec: RunSpec, host: PluginHost, device: str | None = None) -> dict[str, str]:
    """Return kind -> name of the backends in use.

    Args:
        spec: the run.
        host: the plugins.
        device: kind of the device that trains; None where it is not known.

    Raises:
        UnknownNameError: one of them is not registered, or the quantizer has no such scheme.
        UnknownKeyError, InvalidValueError: a backend does not take an option, by its path in the spec.
        SpecError: the adapter's or the trainer's backend refuses what is asked of it.
    """
    used = {
        "quantizer": spec.quant.quantizer,
        "adapter": spec.lora.backend,
        "trainer": spec.train.backend,
        "generator": spec.eval.backend,
    }
    if spec.data.formatter != "auto":
        used["formatter"] = spec.data.formatter
    found = {kind: host.find(kind, name) for kind, name in used.items()}
    for kind, part, options in (
        ("quantizer", "quant", spec.quant.options),
        ("adapter", "lora", spec.lora.options),
        ("trainer", "train", spec.train.options),
        ("generator", "eval", spec.eval.options),
    ):
        _require_options(found[kind], f"{kind} '{used[kind]}'", f"{part}.options", options)
    _require_scheme(found["quantizer"], spec)
    refuse = getattr(found["adapter"], "check", None)
    if refuse is not None:
        refuse(spec.lora, spec.quant.scheme, device)
    refuse = getattr(found["trainer"], "check", None)
    if refuse is not None:
        refuse(spec.train)
    return {"formatter": "auto", **used}


def bits_of(spec: RunSpec, host: PluginHost) -> float | None:
    """Return how many bits a parameter takes in a scheme of the quantizer's own, None where it does not say."""
    stated: Mapping[str, float] = getattr(host.find("quantizer", spec.quant.quantizer), "bits_per_parameter", {})
    return stated.get(spec.quant.scheme)


def _require_scheme(quantizer: Any, spec: RunSpec) -> None:
    """Refuse a scheme that the quantizer does not state; one that states none is asked for medtune's."""
    known = getattr(quantizer, "schemes", QUANT_SCHEMES)
    if spec.quant.scheme not in (*known, "auto"):
        raise UnknownNameError(f"scheme of quantizer '{spec.quant.quantizer}'", spec.quant.scheme, known)


def _require_options(backend: Any, label: str, path: str, given: Mapping[str, Any]) -> None:
    """Hold options against the backend's own model; without one it takes none."""
    model: Any = getattr(backend, "options", None)
    if model is None:
        if given:
            first = f"{path}.{next(iter(given))}"
            raise InvalidValueError(first, f"'{path}'", f"{label} takes no options")
        return
    if not (isinstance(model, type) and issubclass(model, BaseModel) and model.model_config.get("extra") == "forbid"):
        raise PluginError(f"options of {label} must be a pydantic model that forbids extra fields")
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        first_error = error.errors(include_url=False, include_input=False)[0]
    else:
        return
    key = ".".join([path, *map(str, first_error["loc"])])
    if first_error["type"] == "extra_forbidden" and len(first_error["loc"]) == 1:
        raise UnknownKeyError(key, f"'{path}'", model.model_fields)
    raise InvalidValueError(key, f"'{key}'", first_error["msg"].removeprefix("Value error, "))
