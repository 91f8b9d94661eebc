"""Signatures of a run's record: over its id, its last line and its root, by ed25519, offline."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.errors import DamagedArtifactError, SpecError, StorageError
from medtune.runs.durable import replace_file
from medtune.runs.record.chain import Chain, Change, append, read_chain
from medtune.runs.record.checking import Problem, RecordCheck
from medtune.runs.record.keys import fingerprint, private_key, public_key
from medtune.runs.record.recording import recorded
from medtune.runs.record.tree import NOTES, RECORD, SIGNATURES, canonical, files_of, measured
from medtune.specs.bounded import json_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["SignatureCheck", "check_signature", "sign_record", "signatures_in"]

_FORMAT = 1
_SHOWN = 3  # files that a sentence names
_SUBJECT = b"medtune run record, format 1\n"
"""Before what is signed, so that a signature of something else by the same key is none of a record."""
_SIGNED = ("head", "key", "number", "root", "run_id", "time")


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What the signatures of a run are worth by one key.

    Attributes:
        key: fingerprint of the key.
        signed: what its newest good signature covers (``number`` of the line, ``head``, ``root``, ``time``); empty without one.
        steps_after: commands that changed the run since.
        problems: why the run, as it is now, is not what was signed.
    """

    key: str
    signed: Mapping[str, Any]
    steps_after: Sequence[str]
    problems: Sequence[Problem]

    def to_json(self) -> dict[str, Any]:
        """Return what ``verify --json`` says of it."""
        return {
            "key": self.key,
            "valid": not self.problems,
            "signed": dict(self.signed),
            "steps_after": list(self.steps_after),
        }


def sign_record(
    folder: Path, key: Path, ask: Callable[[], str] | None = None, verify: Callable[[], Chain | None] | None = None
) -> dict[str, Any]:
    """Sign the state that a run's record ends with, and keep the signature beside others.

    Args:
        folder: a run folder.
        key: private key.
        ask: called for its passphrase.
        verify: returns the record of the folder once it verifies; called after the passphrase was given, however long that took.

    Returns:
        The signature as it is kept.

    Raises:
        SpecError: the run keeps no record, or the key cannot be used.
        StorageError: the record went on meanwhile.
        WriteFailedError: the signature cannot be written.
    """
    secret = private_key(key, ask)
    chain = _with_notes(folder, verify() if verify else read_chain(folder))
    said = {
        "run_id": chain.run_id,
        "number": chain.lines[-1].number,
        "head": chain.head,
        "root": chain.root,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "key": fingerprint(secret.public_key()),
    }
    signature = {**said, "signature": base64.b64encode(secret.sign(_message(said))).decode()}
    signatures = [*signatures_in(folder), signature]
    content = json.dumps({"format": _FORMAT, "signatures": signatures}, indent=1, sort_keys=True) + "\n"
    with recorded(folder, "sign", (SIGNATURES,)):
        now = read_chain(folder)
        if now is None or now.head != chain.head:
            raise StorageError(f"nothing was signed: run '{folder}' was changed while it was verified; sign it again")
        replace_file(folder / SIGNATURES, content.encode(), "the signature")
    return signature


def _with_notes(folder: Path, chain: Chain | None) -> Chain:
    """Take into the record what its user laid beside the run, so that the signature covers it."""
    if chain is None:
        raise SpecError(f"run '{folder}' keeps no record that could be signed; an earlier medtune made it")
    notes = [name for name in files_of(folder).regular if name.startswith(NOTES) and name not in chain.files]
    if not notes:
        return chain
    append(folder, chain.run_id, Change("sign", measured(folder, notes)))
    now = read_chain(folder)
    before = [line.digest for line in now.lines[:-1]] if now else []
    if now is None or before[-1:] != [chain.head]:
        raise StorageError(f"nothing was signed: run '{folder}' was changed while it was verified; sign it again")
    return now


