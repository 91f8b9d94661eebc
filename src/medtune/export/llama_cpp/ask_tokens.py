"""Asks llama.cpp for the ids of texts: a program of its own, which imports no medtune.

``python ask_tokens.py JOB.json``: JOB holds ``file`` (a GGUF model), ``texts`` and ``out``, where the ids go as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(file: str) -> None:
    """Write the ids of the job's texts."""
    sys.path.insert(0, str(Path(__file__).parent))
    from server import LlamaServer  # type: ignore[import-not-found]  # beside this file, outside of any package

    job: dict[str, Any] = json.loads(Path(file).read_text("utf-8"))
    server: Any = LlamaServer(job["file"], context=64)
    Path(job["out"]).write_text(json.dumps([server.tokens(text) for text in job["texts"]]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
