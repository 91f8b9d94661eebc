"""Refuses a run whose backends are not there, or cannot do what is asked of them, before anything is loaded."""

from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec

__all__ = ["require_backends"]


def require_backends(spec: RunSpec, host: PluginHost, device: str | None = None) -> dict[str, str]:
    """Return kind -> name of the backends in use.

    Args:
        spec: the run.
        host: the plugins.
        device: kind of the device that trains; None where it is not known.

    Raises:
        UnknownNameError: one of them is not registered.
        SpecError: the adapter's backend refuses what is asked of it.
    """
    used = {
        "quantizer": spec.quant.quantizer,
        "adapter": spec.lora.backend,
        "trainer": spec.train.backend,
        "generator": spec.eval.backend,
    }
    if spec.data.formatter != "auto":
        used["formatter"] = spec.data.formatter
    for kind, name in used.items():
        host.find(kind, name)
    refuse = getattr(host.find("adapter", spec.lora.backend), "check", None)
    if refuse is not None:
        refuse(spec.lora, spec.quant.scheme, device)
    return {"formatter": "auto", **used}
