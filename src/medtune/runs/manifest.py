"""The list of a folder's files with their SHA-256, which tells whether the folder is what was written."""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError
from medtune.runs.durable import sync_directory, sync_file
from medtune.specs.bounded import BoundsError, bounded_bytes, json_value

__all__ = ["MANIFEST", "file_digest", "read_manifest", "seal_folder", "verify_folder"]

MANIFEST = "MANIFEST.json"
"""Name of the list, written after all other files of a folder."""

_FORMAT = 1
_THREADS = 8  # hashing and syncing both leave the interpreter lock, and waiting costs nothing


def seal_folder(folder: Path, facts: Mapping[str, Any]) -> None:
    """Sync every file of ``folder``, then write and sync its manifest with ``facts`` (JSON values) in it.

    Files are hashed while the device is still busy with them, so the hash costs little beyond the sync.
    """
    names = _file_names(folder)
    paths = [folder / name for name in names]
    with ThreadPoolExecutor(_THREADS) as waiting, ThreadPoolExecutor(_THREADS) as computing:
        syncs = [waiting.submit(sync_file, path) for path in paths]
        digests = [computing.submit(file_digest, path) for path in paths]
        for sync in syncs:
            sync.result()
        files = {
            name: {"bytes": path.stat().st_size, "sha256": digest.result()}
            for name, path, digest in zip(names, paths, digests, strict=True)
        }
    content = _render({"facts": dict(facts), "files": files, "format": _FORMAT})
    with (folder / MANIFEST).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    for parent in sorted({path.parent for path in paths} | {folder}):
        sync_directory(parent)


def verify_folder(folder: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Check that ``folder`` holds exactly what its manifest lists, byte for byte.

    Args:
        folder: a folder that ``seal_folder`` finished.
        facts: facts that its manifest must state, such as the step that the folder's name promises.

    Raises:
        DamagedArtifactError: naming the first file that is missing, changed, or not listed.
    """
    manifest = read_manifest(folder)
    for key, value in (facts or {}).items():
        if manifest["facts"].get(key) != value:
            raise DamagedArtifactError(str(folder), MANIFEST, f"belongs to another folder: its {key} is not {value!r}")
    listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
    present = set(_file_names(folder))
    for name in sorted(present - set(listed)):
        raise DamagedArtifactError(str(folder), name, "is not in the manifest")
    for name in sorted(listed):
        _verify_file(folder, name, listed[name], present)


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return the manifest (``facts``, ``files``, ``format``) after checking its own digest."""
    try:
        content = bounded_bytes(folder / MANIFEST)
    except FileNotFoundError:
        raise DamagedArtifactError(str(folder), MANIFEST, "is missing: the save was cut short") from None
    except OSError as error:
        raise DamagedArtifactError(str(folder), MANIFEST, f"cannot be read ({error.strerror})") from error
    except BoundsError as error:
        raise DamagedArtifactError(str(folder), MANIFEST, str(error)) from None
    try:
        manifest = json_value(content.decode())
        del manifest["digest"]
        whole = _render(manifest) == content and manifest["format"] == _FORMAT
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DamagedArtifactError(str(folder), MANIFEST, "was changed")
    return manifest  # type: ignore[no-any-return]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify_file(folder: Path, name: str, entry: Mapping[str, Any], present: set[str]) -> None:
    if name not in present:
        raise DamagedArtifactError(str(folder), name, "is missing")
    path = folder / name
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise DamagedArtifactError(str(folder), name, f"has {size} bytes instead of {entry['bytes']}")
        if file_digest(path) != entry["sha256"]:
            raise DamagedArtifactError(str(folder), name, "was changed: its SHA-256 differs")
    except OSError as error:
        raise DamagedArtifactError(str(folder), name, f"cannot be read ({error.strerror})") from error


def _file_names(folder: Path) -> list[str]:
    """Return the relative names of all files below ``folder`` but its manifest; a link is an error."""
    names: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise DamagedArtifactError(str(folder), name, "is a link, which may lead out of the folder")
        if not path.is_dir() and name != MANIFEST:
            names.append(name)
    return names


def _render(manifest: Mapping[str, Any]) -> bytes:
    """Return the one way in which a manifest is written, so that any changed byte of it shows."""
    body = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(body.encode()).hexdigest()
    return (json.dumps({**manifest, "digest": digest}, sort_keys=True, indent=1) + "\n").encode()
