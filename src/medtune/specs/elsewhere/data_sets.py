"""How other programs name their data sets, and what that is in a spec."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.specs.elsewhere.meanings import CHANGED, REFUSED, SAME, UNKNOWN, Finding, Outcome

__all__ = ["COMPARE", "axolotl_data", "held_out", "llama_factory_data", "ms_swift_data"]

COMPARE = "compare by medtune preview --against"
_OF_DATASET = {"path", "name", "split", "type", "data_files", "ds_type", "revision"}
_AS_IS = {"roles_to_train": (["assistant"], ["gpt"]), "train_on_eos": ("turn", "all"), "field_messages": ("messages",)}


def held_out(value: Any) -> Any:
    """Take the share of rows to hold out."""
    if float(value) >= 1:
        return Outcome(CHANGED, "a number of rows; here a share is held out, evenly by source")
    return float(value) if value else Outcome(CHANGED, "some rows are held out in any case, to score on")


def axolotl_data(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    """Read the data sets: the first is the source, others are mixed in."""
    entries: list[dict[str, Any]] = [each for each in given.get("datasets") or () if isinstance(each, dict)]
    members = list[dict[str, Any]]()
    for place, entry in enumerate(entries):
        member = {"source": entry.get("data_files") or entry.get("path"), "split": entry.get("split") or "train"}
        if isinstance(member["source"], list):
            member["source"] = member["source"][0] if len(member["source"]) == 1 else entry.get("path")
        member |= {
            here: entry[there] for there, here in (("name", "subset"), ("revision", "revision")) if entry.get(there)
        }
        members.append(member)
        yield from _entry(f"datasets.{place}", entry, values)
    if members:
        values |= {f"data.{name}": value for name, value in members[0].items()}
        if members[1:]:
            values["data.mix"] = members[1:]
    tests: list[Any] = [each for each in given.get("test_datasets") or () if isinstance(each, dict)]
    if tests:
        values["data.validation"] = tests[0].get("data_files") or tests[0].get("path")
        values.pop("data.validation_fraction", None)
        if tests[1:]:
            yield Finding(
                "test_datasets", f"{len(tests)} sets", CHANGED, "data.validation", "the first one is scored on"
            )


def _entry(place: str, entry: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    kind = entry.get("type")
    if kind == "alpaca" and "model.chat_template" not in values:
        values["model.chat_template"] = "alpaca"
        yield Finding(
            f"{place}.type", kind, CHANGED, "model.chat_template", f"medtune's template of that style; {COMPARE}"
        )
    elif kind in ("chat_template", None):
        yield Finding(f"{place}.type", kind, SAME, "data.formatter", "found by the columns")
    elif kind in ("completion", "pretrain"):
        yield Finding(
            f"{place}.type", kind, REFUSED, "data.formatter", "a text without question and answer is not trained on"
        )
    else:
        yield Finding(
            f"{place}.type",
            "a mapping" if isinstance(kind, dict) else kind,
            CHANGED,
            "data.formatter",
            f"found by the columns; {COMPARE}",
        )
    for key, value in entry.items():
        if key in _OF_DATASET or value is None:
            continue
        if key in _AS_IS:
            verdict = SAME if value in _AS_IS[key] else CHANGED
            yield Finding(
                f"{place}.{key}",
                value,
                verdict,
                "data.columns" if key.startswith("field") else "data.supervise",
                "" if verdict == SAME else "map columns by data.columns; every answer carries loss",
            )
        elif key.startswith(("field", "message")):
            yield Finding(
                f"{place}.{key}", value, CHANGED, "data.columns", "columns are found, or mapped by data.columns"
            )
        else:
            yield Finding(f"{place}.{key}", value, UNKNOWN, "", "no meaning of it is known here")


def llama_factory_data(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    """Read the names of data sets; what they stand for is said by a dataset_info.json, which ``sources`` holds where it was found."""
    known: Mapping[str, Any] = given.get("(dataset_info)") or {}
    members = list[dict[str, Any]]()
    for name in _names(given.get("dataset")):
        member = _source(name, known.get(name), str(given.get("dataset_dir") or "data"))
        if name not in known:
            yield Finding(
                f"dataset {name}",
                name,
                CHANGED,
                "data.source",
                "a name of dataset_info.json, which is not here; put the file or repository in its place",
            )
        elif isinstance(columns := known[name].get("columns"), dict):
            yield Finding(
                f"dataset {name}",
                name,
                CHANGED,
                "data.columns",
                f"columns are found, or mapped by data.columns; there: {columns}",
            )
        members.append(member)
    if members:
        values |= {f"data.{name}": value for name, value in members[0].items()}
        if members[1:]:
            values["data.mix"] = members[1:]
    held = [
        _source(name, known.get(name), str(given.get("dataset_dir") or "data"))["source"]
        for name in _names(given.get("eval_dataset"))
    ]
    if held:
        values["data.validation"] = held[0]
        yield Finding(
            "eval_dataset", given["eval_dataset"], CHANGED, "data.validation", "the first one is scored on, by task"
        )


def _names(value: Any) -> list[str]:
    return (
        [part.strip() for part in value.split(",")] if isinstance(value, str) else [str(each) for each in value or ()]
    )


def _source(name: str, entry: Any, folder: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        return {"source": name}
    if entry.get("hf_hub_url"):
        found = {"source": entry["hf_hub_url"], "subset": entry.get("subset"), "split": entry.get("split") or "train"}
    else:
        found = {"source": f"{folder.rstrip('/')}/{entry.get('file_name') or name}"}
    return {key: value for key, value in found.items() if value}


def ms_swift_data(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    """Read data sets written as NAME:SUBSET#COUNT."""
    listed = given.get("dataset")
    members = list[dict[str, Any]]()
    for written in [listed] if isinstance(listed, str) else list(listed or ()):
        rest, _hash, count = str(written).partition("#")
        source, _colon, subset = rest.partition(":")
        members.append({"source": source, **({"subset": subset} if subset else {})})
        if count:
            yield Finding(
                f"dataset {source}",
                written,
                CHANGED,
                "data.limit",
                f"{count} rows there; data.limit draws from all sources together",
            )
        if not source.endswith((".jsonl", ".json", ".csv")) and not given.get("use_hf"):
            yield Finding(
                f"dataset {source}",
                written,
                CHANGED,
                "data.source",
                "of ModelScope there; here the repository of that name on Hugging Face, if there is one",
            )
    if members:
        values |= {f"data.{name}": value for name, value in members[0].items()}
        if members[1:]:
            values["data.mix"] = members[1:]
    listed = given.get("val_dataset")
    held = [listed] if isinstance(listed, str) else list(listed or ())
    if held:
        values["data.validation"] = held[0]
        values.pop("data.validation_fraction", None)
    if held[1:]:
        yield Finding("val_dataset", listed, REFUSED, "data.validation", "only the first one is scored on")