def signatures_in(folder: Path) -> list[dict[str, Any]]:
    """Return the signatures that lie in a run folder, as they are written.

    Raises:
        DamagedArtifactError: the file is none that medtune wrote.
        StorageError: it cannot be read.
    """
    try:
        values = json_file(folder / SIGNATURES)
        found: list[dict[str, Any]] = values["signatures"]
        is_whole = values["format"] == _FORMAT and all(_is_whole(one) for one in found)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"'{folder / SIGNATURES}' cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedArtifactError(str(folder), SIGNATURES, "holds no signatures that can be read") from None
    if not is_whole:
        raise DamagedArtifactError(str(folder), SIGNATURES, "holds no signatures of this form")
    return found


def check_signature(folder: Path, record: RecordCheck, key: Path) -> SignatureCheck:
    """Say whether the run, as its record ends, is what the holder of a key signed.

    Raises:
        SpecError: the key is no public key.
        StorageError: a file cannot be read.
    """
    public = public_key(key)
    name = fingerprint(public)

    def failed(
        kind: str, detail: str, signed: Mapping[str, Any] | None = None, steps: Sequence[str] = ()
    ) -> SignatureCheck:
        return SignatureCheck(name, signed or {}, steps, [Problem(SIGNATURES, kind, detail)])

    try:
        found = signatures_in(folder)
    except DamagedArtifactError as error:
        return failed("forged", error.reason)
    own = [one for one in found if one["key"] == name]
    if not own:
        others = f"; it holds {len(found)} by other keys" if found else ""
        return failed("unsigned", f"holds no signature by key {name[:16]}{others}")
    if not all(_is_good(one, public) for one in own):
        return failed("forged", f"holds a signature that key {name[:16]} did not make")
    chain = record.chain
    if chain is None:
        return failed("forged", "signs a record that cannot be read")
    signed = {part: max(own, key=lambda one: int(one["number"]))[part] for part in _SIGNED}
    if signed["run_id"] != chain.run_id:
        return failed("swapped", "is the signature of another run", signed)
    if not _reaches(chain, signed):
        return failed("forged", f"signs another line {signed['number'] + 1} than the record has", signed)
    steps = _steps_after(chain, int(signed["number"]))
    if steps:
        detail = f"signs an older state: {len(steps)} steps came after it ({', '.join(steps)}); sign the run again"
        return failed("older", detail, signed, steps)
    beyond = _beyond(record)
    return failed("older", beyond, signed) if beyond else SignatureCheck(name, signed, (), ())


def _beyond(record: RecordCheck) -> str:
    """Name the files that are not as the record ends: what a mark explains was signed by nobody."""
    torn = [RECORD] if record.chain is not None and record.chain.torn else []
    files = sorted({*record.newer, *torn, *(problem.file for problem in record.problems)})
    shown = ", ".join(f"'{file}'" for file in files[:_SHOWN])
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return f"does not cover {shown}{more}, as the folder is now" if files else ""


def _message(said: Mapping[str, Any]) -> bytes:
    return _SUBJECT + canonical({part: said[part] for part in _SIGNED})


def _is_whole(signature: Any) -> bool:
    texts = ("head", "key", "root", "run_id", "time", "signature")
    return type(signature["number"]) is int and all(isinstance(signature[part], str) for part in texts)


def _is_good(signature: Mapping[str, Any], public: "Ed25519PublicKey") -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(base64.b64decode(signature["signature"], validate=True), _message(signature))
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _reaches(chain: Chain, signed: Mapping[str, Any]) -> bool:
    """Whether the record has the line that was signed."""
    number = signed["number"]
    if not 0 <= number < len(chain.lines):
        return False
    line = chain.lines[number]
    return bool(line.digest == signed["head"] and line.root == signed["root"])


def _steps_after(chain: Chain, number: int) -> list[str]:
    """Return the commands after a line that changed anything but signatures."""
    after = [line.change for line in chain.lines[number + 1 :]]
    return [change.command for change in after if {*change.changed, *change.removed} != {SIGNATURES} or change.facts]
