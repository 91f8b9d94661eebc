"""Loads a GGUF file by llama.cpp and answers prompts: a program of its own, which imports no medtune.

``python by_llama_cpp.py JOB.json``: JOB holds ``file``, with ``adapter`` a GGUF adapter, ``server`` (the folder of the
program that asks llama.cpp), ``vocabulary``, ``prompts`` (ids), ``limits``, ``conversations`` (messages), ``tokens_only`` and ``out``;
with ``modelfile`` that says which files are loaded, how conversations are rendered, and what ends an answer besides.
Answers go to ``out/answers.json``, and to ``out/logits.npy`` the log-probabilities that llama.cpp tells after each prompt, NaN
for those that it does not.
"""

import json
import sys
from pathlib import Path
from typing import Any

_PROBABILITIES = 64
"""Ids whose log-probability is told after each prompt."""
_ROOM = 16
"""Tokens of the context beyond the longest prompt and its answer."""
_ENDS_BY_NAME = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<EOT>",
    "<|end_of_text|>", "<end_of_utterance>",
)  # fmt: skip
"""Tokens at which llama.cpp ends an answer whatever the file says."""


def main(file: str) -> None:
    """Answer what the job asks."""
    import numpy as np

    job: dict[str, Any] = json.loads(Path(file).read_text("utf-8"))
    longest = max(len(p) + n for p, n in zip(job["prompts"], job["limits"], strict=True))
    sys.path.insert(0, job["server"])
    from server import LlamaServer  # type: ignore[import-not-found]  # a file of that folder, outside of any package

    said: Any = _modelfile(job)
    server: Any = LlamaServer(job["file"], job.get("adapter", ""), longest + _ROOM)
    asked = [
        server.answer(prompt, limit, min(_PROBABILITIES, job["vocabulary"]))
        for prompt, limit in zip(job["prompts"], job["limits"], strict=True)
    ]
    logits = np.full((len(asked), job["vocabulary"]), np.nan, dtype=np.float32)
    for row, found in enumerate(asked):
        for token, value in found["first"].items():
            logits[row, token] = value
    np.save(Path(job["out"]) / "logits.npy", logits)
    prompts = None
    if said is not None:
        texts = [_language().rendered(said.template, messages) for messages in job["conversations"]]
        prompts = [server.tokens(text, special=True, begins=True) for text in texts]
    elif not job.get("tokens_only"):
        prompts = [server.tokens(server.rendered(messages), special=True) for messages in job["conversations"]]
    ends = set(_stop_ids(job["file"], said.parameters.get("stop", []) if said is not None else []))
    for found in asked:
        if found["ended"] and found["ids"] and found["ids"][-1] in ends:
            found["ids"].pop()  # llama.cpp tells the id that ends an answer too
    answers = {
        "ids": [found["ids"] for found in asked],
        "ended": [found["ended"] for found in asked],
        "normalised": True,
        "stop_ids": sorted(ends),
        "prompts": prompts,
    }
    (Path(job["out"]) / "answers.json").write_text(json.dumps(answers), "utf-8")


def _language() -> Any:
    """Return what knows Ollama's language; it lies beside the server."""
    import ollama_language  # type: ignore[import-not-found]  # as above

    return ollama_language


def _modelfile(job: dict[str, Any]) -> Any:
    """Return what a Modelfile says, None without one; its files are those that the job loads."""
    if "modelfile" not in job:
        return None
    file = Path(job["modelfile"])
    said: Any = _language().read_modelfile(file.read_text("utf-8"))
    job["file"] = str(file.parent / said.base)
    job["adapter"] = str(file.parent / said.adapter) if said.adapter else ""
    return said


def _stop_ids(file: str, more: list[str]) -> list[int]:
    """Return the ids that end an answer: by what the file says, by the names that llama.cpp knows itself, and ``more``."""
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    named = [fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    found = {int(field.contents()) for field in named if field is not None}
    return sorted(found | {tokens.index(name) for name in (*_ENDS_BY_NAME, *more) if name in tokens})


if __name__ == "__main__":
    main(sys.argv[1])
