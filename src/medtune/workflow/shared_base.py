"""One base in memory for several runs: handed out without an adapter, and only as long as it is what was loaded."""

import gc
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from medtune.plugins.contracts import Loaded
from medtune.specs import ModelSpec, QuantSpec
from medtune.workflow.saved_adapter import probe

__all__ = ["SharedBase"]


class SharedBase:
    """Keeps the base that was loaded last.

    An adapter is taken off before the base is handed out again. Then its modules must be those that were loaded and it must
    answer as before, to the bit; a base for which that does not hold is loaded anew.

    Args:
        on_stage: told in a sentence why a base is loaded anew.
    """

    def __init__(self, on_stage: Callable[[str], None] = lambda _sentence: None) -> None:
        self._on_stage = on_stage
        self._key: tuple[ModelSpec, QuantSpec] | None = None
        self._base: Loaded | None = None
        self._adapter: Loaded | None = None
        self._was: tuple[list[tuple[str, ...]], Any] | None = None
        self.loads = 0

    def holds(self, model: ModelSpec, quant: QuantSpec) -> bool:
        """Whether that base is in memory and unchanged; an adapter on it is taken off."""
        if self._base is None or self._key != (model, quant):
            return False
        if self._adapter is None:  # attaching one failed, perhaps half way
            return self._lost("an adapter could not be attached to it")
        if self._adapter.detach is None:
            return self._lost("its adapter's backend cannot take the adapter off (Loaded.detach)")
        self._base = replace(self._base, model=self._adapter.detach())
        self._adapter = None
        if not self._is_as_loaded(self._base):
            return self._lost("it is not what it was once the adapter was taken off")
        return True

    def take(self, model: ModelSpec, quant: QuantSpec, load: Callable[[], Loaded]) -> Loaded:
        """Return the base without an adapter; ``holds`` is asked before.

        Args:
            model: where it comes from.
            quant: how it is stored.
            load: loads it, from generators that were just seeded.
        """
        if self._base is not None and self._key == (model, quant) and self._adapter is None and self._was is not None:
            return self._handed_out()
        self.drop()
        before = _drawn()
        found = load()
        self.loads += 1
        if _drawn() != before:  # the adapter's first values would differ on a base that is not loaded for it
            return found
        self._key, self._base = (model, quant), found
        self._was = (list(_told_of_modules(found.model)), probe(found))
        return self._handed_out()

    def attached(self, loaded: Loaded) -> None:
        """Take note of the adapter that was attached to the base which was handed out last."""
        if self._base is not None:
            self._adapter = loaded

    def drop(self) -> None:
        """Free the base, as after a failure, which may have left it in any state."""
        self._key = self._base = self._adapter = self._was = None
        free_memory()

    def _handed_out(self) -> Loaded:
        base = self._base
        assert base is not None  # noqa: S101 - its callers have one
        return base

    def _lost(self, reason: str) -> bool:
        self._on_stage(f"the base model in memory is given up: {reason}")
        self.drop()
        return False

    def _is_as_loaded(self, base: Loaded) -> bool:
        import torch

        if self._was is None:
            return False
        modules, logits = self._was
        return list(_told_of_modules(base.model)) == modules and bool(torch.equal(probe(base), logits))


def free_memory() -> None:
    """Free what nothing refers to any more, on a GPU too."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _told_of_modules(model: Any) -> Iterator[tuple[str, ...]]:
    """Yield name and kind of every module, and what was hung onto it."""
    for name, module in model.named_modules():
        held = vars(module)
        hooks = len(held["_forward_hooks"]) + len(held["_forward_pre_hooks"])
        own = str(held.get("forward", ""))
        yield name, type(module).__name__, str(hooks), own, str(getattr(module, "gradient_checkpointing", ""))


def _drawn() -> tuple[bytes, ...]:
    """Return the states of all generators."""
    import numpy as np
    import torch

    states = [repr(random.getstate()).encode(), repr(np.random.get_state()).encode()]  # noqa: NPY002
    tensors = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]
    return (*states, *(bytes(state.numpy()) for state in tensors))
