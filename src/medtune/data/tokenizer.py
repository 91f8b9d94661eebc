"""Loads a base model's tokenizer: local or pinned, never with remote code, with a pad token that costs nothing."""

import json
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from medtune.data.hub.models import described
from medtune.data.outside.trial import remember_own, try_template, try_tokenizer
from medtune.data.shipped_templates import SHIPPED, chosen_template, with_options
from medtune.errors import MedtuneError, SpecError, UnsafeArtifactError
from medtune.machine.libraries import quiet_transformers
from medtune.specs import ModelSpec
from medtune.specs.bounded import json_file

__all__ = ["load_tokenizer", "pinned_day", "read_tokenizer", "save_tokenizer", "splitting", "undated"]

_PAD_CANDIDATES = ("<|pad_0|>", "<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>", "<unk>")
"""Existing tokens that can pad, best first; the embedding is never resized, and the end token never pads."""

_PINNED_DAY = date(2024, 7, 26)
"""The day that a template which writes today's date is given: a prompt must not change overnight. Llama 3.1 writes this one
where there is no clock."""
_DIRECTIVES = "aAbBdmyYjHIpMSfuwUVWGqxXcDFTR"
_MACRO, _END_MACRO = "{%- macro strftime_now(format) -%}", "{%- endmacro -%}"
_FORMER_DATE = (
    f"{_MACRO}{{%- if '%Y-%m-%d' in format -%}}2024-07-26{{%- elif '%B' in format -%}}July 26, 2024{{%- else -%}}26 Jul 2024"
    f"{{%- endif -%}}{_END_MACRO}"
)
"""What earlier releases put before such a template."""

_STARLING_PROBE = "GPT4 Correct User: Hello<|end_of_turn|>GPT4 Correct Assistant:"
_STARLING_IDS = [1, 420, 6316, 28781, 3198, 3123, 1247, 28747, 22557, 32000, 420, 6316, 28781, 3198, 3123, 21631, 28747]
"""Ids of ``<s>`` + probe with the model's own tokenizer; the second 420 depends on legacy prefix behaviour."""


@quiet_transformers()
def load_tokenizer(model: ModelSpec) -> Any:
    """Return the transformers tokenizer of ``model``, right-padded, with a pad token that is not its end token.

    The chosen chat template, its options and a pinned date are written into ``chat_template``: whoever saves and loads the
    tokenizer renders the same.

    Raises:
        HubError: the files are neither local nor given by the hub.
        CorruptDownloadError: a file is not what the hub states.
        SpecError: the model holds no tokenizer, or one that transformers can only run as Python code; or it cannot have the
            chat template, the options or the pad token that ``model`` names.
        UnsafeArtifactError: a Starling tokenizer that does not give Starling's ids.
        TrialFailedError: loading it, or rendering its chat template, takes too much.
    """
    if model.path and not Path(model.path).is_dir():  # transformers would look for a repository of that name
        raise SpecError(f"model.path '{model.path}' is no folder")
    folder = described(model)
    try:
        tokenizer = read_tokenizer(folder)
    except MedtuneError:
        raise
    except Exception as error:  # the tokenizers library raises plain Exceptions
        place = f"model.path '{model.path}'" if model.path else f"model '{model.name}'"
        raise SpecError(f"{place} holds no tokenizer that can be loaded") from error
    if not getattr(tokenizer, "is_fast", False):
        raise SpecError(
            f"the tokenizer of '{model.path or model.name}' has no tokenizer.json form, which medtune needs"
        )
    tokenizer.padding_side = "right"
    _choose_pad(tokenizer, model.pad_token)
    _choose_template(tokenizer, model)
    _try_templates(tokenizer, model)
    _pin_date(tokenizer)
    _check_starling(tokenizer)
    return tokenizer


def read_tokenizer(folder: Path) -> Any:
    """Return a folder's tokenizer as transformers loads it, once it was tried in a process of its own.

    Raises:
        TrialFailedError: loading it takes too much.
        Exception: whatever transformers and the tokenizers library raise for what is none.
    """
    from transformers import AutoTokenizer

    try_tokenizer(folder)
    return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, use_fast=True)


def _try_templates(tokenizer: Any, model: ModelSpec) -> None:
    """Try the templates that are used in the end, which need not be those that lie beside the tokenizer."""
    if model.chat_template in SHIPPED and not model.template_options:
        return
    given = tokenizer.chat_template
    texts: list[Any] = list(given.values()) if isinstance(given, dict) else [given]
    tokens = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    for text in texts:
        if isinstance(text, str):
            try_template(undated(text), model.chat_template or model.path or model.name, tokens)


