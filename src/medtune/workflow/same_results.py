"""Compares two runs of one spec: what they were made with, and what of their results is equal to the bit."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.evaluation.predictions import read_predictions
from medtune.runs.folder import RunFolder
from medtune.runs.log import RunLog
from medtune.runs.manifest import file_digest
from medtune.runs.record.chain import read_chain

__all__ = ["compare_results"]

_ADAPTER = "adapter_model.safetensors"
_SETTLED = ("device", "compute_dtype", "scheme", "path", "micro_batch_rows", "gradient_accumulation_steps", "recompute")
"""What a plan decides by the machine, and what changes how numbers are rounded."""
_WHICH = ("base", "tuned")


@dataclass(frozen=True)
class _Pair:
    """The first run and the second."""

    first: RunFolder
    second: RunFolder

    @property
    def records(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.first.read(), self.second.read()


def compare_results(first: RunFolder, second: RunFolder) -> dict[str, Any]:
    """Say what of two finished runs is equal.

    Returns:
        ``equal``; ``differs``: names of the parts that are not; ``made_with``: package, part of the machine or decision of
        the plan -> both values, of those that differ; ``data``, ``losses``, ``adapter``, ``answers`` and ``scores``, each
        with ``equal`` and figures; ``sentences``, the differences in what they were made with first.
    """
    pair = _Pair(first, second)
    parts: dict[str, dict[str, Any]] = {
        "data": _data(pair),
        "losses": _losses(pair),
        "adapter": _adapter(pair),
        "answers": _answers(pair),
        "scores": _scores(pair),
    }
    differs = [name for name, part in parts.items() if not part["equal"]]
    made_with = dict(_made_with(pair))
    found = {"equal": not differs, "differs": differs, "made_with": made_with, **parts}
    return {**found, "sentences": [*_differences(made_with), *_sentences(parts)]}


def _made_with(pair: _Pair) -> Iterator[tuple[str, list[Any]]]:
    """Yield what differs in packages, machine and decisions of the plan; of equal versions, whose files differ."""
    one, other = pair.records
    packages = [dict[str, Any](chain.facts.get("packages", {})) if chain else {} for chain in _chains(pair)]
    versions = [
        record["versions"] | {name: of[0] for name, of in found.items()}
        for record, found in zip((one, other), packages, strict=True)
    ]
    for name in sorted(versions[0].keys() | versions[1].keys()):
        before, after = versions[0].get(name), versions[1].get(name)
        if before != after:
            yield name, [before, after]
        elif packages[0].get(name) != packages[1].get(name) and all(packages):
            yield f"{name} (its files)", [found.get(name, [None, None])[1] for found in packages]
    for name in _SETTLED:
        before, after = one["plan"].get(name), other["plan"].get(name)
        if before != after:
            yield name, [before, after]


def _chains(pair: _Pair) -> list[Any]:
    return [read_chain(folder.path) for folder in (pair.first, pair.second)]


def _data(pair: _Pair) -> dict[str, Any]:
    """Compare the prepared rows, by the hash over their ids and tokens, and the prompts."""
    prints = [record["fingerprints"] for record in pair.records]
    found = {name: [of.get(name) for of in prints] for name in ("data", "prompt_contract")}
    return {"equal": all(before == after for before, after in found.values()), "fingerprints": found}


def _losses(pair: _Pair) -> dict[str, Any]:
    """Compare the losses of each logged step."""
    before, after = (_logged(folder) for folder in (pair.first, pair.second))
    common = before.keys() & after.keys()
    gaps = [abs(before[step] - after[step]) for step in common if before[step] != after[step]]
    return {
        "equal": before == after and bool(before),
        "steps": len(common),
        "equal_steps": len(common) - len(gaps),
        "only_in_one": len(before.keys() ^ after.keys()),
        "greatest_difference": max(gaps, default=0.0),
    }


def _logged(folder: RunFolder) -> dict[int, float]:
    """Return step -> loss; what was not finite counts as one value."""
    found = {line["step"]: line["loss"] for line in RunLog(folder.log_path).read() if "loss" in line}
    return {int(step): math.inf if isinstance(loss, str) else float(loss) for step, loss in found.items()}


def _adapter(pair: _Pair) -> dict[str, Any]:
    """Compare the adapters' files, and where they differ their values."""
    files = [folder.adapter_dir / _ADAPTER for folder in (pair.first, pair.second)]
    digests = [file_digest(file) if file.is_file() else None for file in files]
    if digests[0] == digests[1] or None in digests:
        return {"equal": digests[0] == digests[1], "sha256": digests, "greatest_difference": 0.0, "differing": []}
    differing, greatest = _tensors(files[0], files[1])
    return {"equal": False, "sha256": digests, "greatest_difference": greatest, "differing": differing}


