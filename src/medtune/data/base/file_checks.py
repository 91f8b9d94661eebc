"""Checks of a base's files by themselves: is everything there, whole, inside the folder, and made of numbers?"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from medtune.data.base.fault import Fault
from medtune.data.base.folder import Case, require_place
from medtune.data.base.headers import AGAIN
from medtune.specs.bounded import BoundsError, json_file

__all__ = [
    "adapter",
    "code",
    "complete",
    "config",
    "config_values",
    "finite",
    "inside",
    "place",
    "presence",
    "some",
    "weight_files",
    "zeros",
]

_SIZES = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings", "head_dim", "n_embd", "n_layer", "n_head", "n_positions",
)  # fmt: skip
_PROBABILITIES = ("attention_dropout", "hidden_dropout", "dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop")
_LAYERS = re.compile(r"^(num|n)_(\w+_)?(layers?|blocks?)$|^\w*(encoder|decoder)_layers$|^depth$")
_MOST: tuple[tuple[re.Pattern[str], int], ...] = (
    (_LAYERS, 1024),
    (re.compile(r"(num|n)_\w*(experts?|heads?|groups?)$"), 16_384),
    (re.compile(r"position|_ctx$|seq_len|length"), 2**25),
    (re.compile(r"vocab_size$"), 2**25),
    (re.compile(r"_(size|dim|embd|inner|rank)$|^(d_model|d_ff|d_kv|d_inner|ffn_dim|head_dim|state_size)$"), 2**22),
)
"""Names of sizes -> more than any model has; each is several times the largest that is known."""
_IMPLEMENTATION = re.compile(r"(attn|attention|experts)_implementation")
"""Keys whose value transformers takes for a repository of kernels where it holds a slash."""
_FIX = "correct it, or get config.json again from where the base comes from"
_SHOWN = 3  # names in a sentence


def place(case: Case) -> Iterator[str]:
    """The place that the spec names is a folder, and not a repository's name that is a folder too."""
    require_place(case.spec.model)
    yield from ()


def adapter(case: Case) -> Iterator[str]:
    """No adapter lies here: transformers would drop it, or load it into the base."""
    found = case.base.adapter_config
    if found is not None:
        of = found.get("base_model_name_or_path") or "one that its adapter_config.json does not name"
        raise Fault(
            f"holds an adapter, whose base is '{of}'",
            "set model to that base; to train on base and adapter together, merge them first",
        )
    yield from ()


def presence(case: Case) -> Iterator[str]:
    """There is a config.json."""
    if not (case.base.path / "config.json").is_file():
        raise Fault("has no config.json, so it is no base", "name the folder that holds the base's own files")
    yield from ()


def config(case: Case) -> Iterator[str]:
    """config.json is a JSON object that names a type of model."""
    if not isinstance(case.base.config.get("model_type"), str) or not case.base.config["model_type"]:
        raise Fault("has a config.json without model_type", _FIX)
    file = case.base.path / "generation_config.json"
    if file.exists():  # which transformers reads too, and needs not be there
        try:
            json_file(file, finite=False)
        except BoundsError as error:
            raise Fault(f"has a '{file.name}' that {error}", AGAIN) from error
        except ValueError:  # whoever uses it says so
            return
    yield from ()


def config_values(case: Case) -> Iterator[str]:
    """Sizes are whole numbers above zero that a model can have, probabilities are numbers, heads divide what they share."""
    values = case.base.config
    for name in _SIZES:
        found = values.get(name)
        is_count = isinstance(found, int) and not isinstance(found, bool) and found > 0
        if found is not None and not is_count:
            raise Fault(f"has a config.json whose {name} is no whole number above zero", _FIX)
    for name in _PROBABILITIES:
        found = values.get(name)
        if found is not None and not (isinstance(found, int | float) and 0 <= found <= 1):
            raise Fault(f"has a config.json whose {name} is no number from 0 to 1", _FIX)
    _require_possible(case)
    _require_shares(values)
    yield from ()


def _require_possible(case: Case) -> None:
    """Refuse sizes that no model has, before building it takes hours, and more layers than there are tensors."""
    held: int | None = None
    with contextlib.suppress(Fault, OSError):  # damaged files have checks of their own
        held = len(case.base.tensors) or None
    for name, found in _numbers(case.base.config):
        most = next((most for pattern, most in _MOST if pattern.search(name)), None)
        if most is not None and found > most:
            raise Fault(f"has a config.json whose {name} is {found:,}, and {most:,} is more than any model has", _FIX)
        if held is not None and _LAYERS.search(name) and found > held:
            raise Fault(f"has a config.json whose {name} is {found:,}, and weights of {held:,} tensors in all", _FIX)


