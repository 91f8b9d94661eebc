"""Runs in a process of its own: loads and uses what others wrote, under limits above what medtune's own has just taken.

It is started by its path and imports nothing of medtune, so that its start costs a tenth of a second.
"""

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_MOST_ID = 2**23  # ids become places of an array
MOST_ADDED = 2**16  # added tokens; the largest known vocabularies have 6,400
MOST_TOKEN = 256  # characters of a special token
_RUN, _PATTERN_RUN = 1000, 64  # characters
_MOST_TURNS = 64
_MOST_CONSTANTS = 400
_TEXTS = (
    "Hello, the patient's BP was 120/80 mmHg; she didn't take 12,345.67 mg.\n\n\tAspirin : B\r\n  two  spaces ",
    "na\u00efve caf\u00e9 \u60a3\u8005\u306f\u767a\u71b1\u304c\u3042\u308b \u041f\u0430\u0446\u0438\u0435\u043d\u0442 \u0627\u0644\u0645\u0631\u064a\u0636 \U0001fa7a\u0301 <s> </s> \x00 \u2581\u2581x",
    *(character * _RUN + "!" for character in "aZ1 \n\t.-_\u00e9\u60a3\u2581"),
    "a1" * _RUN,
    " \n" * _RUN,
)
"""What is encoded: ordinary text, and long runs, on which a pattern that backtracks shows what it costs."""
_LONG = "The patient was given 20 mg.\n" * 700
"""A long content: a template that walks over its characters twice shows here."""
_Turns = list[dict[str, str]]


class TooMuchError(Exception):
    """What was tried is beyond a limit, in words."""


def main() -> None:
    """Read the job from stdin, do it, and write a line before each step and one at the end."""
    job: dict[str, Any] = json.load(sys.stdin)
    far = {"socket.connect", "socket.getaddrinfo", "socket.sendto"}
    sys.addaudithook(lambda event, _: _end({"refused": "asks for the network"}) if event in far else None)
    sys.path[:] = job["path"]
    control = Path(job["control"])
    _control(job, control)  # imports libraries too
    measure = _Measure()
    _control(job, control)
    measure.bound(job, control)
    try:
        _do(job)
    except TooMuchError as error:
        _end({"refused": str(error)})
    except RecursionError:
        _end({"refused": "goes deeper than Python can follow"})
    except MemoryError:
        _end({"refused": job["too_large"]})
    _end({"done": True})


def _control(job: Mapping[str, Any], folder: Path) -> None:
    """Do with medtune's own what is asked for."""
    if job["transformers"]:
        _with_transformers(folder)
    elif job["tokenizers"]:
        _tokenizer(folder / "tokenizer.json", lambda _step: None)
    if job["templates"]:
        _template((folder / "chat_template.jinja").read_text("utf-8"), {})


def _do(job: Mapping[str, Any]) -> None:
    if job["patterns"]:
        _tell("matching its patterns")
        for pattern in job["patterns"]:
            _matched(pattern, job["names"])
    if job["transformers"]:
        _tell("loading it")
        _with_transformers(Path(job["tokenizers"][0]).parent)
    else:
        for file in job["tokenizers"]:
            _tokenizer(Path(file), _tell)
    for template in job["templates"]:
        _tell("rendering conversations")
        _template(template, job["tokens"])


class _Measure:
    """What the control case takes, and limits above that."""

    def __init__(self) -> None:
        self._began = time.process_time()

    def bound(self, job: Mapping[str, Any], control: Path) -> None:
        """Limit processor time and memory from here on.

        The time of a tokenizer grows with its size, and machines differ: the control case's, per byte, is added.
        """
        try:
            import resource
        except ImportError:  # Windows: the parent's clock is all there is
            return
        took = time.process_time() - self._began
        size = (control / "tokenizer.json").stat().st_size
        seconds = job["seconds"] + took * (1 + sum(Path(f).stat().st_size for f in job["tokenizers"]) / size)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # whoever started this may have had it ignored
        signal.setitimer(signal.ITIMER_PROF, seconds)  # whose signal ends the process, whatever code it is in
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize() if _HAS_PROC else 0
        most = used + job["bytes"]
        with_limit = getattr(resource, "RLIMIT_AS", None)
        if with_limit is not None:
            _soft, hard = resource.getrlimit(with_limit)
            resource.setrlimit(with_limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


_HAS_PROC = Path("/proc/self/statm").exists()


def _tokenizer(file: Path, tell: Callable[[str], None]) -> None:
    """Load a tokenizer.json and use it as medtune does."""
    from tokenizers import Tokenizer

    tell(f"loading '{file.name}'")
    try:
        tokenizer: Any = Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 - plain ones; who loads it next says what is wrong, in a sentence of its own
        with suppress(ValueError):
            json.loads(file.read_bytes())  # as transformers does; what is nested too deeply shows here
        return
    _require_small(tokenizer)
    settings = json.loads(tokenizer.to_str())
    tell("encoding texts")
    for text in (*_TEXTS, *_runs_of(_patterns_in(settings))):
        tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False)


