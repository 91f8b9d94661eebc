"""The exporters of GGUF files: whole models, and adapters alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.export.llama_cpp.adapter import write_adapter
from medtune.export.llama_cpp.families import Layout, layout_of
from medtune.export.llama_cpp.precisions import PRECISIONS, require_precision
from medtune.export.llama_cpp.splitting import find_splitting, pieces_agree
from medtune.export.llama_cpp.vocabulary import Vocabulary, read_vocabulary
from medtune.export.llama_cpp.writing import WholeModel, write_model
from medtune.export.options import chosen, read_options, switch
from medtune.export.tuned_weights import SOURCES, TunedWeights, base_source
from medtune.plugins.contracts import Exported, ExportSource
from medtune.plugins.origin import told_of

__all__ = ["GgufAdapterExporter", "GgufExporter"]

_EMBEDDING = "model.embed_tokens.weight"
_WHOLE = {"quant": "F16", "source": "auto", "tokens_only": False}
_PART = {**_WHOLE, "keep_base": False}


@dataclass(frozen=True, slots=True)
class _Chosen:
    precision: str
    values: str
    weights: TunedWeights
    layout: Layout
    vocabulary: Vocabulary
    tokens_only: bool


class GgufExporter:
    """Base and adapter as one GGUF file for llama.cpp and what is built on it.

    Options: ``quant`` (type of the weights, F16 by default), ``source`` ("trained", "original", "auto", as for merged),
    ``tokens_only`` (true where prompts are given as ids: the file's own tokenizer is then not proved).

    Args:
        name: of the exporter whose options they are.
        adds_bos: whether the file lets its engine put a bos before a prompt, where the tokenizer does.
    """

    def __init__(self, name: str = "gguf", *, adds_bos: bool = True) -> None:
        self.name, self._adds_bos = name, adds_bos

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("gguf")

    def check(self, source: ExportSource, options: Mapping[str, Any]) -> None:
        """Refuse what cannot be written, before anything is loaded."""
        self._chosen(source, options)

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        """Write ``model-QUANT.gguf``."""
        found = self._chosen(source, options)
        splitting = _splitting(source, found)
        file = target / f"model-{found.precision}.gguf"
        model = WholeModel(
            found.weights, found.layout, found.vocabulary, splitting, found.precision, found.weights.read
        )
        kinds = write_model(file, model)
        facts = {**_facts(source, found, splitting), "tensors": kinds}
        load = {"file": file.name, "tokens_only": found.tokens_only}
        usage = (f"llama-server -m {file.name} --jinja",)
        return Exported(target, "llama.cpp", found.precision, load, facts, usage)

    def _chosen(self, source: ExportSource, options: Mapping[str, Any]) -> _Chosen:
        found = _chosen(self.name, source, options)
        return found if self._adds_bos else replace(found, vocabulary=replace(found.vocabulary, adds_bos=False))


class GgufAdapterExporter:
    """LoRA alone as a GGUF file, to be put on a GGUF file of the base.

    Options: ``quant`` and ``source``, of the base that it is proved on, which is written for that and not kept unless
    ``keep_base`` is true; ``tokens_only``.

    Args:
        name: of the exporter whose options they are.
    """

    def __init__(self, name: str = "gguf-adapter") -> None:
        self.name = name

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("gguf")

    def check(self, source: ExportSource, options: Mapping[str, Any]) -> None:
        """Refuse what cannot be written, before anything is loaded."""
        found = _chosen(self.name, source, options, _PART)
        if found.weights.delta.dora or found.weights.delta.biases:
            what = "DoRA's magnitudes" if found.weights.delta.dora else "trained biases"
            raise SpecError(f"llama.cpp's adapters have no place for {what}; export to gguf, which merges them")

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        """Write ``adapter-F32.gguf``, and beside it the base that it is proved on."""
        found = _chosen(self.name, source, options, _PART)
        splitting = _splitting(source, found)
        file, base = target / "adapter-F32.gguf", target / f"base-{found.precision}.gguf"
        write_adapter(file, found.weights.delta, found.layout)
        model = WholeModel(
            found.weights, found.layout, found.vocabulary, splitting, found.precision, found.weights.base
        )
        write_model(base, model)
        facts = {**_facts(source, found, splitting), "proved_on": base.name}
        load = {"file": base.name, "adapter": file.name, "tokens_only": found.tokens_only}
        keep = switch(self.name, "keep_base", options.get("keep_base", False))
        load |= {} if keep else {"only_for_proof": [base.name]}
        usage = (f"llama-server -m BASE.gguf --lora {file.name} --jinja",)
        return Exported(target, "llama.cpp", found.precision, load, facts, usage)


def _chosen(
    name: str, source: ExportSource, options: Mapping[str, Any], defaults: Mapping[str, Any] = _WHOLE
) -> _Chosen:
    asked = read_options(name, options, defaults)
    precision = chosen(name, "quant", asked["quant"], PRECISIONS)
    values = base_source(source, chosen(name, "source", asked["source"], ("auto", *SOURCES)))
    require_precision(precision)
    layout, weights = layout_of(source.base_dir), TunedWeights(source, values)
    if _EMBEDDING not in weights.names:
        raise SpecError(f"the base has no '{_EMBEDDING}', which GGUF files of its family begin with; export to merged")
    vocabulary = read_vocabulary(source.adapter_dir, weights.names[_EMBEDDING].shape[0], source.stop_ids)
    return _Chosen(precision, values, weights, layout, vocabulary, switch(name, "tokens_only", asked["tokens_only"]))


def _splitting(source: ExportSource, found: _Chosen) -> str | None:
    if found.vocabulary.model != "gpt2" or found.tokens_only:
        return None
    return find_splitting(source.adapter_dir, found.vocabulary)


def _facts(source: ExportSource, found: _Chosen, splitting: str | None) -> dict[str, Any]:
    told = (
        {"texts": "must be in Unicode's NFC: llama.cpp does not put them into it"} if found.vocabulary.composes else {}
    )
    if found.vocabulary.model == "llama" and not found.tokens_only:
        told["probing_texts"] = pieces_agree(source.adapter_dir, found.vocabulary)
    return {
        **told,
        "quant": found.precision,
        "source": found.values,
        "architecture": found.layout.family.architecture,
        "tokenizer": found.vocabulary.model,
        "splitting": splitting or ("not proved: prompts are given as ids" if found.tokens_only else "none"),
    }
