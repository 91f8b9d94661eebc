"""The exporter of folders for Ollama: a GGUF file, and the Modelfile that says how it is asked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.tokenizer import read_tokenizer
from medtune.errors import SpecError
from medtune.export.llama_cpp.exporters import GgufAdapterExporter, GgufExporter
from medtune.export.llama_cpp.ollama_language import read_modelfile
from medtune.export.llama_cpp.ollama_template import ollama_template, rendering_of, told_apart
from medtune.export.options import chosen, read_options
from medtune.plugins.contracts import Exported, ExportSource

__all__ = ["OllamaExporter"]

_FORMS = ("merged", "adapter")
_DEFAULTS = {"form": "merged", "num_ctx": 0, "num_predict": 0}


class OllamaExporter:
    """A folder that ``ollama create`` takes.

    Options: ``form`` ("merged": one GGUF file; "adapter": the base's and the adapter's), ``num_ctx`` and ``num_predict`` (tokens; by
    default those that the run was trained and scored with), and ``quant`` and ``source`` as for gguf.
    """

    name = "ollama"

    def check(self, source: ExportSource, options: Mapping[str, Any]) -> None:
        """Refuse what cannot be written, before anything is loaded."""
        own, inner, rest = _split(options)
        inner.check(source, rest)
        _modelfile(source, own, "model.gguf", "")

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        """Write the GGUF files of the form and ``Modelfile``."""
        own, inner, rest = _split(options)
        found = inner.export(source, target, rest)
        text, told = _modelfile(source, own, str(found.load["file"]), str(found.load.get("adapter", "")))
        (target / "Modelfile").write_text(text, "utf-8")
        facts = {**found.facts, "form": own["form"], "contents": told}
        if isinstance(source.spec.data.system, Mapping):
            facts["system"] = "differs by source in training: send it with each conversation"
        usage = ("ollama create tuned -f Modelfile", "ollama run tuned")
        return replace(found, load={**found.load, "modelfile": "Modelfile"}, facts=facts, usage=usage)


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], GgufExporter | GgufAdapterExporter, dict[str, Any]]:
    """Return the options of the Modelfile, the exporter of the GGUF files, and its options."""
    if "tokens_only" in options or "keep_base" in options:
        raise SpecError(
            "exporter 'ollama' has no tokens_only and keep_base: Ollama is asked by texts, and on the base given"
        )
    own = read_options("ollama", {key: value for key, value in options.items() if key in _DEFAULTS}, _DEFAULTS)
    own["form"] = chosen("ollama", "form", own["form"], _FORMS)
    rest = {key: value for key, value in options.items() if key not in _DEFAULTS}
    if own["form"] == "merged":
        # Its template writes all of a prompt, and it would put one more bos before that.
        return own, GgufExporter("ollama", adds_bos=False), rest
    return own, GgufAdapterExporter("ollama"), {**rest, "keep_base": True}


def _modelfile(source: ExportSource, own: Mapping[str, Any], file: str, adapter: str) -> tuple[str, str]:
    """Return the Modelfile, read again and compared, and what Ollama renders otherwise."""
    tokenizer = read_tokenizer(source.adapter_dir)
    spec = source.spec
    render = rendering_of(tokenizer, folds=spec.model.system_turns == "fold")
    template = ollama_template(render)
    # no answer was trained that is longer than its row
    answer = spec.train.max_length if spec.eval.max_new_tokens == "auto" else spec.eval.max_new_tokens
    parameters: dict[str, list[str]] = {
        "temperature": ["0"],
        "repeat_penalty": ["1"],  # Ollama's own default changes greedy answers
        "num_ctx": [str(_tokens(own, "num_ctx", spec.train.max_length + answer))],
        "num_predict": [str(_tokens(own, "num_predict", answer))],
        "stop": [str(tokenizer.decode([number])) for number in source.stop_ids],
    }
    system = spec.data.system if isinstance(spec.data.system, str) else ""
    lines = [
        f"FROM ./{file}",
        *([f"ADAPTER ./{adapter}"] if adapter else []),
        f"TEMPLATE {_quoted(template, 'the chat template')}",
        *(
            f"PARAMETER {name} {_quoted(value, name) if name == 'stop' else value}"
            for name, values in parameters.items()
            for value in values
        ),
        *([f"SYSTEM {_quoted(system, 'data.system')}"] if system else []),
    ]
    text = "\n".join(lines) + "\n"
    again = read_modelfile(text)
    if (again.template, again.system, again.parameters) != (template, system, parameters):
        raise SpecError(
            "chat template, data.system or an end of answers cannot be written into a Modelfile; export to gguf"
        )
    return text, told_apart(render, template)


def _tokens(own: Mapping[str, Any], name: str, usual: int) -> int:
    try:
        found = int(own[name]) or usual
    except ValueError:
        found = 0
    if found < 1:
        raise SpecError(f"{name} of exporter 'ollama' is {own[name]!r}; use a number of tokens")
    return found


def _quoted(text: str, what: str) -> str:
    if '"""' in text or text.endswith('"'):
        raise SpecError(f"{what} holds quotes that a Modelfile has no way to write; export to gguf")
    return f'"""{text}"""'
