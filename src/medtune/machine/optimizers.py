"""Which optimizer does what a spec's name says, on the device that trains."""

__all__ = ["runs_as"]

_PAGED = "paged_adamw_32bit"
_WORTH_PAGING = 2**30
"""Bytes of optimizer state from which it may leave the device; the adapters of the defaults take 0.16 GiB."""
_MOMENTS, _FP32 = 2, 4


def runs_as(optim: str, trained: int, *, on_gpu: bool) -> str:
    """Return transformers' name of the optimizer that runs.

    A paged AdamW in 32 bits pages only a state that is worth it. A smaller one stays on the GPU under torch's fused AdamW:
    the same arithmetic in one launch instead of one per tensor, and an update that is not finite is left out by the device
    itself, so that no step waits for the host.

    Args:
        optim: as the spec says.
        trained: values of the adapter.
        on_gpu: whether a CUDA GPU trains.
    """
    is_small = trained * _MOMENTS * _FP32 < _WORTH_PAGING
    return "adamw_torch_fused" if on_gpu and is_small and optim == _PAGED else optim
