"""The tensors of a tuned model, one at a time: base, storage rounding and adapter put together as they are asked for."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from medtune.data.base.folder import BaseFolder
from medtune.data.base.headers import Tensor
from medtune.errors import SpecError
from medtune.export.adapter_delta import AdapterDelta, read_delta
from medtune.plugins.contracts import ExportSource

__all__ = ["SOURCES", "TunedWeights", "base_source"]

SOURCES = ("trained", "original")
"""Values of the base that an adapter can be merged into: those that it was trained on, or those before storage rounded them."""


class TunedWeights:
    """The tensors of base and adapter together; no more than one is in memory.

    Args:
        source: the run.
        values: "trained" or "original".

    Raises:
        SpecError: the adapter changes what the base's files do not hold, or the base is stored in a way that is not read.
    """

    def __init__(self, source: ExportSource, values: str) -> None:
        self._source = source
        self._stored_as = source.stored_as if values == "trained" else None
        self.folder = BaseFolder(source.base_dir)
        self.delta: AdapterDelta = read_delta(source.adapter_dir)
        self._open: tuple[str, Any] | None = None
        _require_plain(self.folder)
        lacking = sorted(self.delta.names - self.names.keys())
        if lacking:
            raise SpecError(
                f"the adapter changes {len(lacking)} tensors that no file of the base holds under that name, such as "
                f"'{lacking[0]}'; it cannot be merged, export it as an adapter"
            )
        self._refuse_tied()

    @cached_property
    def names(self) -> Mapping[str, Tensor]:
        """Name of each tensor -> where it lies."""
        return self.folder.tensors

    def read(self, name: str) -> Any:
        """Return a tensor of the tuned model: in fp32 where the adapter changes it, else in the type it is stored in."""
        value = self.base(name)
        if name in self.delta.layers:
            return self.delta.layers[name].apply(value)
        if name in self.delta.biases:
            return self.delta.biases[name]
        return value

    def base(self, name: str) -> Any:
        """Return a tensor of the base, as storage left it."""
        from safetensors import safe_open

        file = str(self.names[name].file)
        if self._open is None or self._open[0] != file:
            self._open = None  # the former one is closed first
            self._open = (file, safe_open(file, "pt"))
        value = self._open[1].get_tensor(name)
        return value if self._stored_as is None else self._stored_as(name, value)

    def in_order(self) -> Iterator[str]:
        """Yield the names file by file, so that each file is opened once."""
        yield from sorted(self.names, key=lambda name: (str(self.names[name].file), self.names[name].start))

    def _refuse_tied(self) -> None:
        """A weight that stands for two layers cannot hold the adapter of one."""
        if not self.folder.config.get("tie_word_embeddings"):
            return
        tied = [n for n in self.delta.names if n.rpartition(".")[0].endswith(("lm_head", "embed_tokens", "embed_out"))]
        if tied:
            raise SpecError(
                f"the adapter changes '{tied[0]}', whose weight the base shares between embedding and head; it cannot be "
                "merged, export it as an adapter"
            )


def base_source(source: ExportSource, wanted: str) -> str:
    """Return which values of the base are taken; "auto" is what the run computed with.

    Raises:
        SpecError: "trained" is asked for and the run's quantizer cannot say what it made of the base.
    """
    rounds = source.spec.quant.scheme != "none"
    if wanted == "auto":
        return "trained" if rounds and source.stored_as is not None else "original"
    if wanted == "trained" and rounds and source.stored_as is None:
        raise SpecError(
            f"quantizer '{source.spec.quant.quantizer}' does not say what scheme '{source.spec.quant.scheme}' makes of a "
            "weight (stored_as); use source=original"
        )
    return wanted if rounds else "original"


def _require_plain(folder: BaseFolder) -> None:
    if folder.config.get("quantization_config"):
        raise SpecError(
            f"the base '{folder.path}' is stored quantized, and its packed weights are not read; train on the base before "
            "it was quantized (quant.scheme says how it is stored), or export as an adapter"
        )
