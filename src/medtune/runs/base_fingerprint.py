"""What tells one base model from another when a run is resumed.

A repository is told by its commit; where none is pinned, by its name alone, so that a branch that moved on is not noticed.

A local folder is told by the bytes of its configuration and tokenizer files, and of each file of weights by its name, size,
header (every tensor's name, type, shape and place) and 64 blocks of 64 KiB of its content, evenly spread, the first and the
last included. So another model, the same model fine-tuned, quantized or rounded to another type is told at the price of some
MiB read, whatever the size. What lies between the blocks of a file is not read: a change of few weights in a file of more
than 4 MiB can go unnoticed.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from medtune.errors import StorageError
from medtune.specs import ModelSpec

__all__ = ["base_fingerprint", "fingerprint_as"]

_PREFIX = "blocks-v2:"
_BLOCKS, _BLOCK = 64, 64 * 1024
_LONGEST_HEADER = 100_000_000  # safetensors' own limit, in bytes
_DESCRIPTIONS = (
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors.index.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


def base_fingerprint(model: ModelSpec) -> str:
    """Identify the base.

    Raises:
        StorageError: a file of a local folder cannot be read.
    """
    if not model.path:
        return f"{model.name}@{model.revision}"
    folder, digest = Path(model.path), hashlib.sha256()
    try:
        for part in _parts(folder):
            digest.update(f"{len(part)}:".encode())  # so that no two lists of parts run into the same bytes
            digest.update(part)
    except OSError as error:
        raise StorageError(f"the base in '{folder}' cannot be read: {error.strerror}") from error
    return _PREFIX + digest.hexdigest()


def fingerprint_as(recorded: str, model: ModelSpec) -> str:
    """Identify the base in the way in which ``recorded`` did, so that older runs can be resumed."""
    return (
        base_fingerprint(model) if not model.path or recorded.startswith(_PREFIX) else _former_fingerprint(model.path)
    )


def _parts(folder: Path) -> Iterator[bytes]:
    for name in _DESCRIPTIONS:
        if (folder / name).is_file():
            yield name.encode()
            yield (folder / name).read_bytes()
    for path in sorted(folder.glob("*.safetensors")):
        yield path.name.encode()
        yield from _sampled(path)


def _sampled(path: Path) -> Iterator[bytes]:
    """Yield the size of a file of weights, its header, and blocks of it."""
    size = path.stat().st_size
    yield str(size).encode()
    with path.open("rb") as file:
        yield file.read(min(_LONGEST_HEADER, int.from_bytes(file.read(8), "little")))
        last = max(0, size - _BLOCK)
        for place in sorted({last * number // (_BLOCKS - 1) for number in range(_BLOCKS)}):
            file.seek(place)
            yield file.read(_BLOCK)


def _former_fingerprint(path: str) -> str:
    """Identify a folder by its config, and the names and sizes of its weights, as records before "blocks-v2:" do."""
    folder = Path(path)
    weights = sorted((f.name, f.stat().st_size) for f in folder.glob("*.safetensors"))
    config = (folder / "config.json").read_bytes() if (folder / "config.json").is_file() else b""
    return hashlib.sha256(config + json.dumps(weights).encode()).hexdigest()
