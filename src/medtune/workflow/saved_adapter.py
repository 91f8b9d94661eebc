"""Proves that a saved adapter answers as the trained model did: it is loaded again, and the logits of both are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import UnsafeAdapterError, UnsafeArtifactError
from medtune.plugins.contracts import Loaded

__all__ = ["Trained", "probe", "prove_base_only", "prove_saved", "remember"]

_TOKENS = 16
_TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 3e-2}
"""Largest difference of two logits, as a share of the largest logit, that rounding in a compute type makes.

Measured on one layer: 0 in every type where saving changes no value; pissa and olora are saved as a difference, which rounds:
4e-7 in fp32, 9e-4 in fp16, 7e-3 in bf16."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What is kept of a trained model to compare with: the logits of a few tokens, and its trained values on the host."""

    logits: Any
    values: Mapping[str, Any]


def remember(loaded: Loaded) -> Trained:
    """Return what ``prove_saved`` compares with."""
    values = {name: p.detach().to("cpu", copy=True) for name, p in loaded.model.named_parameters() if p.requires_grad}
    return Trained(probe(loaded), values)


def probe(loaded: Loaded) -> Any:
    """Return the logits of a few tokens, evenly spread over the vocabulary, as fp32 on the host: [tokens, vocabulary]."""
    import torch

    model = loaded.model
    known = model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(_TOKENS, device=loaded.device)[None] * (known // _TOKENS or 1) % known
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return model(input_ids=ids, use_cache=False).logits[0].float().cpu()
    finally:
        model.train(was_training)


def prove_base_only(loaded: Loaded, base: Any) -> None:
    """Check that the model answers without its adapter as the base did before it was attached.

    Args:
        loaded: with its adapter.
        base: from ``probe``, of the base alone.

    Raises:
        UnsafeArtifactError: the base would be scored with what the adapter left in it.
    """
    with loaded.base_only():
        found = _difference(probe(loaded), base)
    if not found <= _TOLERANCE[loaded.compute_dtype]:
        raise UnsafeArtifactError(
            f"without its adapter the model does not answer as its base did (logits differ by {found:.1e} of the largest), so "
            "the base cannot be scored; use lora.init=default, and report it"
        )


def prove_saved(folder: Path, loaded: Loaded, trained: Trained) -> bool:
    """Load the adapter saved in ``folder`` in the place of the trained one, and compare.

    Args:
        folder: what was just saved.
        loaded: the trained model; it holds the saved adapter afterwards.
        trained: from ``remember``, of the trained model.

    Returns:
        False where the adapter's backend cannot load one, and nothing was proved.

    Raises:
        UnsafeAdapterError: the saved adapter is not the trained one.
    """
    if loaded.load_adapter is None:
        return False
    if not trained.logits.isfinite().all():
        raise UnsafeAdapterError(str(folder), "finite", "what was trained answers with logits that are not finite")
    loaded.load_adapter(folder)
    found = _difference(probe(loaded), trained.logits)
    if not found <= _TOLERANCE[loaded.compute_dtype]:  # also where one of them is not a number
        raise UnsafeAdapterError(
            str(folder),
            "logits",
            f"loaded again it does not answer as the trained model did (logits differ by {found:.1e} of the largest)",
        )
    _require_values(folder, loaded, trained)
    return True


def _require_values(folder: Path, loaded: Loaded, trained: Trained) -> None:
    """Compare, bit for bit, the values that are saved in the shape in which they were trained."""
    import torch

    for name, parameter in loaded.model.named_parameters():
        kept = trained.values.get(name)
        if kept is not None and kept.shape == parameter.shape and not torch.equal(kept, parameter.detach().cpu()):
            raise UnsafeAdapterError(
                str(folder), "values", f"loaded again its '{name}' has not the values that were trained"
            )


def _difference(found: Any, wanted: Any) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))
