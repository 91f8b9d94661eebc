"""Proves that a saved adapter answers as the trained model did: it is loaded again, and the logits of both are compared."""

from pathlib import Path
from typing import Any

from medtune.errors import UnsafeAdapterError, UnsafeArtifactError
from medtune.plugins.contracts import Loaded

__all__ = ["probe", "prove_base_only", "prove_saved"]

_TOKENS = 16
_TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 2e-2}
"""Largest difference of two logits, as a share of the largest logit, that rounding in a compute type makes.

Where saving changes no value it is 0; pissa and olora are saved as a difference, which rounds (measured on tiny bases: 5e-7 in
fp32, 4e-3 in bf16)."""


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


def prove_saved(folder: Path, loaded: Loaded, trained: Any) -> bool:
    """Load the adapter saved in ``folder`` in the place of the trained one, and compare.

    Args:
        folder: what was just saved.
        loaded: the trained model; it holds the saved adapter afterwards.
        trained: from ``probe``, of the trained model.

    Returns:
        False where the adapter's backend cannot load one, and nothing was proved.

    Raises:
        UnsafeAdapterError: the saved adapter is not the trained one.
    """
    if loaded.load_adapter is None:
        return False
    loaded.load_adapter(folder)
    found = _difference(probe(loaded), trained)
    if not found <= _TOLERANCE[loaded.compute_dtype]:  # also where one of them is not a number
        raise UnsafeAdapterError(
            str(folder),
            "logits",
            f"loaded again it does not answer as the trained model did (logits differ by {found:.1e} of the largest)",
        )
    return True


def _difference(found: Any, wanted: Any) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))
