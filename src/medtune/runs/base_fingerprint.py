"""What tells one base model from another when a run is resumed."""

import hashlib
import json
from pathlib import Path

from medtune.specs import ModelSpec

__all__ = ["base_fingerprint"]


def base_fingerprint(model: ModelSpec) -> str:
    """Identify the base: its commit, or for a folder its config and the names and sizes of its weights."""
    if not model.path:
        return f"{model.name}@{model.revision}"
    folder = Path(model.path)
    weights = sorted((f.name, f.stat().st_size) for f in folder.glob("*.safetensors"))
    config = (folder / "config.json").read_bytes() if (folder / "config.json").is_file() else b""
    return hashlib.sha256(config + json.dumps(weights).encode()).hexdigest()