def _require_small(tokenizer: Any) -> None:
    added = tokenizer.get_added_tokens_decoder()
    if len(added) > MOST_ADDED:
        raise TooMuchError(f"has {len(added):,} added tokens, more than {MOST_ADDED:,}")
    longest = max((len(token.content) for token in added.values() if token.special), default=0)
    if longest > MOST_TOKEN:
        raise TooMuchError(f"has a special token of {longest:,} characters, more than {MOST_TOKEN}")
    highest = max([*tokenizer.get_vocab(with_added_tokens=True).values(), *added], default=0)
    if highest >= _MOST_ID:
        raise TooMuchError(f"has a token with the id {highest:,}, more than {_MOST_ID:,}")


def _patterns_in(settings: Any) -> Iterator[str]:
    """Yield the regular expressions of a tokenizer's settings, but its model's."""
    inner = (
        settings.items() if isinstance(settings, dict) else enumerate(settings) if isinstance(settings, list) else ()
    )
    for key, value in inner:
        if key == "Regex" and isinstance(value, str):
            yield value
        elif key != "model":
            yield from _patterns_in(value)


def _runs_of(patterns: Iterator[str]) -> Iterator[str]:
    """Yield runs of each character that a pattern names, and of pairs, each with an end that breaks a match off."""
    characters = sorted({c for pattern in patterns for c in pattern})[:128]
    for number, character in enumerate(characters):
        yield character * _PATTERN_RUN + "\x01"
        yield (character + characters[number - 1]) * _PATTERN_RUN + "\x01"


def _with_transformers(folder: Path) -> None:
    """Load a tokenizer in a form that only transformers reads."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, use_fast=True)
    except (RecursionError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - as above
        return
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is None:
        return
    _require_small(backend)
    for text in _TEXTS:
        backend.decode(backend.encode(text).ids, skip_special_tokens=False)


def environment() -> Any:
    """Return the Jinja environment in which transformers renders chat templates; a test compares the two."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        options.setdefault("ensure_ascii", False)
        return json.dumps(value, **options)

    found: Any = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_tag(), loopcontrols]
    )
    found.filters["tojson"] = to_json
    found.globals |= {"raise_exception": refuse, "strftime_now": time.strftime}
    return found


def _generation_tag() -> Any:
    """Return the extension for the tag around answers, whose content is rendered as it is."""
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as Jinja asks

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _template(text: str, tokens: Mapping[str, str]) -> None:
    """Render conversations of many kinds; a template may refuse each of them, but not take long or much."""
    try:
        jinja = environment()
        template = jinja.from_string(text)
        strings, numbers = _constants(jinja, text)
    except (RecursionError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - who uses it next says what is wrong, in a sentence of its own
        return
    long = {"bos_token": "<" * MOST_TOKEN, "eos_token": ">" * MOST_TOKEN}
    ordinary = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", **tokens}
    for given in (ordinary, {**ordinary, **long}):
        for turns in _conversations(strings, numbers):
            for opens in (True, False):
                _render(template, messages=turns, add_generation_prompt=opens, **given)


def _render(template: Any, **given: Any) -> None:
    try:
        template.render(tools=None, documents=None, **given)
    except (RecursionError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - as templates do with turns that their model never saw
        return


def _constants(jinja: Any, text: str) -> tuple[list[str], list[int]]:
    """Return the strings and the small numbers that a template names: what it may look for in a conversation."""
    from jinja2 import nodes

    found = [node.value for node in jinja.parse(text).find_all(nodes.Const)]
    strings = dict.fromkeys(value for value in found if isinstance(value, str) and value)
    numbers = {value for value in found if type(value) is int and 0 <= value < _MOST_TURNS}
    return list(strings)[:_MOST_CONSTANTS], sorted(numbers)


def _conversations(strings: list[str], numbers: list[int]) -> Iterator[_Turns]:
    """Yield conversations in which everything stands that the template looks for."""
    for count in sorted({1, 2, 3, 4, 9, *(n + extra for n in numbers for extra in (0, 1, 2) if n + extra)}):
        yield _turns(count, "Hello")
        yield [{"role": "system", "content": "Be brief."}, *_turns(count, "Hello")]
    yield _turns(2, _LONG)
    yield [*_turns(1, "Why?"), {"role": "assistant", "content": "Yes.", "reasoning_content": "So.", "thinking": "So."}]
    for string in strings:
        yield _turns(2, f"Hello {string} there {string}")
        yield [{"role": string, "content": string}, *_turns(2, string)]


def _turns(count: int, content: str) -> _Turns:
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i in range(count)]


def _matched(pattern: str, names: list[str]) -> None:
    """Match a pattern against names as adapters' libraries do."""
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError):
        return  # who uses it next says so
    for name in names:
        compiled.fullmatch(name)
        compiled.search(name)


def _tell(step: str) -> None:
    _say({"step": step})


def _end(said: Mapping[str, Any]) -> NoReturn:
    _say(said)
    raise SystemExit(0)


def _say(said: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