def _choose_template(tokenizer: Any, model: ModelSpec) -> None:
    if model.chat_template is not None:
        tokenizer.chat_template = chosen_template(model.chat_template)
    if not model.template_options:
        return
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several named ones
        template = template.get("default")
    if not isinstance(template, str):
        raise SpecError("model.template_options need a chat template, and the tokenizer has none")
    tokenizer.chat_template = with_options(template, model.template_options)


def _choose_pad(tokenizer: Any, wanted: str | None) -> None:
    if wanted is not None:
        if wanted not in tokenizer.get_vocab():
            raise SpecError(f"model.pad_token '{wanted}' is no token of this tokenizer, whose embedding is not resized")
        if wanted == tokenizer.eos_token:
            raise SpecError(f"model.pad_token '{wanted}' ends texts, so it cannot pad; choose another token")
        tokenizer.pad_token = wanted
        return
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    known = tokenizer.get_vocab()
    usable = [token for token in _PAD_CANDIDATES if token in known and token != tokenizer.eos_token]
    if not usable:
        raise SpecError(
            "the tokenizer has no token to pad with besides its end token; set model.pad_token to a token that texts "
            "hardly hold"
        )
    tokenizer.pad_token = usable[0]


def _pin_date(tokenizer: Any) -> None:
    """Make a template that asks for today's date write the same day always."""
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several named ones
        tokenizer.chat_template = {name: _with_date(text) for name, text in template.items()}
    elif isinstance(template, str):
        tokenizer.chat_template = _with_date(template)


def _with_date(template: str) -> str:
    asks = "strftime_now" in template and not template.startswith(_MACRO)
    return _pinned_date() + template if asks else template


def _pinned_date() -> str:
    """Return a macro that writes the pinned day, at midnight, in the format that it is given, as ``strftime`` would.

    A template has no ``strftime`` of its own, so what each directive stands for is written down, "%-d" and its like included.
    """
    moment = datetime.combine(_PINNED_DAY, time())
    written = {f"%{letter}": moment.strftime(f"%{letter}") for letter in _DIRECTIVES}
    written |= {f"%-{letter}": str(int(text)) for letter in "dmyjHIMSUW" for text in [written[f"%{letter}"]]}
    replaced = "".join(f".replace({key!r}, {text!r})" for key, text in written.items())
    return f"{_MACRO}{{{{ format.replace('%%', '\\x00'){replaced}.replace('\\x00', '%') }}}}{_END_MACRO}"


def pinned_day(template: str) -> str | None:
    """Return the day, as YYYY-MM-DD, that a loaded tokenizer's template writes for today; None where it writes none."""
    return _PINNED_DAY.isoformat() if template.startswith(_MACRO) else None


def undated(template: str) -> str:
    """Return a loaded tokenizer's template without what medtune put before it for the pinned day, now or formerly."""
    return template.removeprefix(_pinned_date()).removeprefix(_FORMER_DATE)


def _check_starling(tokenizer: Any) -> None:
    """Refuse a Starling tokenizer whose class or version splits its prompt in another way than the model learned."""
    is_starling = tokenizer.get_vocab().get("<|end_of_turn|>") == _STARLING_IDS[9]
    if not is_starling or "GPT4 Correct " not in str(tokenizer.chat_template):
        return
    ids = tokenizer(f"<s>{_STARLING_PROBE}", add_special_tokens=False)["input_ids"]
    if ids != _STARLING_IDS:
        raise UnsafeArtifactError(
            f"this tokenizer does not give Starling's ids for a known prompt (got {ids}); load the model's own "
            "tokenizer.json, or another version of transformers"
        )


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer so that it loads as what it is.

    transformers 5 forgets the ``legacy`` flag of Llama tokenizers when it saves, and a reloaded one would then split a
    prompt in another way; so the flag is written, and the result is loaded and compared.

    Raises:
        UnsafeArtifactError: the saved tokenizer would not give the same ids.
    """
    tokenizer.save_pretrained(folder)
    legacy = getattr(tokenizer, "legacy", None)
    if legacy is not None:
        file = folder / "tokenizer_config.json"
        settings = json_file(file)
        file.write_text(json.dumps({**settings, "legacy": legacy}, indent=2, sort_keys=True), "utf-8")
    remember_own(folder)
    reloaded = load_tokenizer(ModelSpec(path=str(folder)))
    if splitting(reloaded) != splitting(tokenizer):
        raise UnsafeArtifactError(f"the tokenizer saved in '{folder}' would give other ids than the one that trained")


def splitting(tokenizer: Any) -> dict[str, Any]:
    """Return what decides the ids: all of the tokenizer but how it pads and cuts."""
    settings: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return {key: value for key, value in settings.items() if key not in ("padding", "truncation")}
