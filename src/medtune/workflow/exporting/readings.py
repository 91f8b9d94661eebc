"""Which program loads an artifact again, and with what."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.export.llama_cpp import server
from medtune.plugins.contracts import Exported
from medtune.workflow.exporting.reference import Reference
from medtune.workflow.exporting.reload import Answers, Questions, ask_again

__all__ = ["read_again"]

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def read_again(exported: Exported, folder: Path, reference: Reference, questions: Questions | None = None) -> Answers:
    """Load an artifact in a fresh process and ask it.

    Args:
        exported: what was written; paths in its ``load`` are relative to ``folder`` where they are not absolute.
        folder: where it lies now.
        reference: whose questions are asked, on its device and in its compute type.
        questions: others instead.

    Raises:
        UnsafeArtifactError: it cannot be loaded.
    """
    asked = reference.questions if questions is None else questions
    load: dict[str, Any] = dict(exported.load)
    place = {key: str(folder / value) for key, value in load.items() if key in ("file", "adapter", "modelfile")}
    job = {
        **load,
        **place,
        "folder": str(folder),
        "dtype": _DTYPES[reference.compute_dtype],
        "device": reference.device,
        "stop_ids": sorted(reference.tuned.stop_ids or ()),
    }
    if exported.reader == "transformers":
        return ask_again("by_transformers", job, asked, "transformers in a process of its own")
    if exported.reader == "peft":
        return ask_again("by_transformers", job, asked, "transformers and peft in a process of its own")
    if exported.reader == "llama.cpp":
        return _by_llama_cpp(job, asked, reference)
    raise SpecError(f"medtune has no reader '{exported.reader}'; an exporter names transformers, peft or llama.cpp")


def _by_llama_cpp(job: dict[str, Any], asked: Questions, reference: Reference) -> Answers:
    if find_spec("xllamacpp") is not None:
        job["server"] = str(Path(server.__file__).parent)
        job["vocabulary"] = int(reference.tuned.logits.shape[1])
        return ask_again("by_llama_cpp", job, asked, "llama.cpp (xllamacpp) in a process of its own")
    if "adapter" in job or "modelfile" in job:
        what = "a folder for Ollama" if "modelfile" in job else "a GGUF adapter"
        raise SpecError(f"{what} is proved by llama.cpp, which is not installed: pip install xllamacpp")
    job["gguf_file"] = Path(job["file"]).name
    return ask_again(
        "by_transformers", job, asked, "transformers' GGUF reader in a process of its own, not by llama.cpp"
    )
