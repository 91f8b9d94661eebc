"""Ed25519 keys in PEM files: made, read, and named by a fingerprint."""

import hashlib
import os
import stat
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from medtune.errors import SpecError, StorageError
from medtune.machine.owner_only import open_bytes
from medtune.runs.durable import attempt, replace_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["PASSPHRASE", "fingerprint", "generate_key", "private_key", "public_key"]

PASSPHRASE = "MEDTUNE_SIGN_PASSPHRASE"  # noqa: S105 - the variable, not its value
"""Environment variable that holds the passphrase of a private key."""

T = TypeVar("T")
_LONGEST = 1 << 16  # bytes of a file that can be a key


def generate_key(path: Path, passphrase: str | None = None) -> Path:
    """Write a new private key (PKCS #8, readable by its owner only) and beside it the public one, whose path is returned.

    Raises:
        SpecError: one of the files is there already.
        WriteFailedError: they cannot be written.
    """
    _require_extra()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = path.with_name(f"{path.name}.pub")
    for place in (path, public):
        if place.exists() or place.is_symlink():
            raise SpecError(f"'{place}' is there already; a key is never replaced, choose another name")
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    key = Ed25519PrivateKey.generate()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    attempt(lambda: _write_new(path, key.private_bytes(pem, form, locked)), "the private key", path)
    content = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    replace_file(public, content, "the public key")
    return public


def private_key(path: Path, ask: Callable[[], str] | None = None) -> "Ed25519PrivateKey":
    """Read a private key.

    Args:
        path: a PEM file.
        ask: called for the passphrase of a key that has one, where the environment does not hold it.

    Raises:
        SpecError: it is no ed25519 key, its passphrase is another, or everybody can use it.
        StorageError: it cannot be read.
    """
    _require_extra()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _content(path)
    if os.name != "nt" and path.stat().st_mode & stat.S_IRWXO:
        raise SpecError(f"key '{path}' can be used by everybody on this machine: chmod 600 it, or make another one")
    try:
        key = _parsed(path, lambda: load_pem_private_key(content, None), "private")
    except TypeError:  # it is encrypted
        given = os.environ.get(PASSPHRASE) or (ask() if ask else "")
        if not given:
            raise SpecError(
                f"key '{path}' has a passphrase; set {PASSPHRASE}, or run the command in a terminal"
            ) from None
        key = _parsed(
            path, lambda: load_pem_private_key(content, given.encode()), "private", "or its passphrase is another"
        )
    if not isinstance(key, Ed25519PrivateKey):
        raise SpecError(f"key '{path}' is no ed25519 key; make one with `medtune sign --generate FILE`")
    return key


def public_key(path: Path) -> "Ed25519PublicKey":
    """Read a public key.

    Raises:
        SpecError: it is no ed25519 public key.
        StorageError: it cannot be read.
    """
    _require_extra()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _content(path)
    if b"PRIVATE KEY" in content:
        raise SpecError(f"key '{path}' is a private key; give the public one, which ends in .pub")
    key = _parsed(path, lambda: load_pem_public_key(content), "public")
    if not isinstance(key, Ed25519PublicKey):
        raise SpecError(f"key '{path}' is no ed25519 key")
    return key


def fingerprint(key: "Ed25519PublicKey") -> str:
    """Return the SHA-256 of a public key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _require_extra() -> None:
    if find_spec("cryptography") is None:
        raise SpecError("signatures need the package cryptography; install medtune[sign]")


def _parsed(path: Path, parse: Callable[[], T], kind: str, otherwise: str = "") -> T:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return parse()
    except (ValueError, UnsupportedAlgorithm):
        raise SpecError(f"'{path}' is no {kind} key in PEM form" + (f", {otherwise}" if otherwise else "")) from None


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise StorageError(f"key '{path}' is no file")
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except OSError as error:
        raise StorageError(f"key '{path}' cannot be read: {error.strerror}") from error


def _write_new(path: Path, content: bytes) -> None:
    with open_bytes(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
