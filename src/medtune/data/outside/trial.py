"""Tries what others wrote in a child process with little time and memory, unless it was tried before."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from medtune.data.outside.child import MOST_ADDED, MOST_TOKEN
from medtune.data.outside.tried import Tried, digest_of_files, digest_of_text
from medtune.errors import TrialFailedError
from medtune.specs.bounded import BoundsError, bounded_text, json_file

__all__ = ["remember_own", "try_patterns", "try_template", "try_tokenizer"]

_SECONDS = 2.0
_BYTES = 512 * 2**20
"""What may be taken above the control case, which is the same with the tokenizer and the template of the demo."""
_PATIENCE = 60.0
"""Seconds on the clock after which a child that computes nothing is ended too."""
_LARGEST = 48 * 2**20
"""Bytes of one file; the largest vocabularies that are known take 34 MB."""
_LONGEST = 2**20  # bytes of a chat template; they have a few thousand
_CONTROL = Path(__file__).parents[2] / "demo" / "base"
_CHILD = Path(__file__).with_name("child.py")
_FILES = (
    "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "config.json", "vocab.json", "vocab.txt",
    "merges.txt", "*.model", "*.tiktoken", "tekken.json",
)  # fmt: skip
"""What decides how a tokenizer is loaded."""
_SETTINGS = frozenset({"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"})
"""Those that hold no vocabulary: a folder with these alone has no tokenizer that could be loaded."""
_ADDED = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")
_TEMPLATES = ("chat_template.jinja", "additional_chat_templates/*.jinja")
_WITH_TEMPLATES = ("tokenizer_config.json", "chat_template.json")
_TOO_LONG = f"takes more than {_SECONDS:.0f} s of computing above the control case"
_TOO_LARGE = f"takes more than {_BYTES >> 20} MiB of memory above the control case"
_OTHER_TEMPLATE = "set model.chat_template to a file or a shipped name that you trust, or get it again"
_OTHER_TOKENIZER = "get it again from where it comes from, or use another base"


def try_tokenizer(folder: Path) -> None:
    """Try the tokenizer and the chat templates that lie in a folder; what medtune ships, or was tried before, is not tried.

    Raises:
        TrialFailedError: a file is no file or too large, or loading, encoding or rendering takes too much.
    """
    if folder.resolve() == _CONTROL.resolve():
        return
    files, texts = _present(folder, _FILES), _templates_in(folder)
    for file in files:
        _require_file(file, folder, _LARGEST)
        if file.name in _SETTINGS:
            _require_few_added(file, folder)
    tried, digest = Tried(), digest_of_files(files, folder)
    new = {text: found for text in texts if not _is_known(found := digest_of_text(text), tried)}
    for text in new:
        _require_short(text, str(folder))
    is_new = digest not in tried and any(file.name not in _SETTINGS for file in files)
    if not is_new and not new:
        return
    asked: dict[str, Any] = {"templates": list(new)}
    if is_new:
        is_fast = _is_fast(files)
        asked |= {
            "transformers": not is_fast,
            "tokenizers": [str(f) for f in (_fast_files(files) if is_fast else files)],
        }
    _run("tokenizer" if is_new else "chat template", str(folder), asked, _OTHER_TOKENIZER)
    tried.add(digest, *new.values())


def try_template(text: str, place: str, tokens: Mapping[str, str]) -> None:
    """Try a chat template.

    Args:
        text: the Jinja text.
        place: where it comes from, for the error.
        tokens: special tokens that it may be given.

    Raises:
        TrialFailedError: rendering takes too much.
    """
    longest = max(map(len, tokens.values()), default=0)
    if longest > MOST_TOKEN:
        reason = f"has a special token of {longest:,} characters, more than {MOST_TOKEN}"
        raise TrialFailedError("tokenizer", place, reason, _OTHER_TOKENIZER)
    tried, digest = Tried(), digest_of_text("\0".join([text, *(f"{name}={tokens[name]}" for name in sorted(tokens))]))
    if digest_of_text(text) in _shipped() or digest in tried:  # with other tokens a template may do something else
        return
    _require_short(text, place)
    _run("chat template", place, {"templates": [text], "tokens": dict(tokens)}, _OTHER_TEMPLATE)
    tried.add(digest)


def try_patterns(patterns: Sequence[str], names: Iterable[str], what: str, place: str) -> None:
    """Try regular expressions on names.

    Raises:
        TrialFailedError: matching takes too much.
    """
    if patterns:
        _run(what, place, {"patterns": list(patterns), "names": list(names)}, "write the names out instead")


def remember_own(folder: Path) -> None:
    """Remember a tokenizer that this process has just saved: it was in use here."""
    files = _present(folder, _FILES)
    Tried().add(digest_of_files(files, folder), *map(digest_of_text, _templates_in(folder)))


def _require_few_added(file: Path, folder: Path) -> None:
    """Refuse settings that add more tokens than any known tokenizer does: transformers adds them one by one."""
    try:
        held = json_file(file, _LARGEST, finite=False)
    except ValueError:  # whoever loads it says so in a sentence of its own
        return
    if not isinstance(held, dict):
        return
    named: Mapping[str, Any] = held
    added = [named] if file.name == "added_tokens.json" else [named.get(key) for key in _ADDED]
    count = sum(len(tokens) for tokens in added if isinstance(tokens, list | dict))
    if count > MOST_ADDED:
        reason = f"adds {count:,} tokens in '{file.name}', more than {MOST_ADDED:,}"
        raise TrialFailedError("tokenizer", str(folder), reason, _OTHER_TOKENIZER)


@cache
def _shipped() -> frozenset[str]:
    """Return the digests of the templates that medtune brings along."""
    files = (_CONTROL / _TEMPLATES[0], *(Path(__file__).parents[1] / "chat_templates").glob("*.jinja"))
    texts = [file.read_text("utf-8") for file in files]
    return frozenset(map(digest_of_text, [*texts, *(text.removesuffix("\n") for text in texts)]))


def _is_known(digest: str, tried: Tried) -> bool:
    return digest in _shipped() or digest in tried


def _present(folder: Path, kinds: Iterable[str]) -> list[Path]:
    return sorted({file for kind in kinds for file in folder.glob(kind)})


def _fast_files(files: Iterable[Path]) -> list[Path]:
    """Return the files of the tokenizers library; transformers takes one of several by its version."""
    return [
        f for f in files if f.name.startswith("tokenizer") and f.suffix == ".json" and f.name not in _WITH_TEMPLATES
    ]


def _is_fast(files: Iterable[Path]) -> bool:
    """Whether the tokenizers library reads the vocabulary: of byte pairs whose merges transformers has not to find itself."""
    fast = _fast_files(files)
    contents = (file.read_bytes() for file in fast)
    return bool(fast) and all(b'"merges"' in content or b'"vocab"' not in content for content in contents)


def _templates_in(folder: Path) -> list[str]:
    """Return the chat templates that lie in a folder, by whichever of the ways."""
    found = list[Any]()
    for file in _present(folder, _TEMPLATES):
        _require_file(file, folder, _LONGEST)
        found.append(_bounded(bounded_text, file, folder))
    for file in _present(folder, _WITH_TEMPLATES):
        given = _bounded(_template_key, file, folder)
        several: list[Any] = given if isinstance(given, list) else [given]
        found += [each.get("template") if isinstance(each, dict) else each for each in several]
    return [text for text in dict.fromkeys(each for each in found if isinstance(each, str)) if text]


def _template_key(file: Path) -> Any:
    values: Any = json_file(file, _LARGEST, finite=False)
    return values.get("chat_template") if isinstance(values, dict) else None


def _bounded(read: Callable[[Path], Any], file: Path, folder: Path) -> Any:
    """Read a file; one that is not what it should be, but within bounds, is left to whoever loads it to complain of."""
    try:
        return read(file)
    except BoundsError as error:
        raise TrialFailedError(
            "tokenizer", str(folder), f"has a file '{file.name}' that {error}", _OTHER_TOKENIZER
        ) from None
    except (OSError, ValueError):
        return None


def _require_file(file: Path, folder: Path, most: int) -> None:
    """Refuse what is no regular file, for which whoever opens it would wait, and what is too large."""
    try:
        found = file.stat()
    except OSError as error:
        reason = f"has a file '{file.name}' that cannot be read ({error.strerror})"
        raise TrialFailedError("tokenizer", str(folder), reason, _OTHER_TOKENIZER) from None
    problem = "is no regular file" if not stat.S_ISREG(found.st_mode) else ""
    if not problem and found.st_size > most:
        problem = f"has {found.st_size:,} bytes, more than {most:,}"
    if problem:
        raise TrialFailedError("tokenizer", str(folder), f"has a file '{file.name}' that {problem}", _OTHER_TOKENIZER)


def _require_short(text: str, place: str) -> None:
    if len(text) > _LONGEST:
        raise TrialFailedError(
            "chat template", place, f"has {len(text):,} characters, more than {_LONGEST:,}", _OTHER_TEMPLATE
        )


def _run(what: str, place: str, asked: Mapping[str, Any], instead: str) -> None:
    """Have the child do what is asked."""
    job = {
        "path": [entry for entry in sys.path if entry], "control": str(_CONTROL), "seconds": _SECONDS, "bytes": _BYTES,
        "too_large": _TOO_LARGE, "tokenizers": [], "transformers": False, "templates": [], "tokens": {}, "patterns": [],
        "names": [], **asked,
    }  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 - this Python, on a file of medtune's
            [sys.executable, "-I", str(_CHILD)],
            input=json.dumps(job).encode(), capture_output=True, timeout=_PATIENCE, check=False, env=_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise TrialFailedError(
            what, place, f"takes more than {_PATIENCE:.0f} s{_while(late.stdout)}", instead
        ) from None
    except OSError as error:
        raise TrialFailedError(
            what, place, f"cannot be tried in a process of its own ({error.strerror})", instead
        ) from None
    said = _said(done.stdout)
    if "done" in said:
        return
    reason, step = said.get("refused") or _ended(done.returncode), _while(done.stdout)
    if "rendering" in step:
        what, instead = "chat template", _OTHER_TEMPLATE
    raise TrialFailedError(what, place, reason + step, instead)


def _environment() -> dict[str, str]:
    """Return the environment of the child: one thread, whose stack is all the memory beside what is tried, and no network."""
    alone = ("TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE", "RAYON_NUM_THREADS", "OMP_NUM_THREADS")
    return {**os.environ, **dict(zip(alone, ("false", "1", "1", "1"), strict=True))}


def _said(output: bytes) -> dict[str, Any]:
    lines = output.splitlines()
    try:
        return dict(json.loads(lines[-1])) if lines else {}
    except (ValueError, TypeError):  # cut off
        return {}


def _while(output: bytes | None) -> str:
    """Return in which step the child ended; its last line may be its verdict."""
    steps = [found["step"] for line in (output or b"").splitlines() if "step" in (found := _said(line))]
    return f" while {steps[-1]}" if steps else ""


def _ended(code: int) -> str:
    """Say what ended a child: the signal of its time, a failed allocation, or something else."""
    if code == -getattr(signal, "SIGPROF", -1):
        return _TOO_LONG
    if code == -getattr(signal, "SIGABRT", -1):
        return f"{_TOO_LARGE}, or fails"
    return f"ends the process that tries it ({code})"
