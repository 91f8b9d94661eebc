"""Checks of a base's files by themselves: is everything there, whole, inside the folder, and made of numbers?"""

from collections.abc import Iterator
from pathlib import Path

from medtune.data.base.fault import Fault
from medtune.data.base.folder import Case, require_place
from medtune.data.base.headers import AGAIN

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
    yield from ()


def config_values(case: Case) -> Iterator[str]:
    """Sizes are whole numbers above zero, probabilities are numbers, heads divide what they share."""
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
    hidden, heads, shared = (values.get(key) for key in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    if hidden and heads and not values.get("head_dim") and hidden % heads:
        raise Fault(f"has a config.json whose {heads} heads do not divide a hidden_size of {hidden}", _FIX)
    if heads and shared and heads % shared:
        raise Fault(f"has a config.json whose {shared} key heads do not divide its {heads} heads", _FIX)
    types, layers = values.get("layer_types"), values.get("num_hidden_layers")
    if isinstance(types, list) and layers and len(types) != layers:
        raise Fault(f"has a config.json with {len(types)} layer_types for {layers} layers", _FIX)
    yield from ()


def code(case: Case) -> Iterator[str]:
    """Nothing in config.json asks for code from a repository."""
    for name in ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation"):
        found = case.base.config.get(name)
        if isinstance(found, str) and "/" in found:
            raise Fault(f"has a config.json whose {name} names a repository of code", f"remove {name} from it")
    if "auto_map" in case.base.config:
        yield "its config.json offers code of its own (auto_map), which is not run: transformers' own class is taken"


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
        target = (case.base.path / name).resolve()
        if not any(target.is_relative_to(home) for home in homes):
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
        wrong, _any_value = look_into(case.base.path / file)
        if wrong:
            raise Fault(f"has values that are not finite in {len(wrong)} tensors of '{file}': {some(wrong)}", AGAIN)
    yield from ()


def zeros(case: Case) -> Iterator[str]:
    """No file of weights holds zeros only, as one does whose space was reserved before it was written."""
    from medtune.data.base.sampled import look_into

    for file in case.base.shards:
        _wrong, any_value = look_into(case.base.path / file)
        if not any_value:
            raise Fault(f"has zeros only in '{file}'", AGAIN)
    yield from ()


def some(names: list[str] | tuple[str, ...]) -> str:
    """Return the first names, and how many follow."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