def _numbers(values: Any) -> Iterator[tuple[str, int | float]]:
    """Yield every number of a configuration with its name, however deep."""
    return (
        (name, value)
        for name, value in _entries(values)
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def _require_shares(values: Mapping[str, Any]) -> None:
    hidden, heads, shared = (values.get(key) for key in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    if hidden and heads and not values.get("head_dim") and hidden % heads:
        raise Fault(f"has a config.json whose {heads} heads do not divide a hidden_size of {hidden}", _FIX)
    if heads and shared and heads % shared:
        raise Fault(f"has a config.json whose {shared} key heads do not divide its {heads} heads", _FIX)
    types, layers = values.get("layer_types"), values.get("num_hidden_layers")
    if isinstance(types, list) and layers and len(types) != layers:
        raise Fault(f"has a config.json with {len(types)} layer_types for {layers} layers", _FIX)


def code(case: Case) -> Iterator[str]:
    """Nothing in config.json, however deep, asks for code from a repository."""
    for name, found in _entries(case.base.config):
        if _IMPLEMENTATION.search(name) and any("/" in each for each in _texts(found)):
            raise Fault(f"has a config.json whose {name} names a repository of code", f"remove {name} from it")
    if "auto_map" in case.base.config:
        yield "its config.json offers code of its own (auto_map), which is not run: transformers' own class is taken"


def _entries(values: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of a configuration with its value, however deep."""
    if isinstance(values, dict):
        for name, value in cast("dict[str, Any]", values).items():
            yield name, value
            yield from _entries(value)
    elif isinstance(values, list):
        for value in values:
            yield from _entries(value)


def _texts(value: Any) -> list[str]:
    """Return a text, or those of a mapping from parts of a model."""
    held = list(cast("dict[str, Any]", value).values()) if isinstance(value, dict) else [value]
    return [each for each in held if isinstance(each, str)]


def weight_files(case: Case) -> Iterator[str]:
    """There are weights, and none of them only as pickles."""
    if not case.base.shards:
        pickled = sorted(
            file.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in case.base.path.glob(kind)
        )
        if pickled:
            raise Fault(
                f"has its weights as pickles only ('{pickled[0]}'), which can run code when they are read",
                "save them as safetensors where the base is trusted, or take a repository that has them so",
            )
        raise Fault("has no model.safetensors and no model.safetensors.index.json", "get its weights too")
    unread = sorted(
        file.name for file in case.base.path.glob("model*.safetensors") if file.name not in case.base.shards
    )
    if unread:
        yield f"{len(unread)} of its files of weights are not read, because the index does not name them: {some(unread)}"


def inside(case: Case) -> Iterator[str]:
    """Every file of weights lies in the folder; the hub's cache may link to its own blobs."""
    folder = case.base.path.resolve()
    homes = [folder, *([folder.parents[1] / "blobs"] if folder.parent.name == "snapshots" else [])]
    for name in case.base.shards:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise Fault("has an index that names a file outside of the folder", "get the index again")
        target = Path(os.path.realpath(case.base.path / name))  # which gives up on links that lead in a circle
        if target.is_symlink() or not any(target.is_relative_to(home) for home in homes):
            raise Fault(f"has a link out of its folder in the place of '{name}'", "put the file itself there")
    yield from ()


def complete(case: Case) -> Iterator[str]:
    """Every file of the index is there and whole, and holds the tensors that the index says."""
    absent = [name for name in case.base.shards if not (case.base.path / name).is_file()]
    if absent:
        raise Fault(f"lacks {len(absent)} of its {len(case.base.shards)} files of weights: {some(absent)}", AGAIN)
    for file, named in case.base.shards.items():
        held = {name for name, tensor in case.base.tensors.items() if tensor.file.name == Path(file).name}
        lost = sorted(set(named or ()) - held)
        if lost:
            raise Fault(f"has no tensor '{lost[0]}' in '{file}', where its index says that it is", AGAIN)
    yield from ()


def finite(case: Case) -> Iterator[str]:
    """No weight that was looked at is NaN or infinite."""
    from medtune.data.base.sampled import look_into

    for file in case.base.shards:
        wrong = look_into(case.base.path / file).nonfinite
        if wrong:
            raise Fault(f"has values that are not finite in {len(wrong)} tensors of '{file}': {some(wrong)}", AGAIN)
    yield from ()


def zeros(case: Case) -> Iterator[str]:
    """No file is blank, as one is whose space was reserved before it was written: zeros, or one value for all weights."""
    from medtune.data.base.sampled import look_into

    for file in case.base.shards:
        found = look_into(case.base.path / file)
        if found.is_blank:
            said = f"{len(found.blank)} of {len(found.matrices)} matrices" if found.matrices else "all tensors"
            raise Fault(f"has zeros only, or one value throughout, in {said} of '{file}'", AGAIN)
        if found.blank:
            yield f"{len(found.blank)} matrices of '{file}' hold zeros only, or one value throughout: {some(found.blank)}"


def some(names: list[str] | tuple[str, ...]) -> str:
    """Return the first names, and how many follow."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