def _tensors(first: Path, second: Path) -> tuple[list[str], float]:
    """Return the names of tensors that differ, and by how much at most."""
    from safetensors import safe_open

    differing, greatest = list[str](), 0.0
    with safe_open(first, "pt") as one, safe_open(second, "pt") as other:
        names = set(one.keys()), set(other.keys())
        for name in sorted(names[0] & names[1]):
            before, after = one.get_tensor(name).double(), other.get_tensor(name).double()
            if before.shape != after.shape or not before.equal(after):
                differing.append(name)
                gap = (before - after).abs().max().item() if before.shape == after.shape else math.inf
                greatest = max(greatest, gap)
    return [*differing, *sorted(names[0] ^ names[1])], greatest


def _answers(pair: _Pair) -> dict[str, Any]:
    """Compare the answers to each row that both were asked."""
    found: dict[str, Any] = {}
    for which in _WHICH:
        before, after = (_told(folder, which) for folder in (pair.first, pair.second))
        common = before.keys() & after.keys()
        found[which] = {
            "rows": len(common),
            "equal": sum(before[row] == after[row] for row in common),
            "only_in_one": len(before.keys() ^ after.keys()),
        }
    return {"equal": all(of["rows"] == of["equal"] and not of["only_in_one"] for of in found.values()), **found}


def _told(folder: RunFolder, which: str) -> dict[tuple[str, str, int], str]:
    """Return an answer for each row; one that is asked twice counts twice."""
    file = folder.evaluation_dir / f"predictions-{which}.jsonl"
    found, asked = dict[tuple[str, str, int], str](), Counter[tuple[str, str]]()
    for answer in read_predictions(file) if file.is_file() else ():
        row = answer.example.source, answer.example.row_id
        found[*row, asked[row]] = answer.text
        asked[row] += 1
    return found


def _scores(pair: _Pair) -> dict[str, Any]:
    """Compare the scores of each task."""
    before, after = (record.get("scores", {}) for record in pair.records)
    tasks = {task: [before.get(task), after.get(task)] for task in sorted(before.keys() | after.keys())}
    return {"equal": before == after, "tasks": {task: of for task, of in tasks.items() if of[0] != of[1]}}


def _differences(made_with: Mapping[str, list[Any]]) -> list[str]:
    shown = [f"{name}: {before} then, {after} now" for name, (before, after) in made_with.items()]
    return shown or ["packages, machine and plan are the same"]


def _sentences(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    losses, adapter, answers = parts["losses"], parts["adapter"], parts["answers"]
    yield "data: the same rows as the same tokens" if parts["data"]["equal"] else "data: other rows, tokens or prompts"
    yield (
        f"losses: {losses['equal_steps']} of {losses['steps']} logged steps are equal to the bit; "
        f"the greatest difference is {losses['greatest_difference']:.3g}"
    )
    yield (
        "adapter: equal to the bit"
        if adapter["equal"]
        else f"adapter: {len(adapter['differing'])} tensors differ, by at most {adapter['greatest_difference']:.3g}"
    )
    for which in _WHICH:
        yield f"answers of the {which} model: {answers[which]['equal']} of {answers[which]['rows']} are equal"
    yield "scores: equal" if parts["scores"]["equal"] else f"scores: differ in {', '.join(parts['scores']['tasks'])}"
