"""What tells one base model from another when a run is resumed.

A repository is told by its commit; where none is pinned, by its name alone, so that a branch that moved on is not noticed.

A local folder is told by the bytes of its configuration and tokenizer files, and of each file of weights by its name, size,
header (every tensor's name, type, shape and place) and 64 blocks of 64 KiB of its content, evenly spread, the first and the
last included. So another model, the same model fine-tuned, quantized or rounded to another type is told at the price of some
MiB read, whatever the size. What lies between the blocks of a file is not read: a change of few weights in a file of more
than 4 MiB can go unnoticed. ``model.fingerprint = "full"`` reads every byte.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medtune.errors import StorageError, UnsafeArtifactError
from medtune.specs import ModelSpec
from medtune.specs.bounded import LONGEST_HEADER, BoundsError, bounded_bytes, json_file, json_value

__all__ = ["base_fingerprint", "base_parts", "fingerprint_as"]

_PREFIXES = {"blocks": "blocks-v2:", "full": "full-v1:"}
_BLOCKS, _BLOCK = 64, 64 * 1024
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
_PART_OF = {
    "chat_template.jinja": "template",
    "config.json": "config",
    "generation_config.json": "config",
    "model.safetensors.index.json": "weights",
}
"""File -> the part of a base that it belongs to; the others are the tokenizer's."""


def base_fingerprint(model: ModelSpec) -> str:
    """Identify the base.

    Raises:
        StorageError: a file of a local folder cannot be read.
    """
    return _fingerprint(model, model.fingerprint)


def fingerprint_as(recorded: str, model: ModelSpec) -> str:
    """Identify the base in the way in which ``recorded`` did, so that older runs can be resumed."""
    for way, prefix in _PREFIXES.items():
        if recorded.startswith(prefix):
            return _fingerprint(model, way)
    return _former_fingerprint(model.path) if model.path else _fingerprint(model, "blocks")


def base_parts(model: ModelSpec, way: str | None = None) -> dict[str, str]:
    """Return a SHA-256 for each part of the base, so that it can be said which differs.

    Args:
        model: the base.
        way: "blocks" or "full"; None as ``model.fingerprint`` says.

    Returns:
        "way", and of a folder "config", "tokenizer", "template" and "weights"; of a repository "repository", by its commit.

    Raises:
        StorageError: a file cannot be read.
    """
    way = way or model.fingerprint
    if not model.path:
        return {"way": way, "repository": f"{model.name}@{model.revision}"}
    found = {name: hashlib.sha256() for name in ("config", "tokenizer", "template", "weights")}
    folder = Path(model.path)
    with _told(folder):
        for name in _DESCRIPTIONS:
            if (folder / name).is_file():
                found[_PART_OF.get(name, "tokenizer")].update(f"{name} ".encode() + _content(folder / name))
        found["template"].update(_template_of(folder / "tokenizer_config.json"))
        for path in _weights(folder):
            found["weights"].update(f"{path.name} ".encode())
            for piece in _pieces(path, way):
                found["weights"].update(piece)
    return {"way": way, **{name: digest.hexdigest() for name, digest in found.items()}}


def _fingerprint(model: ModelSpec, way: str) -> str:
    if not model.path:
        return f"{model.name}@{model.revision}"
    folder, digest = Path(model.path), hashlib.sha256()
    with _told(folder):
        for part in _parts(folder, way):
            digest.update(f"{len(part)}:".encode())  # so that no two lists of parts run into the same bytes
            digest.update(part)
    return _PREFIXES[way] + digest.hexdigest()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the base in '{folder}' cannot be read: {error.strerror}") from error
    except BoundsError as error:
        raise UnsafeArtifactError(f"the base in '{folder}' has a file of settings that {error}; get it again") from None


def _parts(folder: Path, way: str) -> Iterator[bytes]:
    for name in _DESCRIPTIONS:
        if (folder / name).is_file():
            yield name.encode()
            yield bounded_bytes(folder / name)
    for path in _weights(folder):
        yield path.name.encode()
        yield from _pieces(path, way)


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _pieces(path: Path, way: str) -> Iterator[bytes]:
    """Yield what identifies a file of weights: blocks of it, or the digest of all of its bytes."""
    if way == "blocks":
        yield from _sampled(path)
        return
    with path.open("rb") as file:
        yield hashlib.file_digest(file, "sha256").digest()


def _content(file: Path) -> bytes:
    """Return the bytes of a file, a tokenizer's settings without the template, which is a part of its own."""
    content = bounded_bytes(file)
    if file.name != "tokenizer_config.json":
        return content
    try:
        values = {
            key: value for key, value in json_value(content.decode(), finite=False).items() if key != "chat_template"
        }
    except (ValueError, AttributeError):
        return content
    return json.dumps(values, sort_keys=True).encode()


def _template_of(file: Path) -> bytes:
    try:
        return json.dumps(json_file(file, finite=False).get("chat_template")).encode()
    except (OSError, ValueError, AttributeError):
        return b""


def _sampled(path: Path) -> Iterator[bytes]:
    """Yield the size of a file of weights, its header, and blocks of it."""
    size = path.stat().st_size
    yield str(size).encode()
    with path.open("rb") as file:
        yield file.read(min(LONGEST_HEADER, int.from_bytes(file.read(8), "little")))
        last = max(0, size - _BLOCK)
        for place in sorted({last * number // (_BLOCKS - 1) for number in range(_BLOCKS)}):
            file.seek(place)
            yield file.read(_BLOCK)


def _former_fingerprint(path: str) -> str:
    """Identify a folder by its config, and the names and sizes of its weights, as records before "blocks-v2:" do."""
    folder = Path(path)
    weights = sorted((f.name, f.stat().st_size) for f in folder.glob("*.safetensors"))
    config = bounded_bytes(folder / "config.json") if (folder / "config.json").is_file() else b""
    return hashlib.sha256(config + json.dumps(weights).encode()).hexdigest()
