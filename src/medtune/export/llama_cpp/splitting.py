"""Finds how llama.cpp has to split texts before byte-level BPE, by trying: its ids must be the tokenizer's on every text."""

import json
import subprocess
import tempfile
import unicodedata
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medtune.data.tokenizer import read_tokenizer
from medtune.errors import SpecError
from medtune.export.llama_cpp.vocabulary import Vocabulary, add_vocabulary
from medtune.machine.own_program import command_of

__all__ = ["CANDIDATES", "PROBES", "find_splitting", "pieces_agree"]

CANDIDATES = (
    "gpt-2", "qwen2", "llama-bpe", "smollm", "tekken", "gpt-4o", "deepseek-llm", "qwen35", "starcoder", "command-r",
    "dbrx", "olmo", "stablelm2", "falcon3", "refact", "llama4", "superbpe", "exaone", "minerva-7b", "granite-docling",
    "seed-coder", "hunyuan-dense", "chatglm-bpe", "deepseek-coder", "default",
)  # fmt: skip
"""llama.cpp's names of ways to split, the common ones first."""
PROBES = (
    "The patient's BP was 120/80 mmHg; she didn't take 12345678 mg.",
    "IL-2, TNF-\u03b1 and β-blockers (p<0.05), 3.5mg/kg  twice   daily...",
    "Line one\nLine two\n\n\nLine four\r\n\tindented\t\ttabs    end ",
    "I'LL WE'RE they've he'd it's DON'T can't",
    "naïve café Ångström Ünïcödé straße",
    "患者は発熱がある。检查结果正常 검사",
    "Пациент имеет температуру 38,5 °C",
    "المريض يعاني من الحمى ١٢٣",
    "🙂👩‍⚕️💉 ok✓ ½ ² ™",
    "camelCaseWord snake_case_word x1y2z3 http://a.b/c?d=e#f",
    "!!!??? ---- ***bold*** [1,2,3] {a:b} <tag/> \"q\" 'q'",
    "1 12 123 1234 12345 1,234.56 -7 +8 9%",
    " leading and trailing  ",
    "Aspirin : B\nhelps : O\n. : O",
    "Label the tokens.\n\nAspirin helps .\n\n Next!\n(a)\n\n\n- item:\n",
    "e\u0301 combining \u200b zero\u00a0nbsp \u3000 wide",
)
"""Texts on which ways to split differ; none is a row of any data set."""


def find_splitting(adapter_dir: Path, vocabulary: Vocabulary) -> str:
    """Return the first way to split by which llama.cpp gives the tokenizer's ids on every probe.

    Raises:
        SpecError: there is none, or llama.cpp is not installed to try them.
    """
    if find_spec("xllamacpp") is None:
        raise SpecError(
            "how this tokenizer splits texts has a name in GGUF files that is found by trying llama.cpp: pip install xllamacpp, "
            "or use tokens_only=true where prompts are given as ids"
        )
    tokenizer = read_tokenizer(adapter_dir)
    texts = [unicodedata.normalize("NFC", text) for text in PROBES] if vocabulary.composes else list(PROBES)
    wanted = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    with tempfile.TemporaryDirectory(prefix="medtune-splitting-") as folder:
        for name in CANDIDATES:
            if _ids(Path(folder), vocabulary, name, texts) == wanted:
                return name
    raise SpecError(
        f"llama.cpp splits texts for byte-level BPE in none of {len(CANDIDATES)} ways as this tokenizer does, so its prompts "
        "would have other ids; use tokens_only=true where prompts are given as ids, or export to merged"
    )


def pieces_agree(adapter_dir: Path, vocabulary: Vocabulary) -> str:
    """Return, in words, for how many probing texts llama.cpp has the ids of a SentencePiece tokenizer.

    Tokenizers that transformers made of one differ where a text begins with a space: they put no further one before it.
    """
    if find_spec("xllamacpp") is None:
        return "not tried: llama.cpp is not installed"
    tokenizer = read_tokenizer(adapter_dir)
    wanted = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in PROBES]
    with tempfile.TemporaryDirectory(prefix="medtune-splitting-") as folder:
        found = _ids(Path(folder), vocabulary, "default", PROBES) or [[] for _ in PROBES]
    differing = [text for text, one, other in zip(PROBES, wanted, found, strict=True) if one != other]
    spaced = sum(text.startswith(" ") for text in differing)
    told = f"{len(PROBES) - len(differing)} of {len(PROBES)} have the tokenizer's ids in llama.cpp"
    return f"{told}; {spaced} that differ begin with a space" if differing else told


def _ids(folder: Path, vocabulary: Vocabulary, name: str, texts: Sequence[str]) -> list[list[int]] | None:
    """Return llama.cpp's ids of the probes, None where it does not load; a process of its own, since it may abort."""
    _write_smallest(folder / "vocabulary.gguf", vocabulary, name)
    job = {"file": str(folder / "vocabulary.gguf"), "texts": list(texts), "out": str(folder / "ids.json")}
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    (folder / "ids.json").unlink(missing_ok=True)
    program = Path(__file__).with_name("ask_tokens.py")
    done = subprocess.run(  # noqa: S603 - a program of medtune's own
        command_of(program, str(folder / "job.json")), capture_output=True, check=False
    )
    if done.returncode != 0:
        return None
    found: list[list[int]] = json.loads((folder / "ids.json").read_text("utf-8"))
    return found


def _write_smallest(file: Path, vocabulary: Vocabulary, name: str) -> None:
    """Write a model of one layer around a vocabulary."""
    import gguf
    import numpy as np

    width, rows = 32, len(vocabulary.tokens)
    writer: Any = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width)
    writer.add_vocab_size(rows)
    add_vocabulary(writer, vocabulary, name)
    writer.add_tensor("token_embd.weight", np.zeros((rows, width), dtype=np.float16))
    for norm in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{norm}.weight", np.ones(width, dtype=np.float32))
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{part}.weight", np.zeros((width, width), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
