"""A model in memory: what a quantizer loads, an adapter's backend attaches to, and a generator asks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from medtune.errors import PluginError
from medtune.specs import LoraSpec, ModelSpec

__all__ = ["AdapterSet", "Loaded", "Side", "told_apart"]


def _nobody_said() -> AbstractContextManager[Any]:
    """Stand for ``base_only`` until ``attach`` sets it: a tuned model must never pass for its base."""
    raise PluginError(
        "this adapter backend does not say how the base answers without the adapter (Loaded.base_only), so the base "
        "cannot be scored; set eval.enabled=false, or use lora.backend=peft"
    )


class AdapterSet(Protocol):
    """Further adapters on a base in memory, one of which takes part at a time."""

    def add(self, name: str, folder: Path, spec: LoraSpec) -> None:
        """Load the adapter saved in ``folder`` beside those that are there; the one in use stays so."""
        ...

    def use(self, name: str | None) -> None:
        """Let one adapter take part; None is the one that ``load_adapter`` loaded."""
        ...

    def remove(self, name: str) -> None:
        """Take an added adapter out of memory."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory with its tokenizer.

    Attributes:
        model: a transformers model, after ``attach`` wrapped with its adapter.
        tokenizer: the tokenizer of the base, with a pad token.
        device: torch device string, such as "cuda:0" or "cpu".
        compute_dtype: "bf16", "fp16" or "fp32".
        stop_ids: token ids that end an answer.
        scheme: storage of the base, such as "nf4".
        save_adapter: writes the adapter into a folder in peft's standard form; set by ``attach``.
        load_adapter: replaces the fresh adapter by the one saved in a folder; set by ``attach``.
        base_only: context manager inside which the model answers as the base does; set by ``attach``, refused before.
        detach: takes the adapter off again and returns the model as it was before ``attach``, to the bit; set by an ``attach``
            that can, so that several runs share a base in memory.
        base: where the base came from; None where nobody said.
        adapters: further adapters on the same base; set by an ``attach`` that can hold several.
        in_step: context manager inside which each process may run its own number of forward passes without gradients; all enter it
            together. A quantizer sets it whose passes all processes have to run together; where none does and several processes
            train, medtune's own lets them answer what the first one asks.
        side: which of the two answers now, kept by medtune; see ``answers_as``.
    """

    model: Any
    tokenizer: Any
    device: str
    compute_dtype: str
    stop_ids: tuple[int, ...]
    scheme: str = "none"
    save_adapter: Callable[[Path], None] | None = None
    load_adapter: Callable[[Path], None] | None = None
    base_only: Callable[[], AbstractContextManager[Any]] = _nobody_said
    detach: Callable[[], Any] | None = None
    base: ModelSpec | None = None
    adapters: AdapterSet | None = None
    in_step: Callable[[], AbstractContextManager[Any]] = nullcontext
    side: "Side | None" = None

    @property
    def answers_as(self) -> Literal["base", "tuned"]:
        """Which model answers now, wherever medtune hands this to a generator: the base inside ``base_only``, else the tuned one."""
        if self.side is None:
            return "base" if self.save_adapter is None else "tuned"
        return self.side.name


@dataclass(slots=True)
class Side:
    """Which of base and tuned model answers."""

    name: Literal["base", "tuned"] = "tuned"


def told_apart(loaded: Loaded) -> Loaded:
    """Return an attached model that says, inside ``base_only`` too, which side answers."""
    side = Side()

    @contextmanager
    def base_only() -> Iterator[Any]:
        with loaded.base_only() as inside:
            before, side.name = side.name, "base"
            try:
                yield inside
            finally:
                side.name = before

    return replace(loaded, base_only=base_only, side=side)
