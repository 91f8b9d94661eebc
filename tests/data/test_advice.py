"""Advice that can be taken: every setting that an error names is one, and rows get further with it."""

import json
import re
import shlex

import pytest

from medtune.data.account import Account
from medtune.data.examples import training_examples
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError
from medtune.specfile import apply_overrides, validate_spec

WORDS = ("gout", "asthma", "migraine", "anaemia", "eczema", "angina", "sepsis", "rubella")
LONG = "A long note about {} that the patient number {} had, with more words in it."


def _rows(make):
    return [make(number, WORDS[number % 8]) for number in range(80)]


OPTIONS = list(WORDS[:4])
FILES = {
    "capital names": ("jsonl", _rows(lambda i, w: {"Instruction": f"Say {w} {i}.", "Response": w})),
    "prompt and response": ("jsonl", _rows(lambda i, w: {"prompt": f"Say {w} {i}.", "response": w})),
    "text and summary": ("jsonl", _rows(lambda i, w: {"text": LONG.format(w, i), "summary": f"He had {w}, as number {i}."})),
    "note and label": ("jsonl", _rows(lambda i, w: {"note": LONG.format(w, i), "target": w})),
    "rows in an object": ("jsonl", _rows(lambda i, w: {"row": {"question": f"{w} {i}?", "answer": w}})),
    "a list of objects beside": ("jsonl", _rows(lambda i, w: {"query": f"{w} {i}?", "content": [{"url": "x"}], "reply": w})),
    "unread text": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", "answer": w, "why": LONG.format(w, i)})),
    "unread text inside": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", "answer": w, "by": {"why": LONG.format(w, i)}})),
    "unread text of a message": (
        "jsonl",
        _rows(lambda i, w: {"messages": [{"role": "user", "content": w, "note": LONG.format(w, i)}, {"role": "assistant", "content": w}]}),
    ),
    "options from 1": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", "options": OPTIONS, "answer": 1 + i % 4})),
    "options from 1, few": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", "options": OPTIONS, "answer": 1 + i % 3})[:9]),
    "options from 0": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", "choices": OPTIONS, "answer": i % 4})),
    "options from 1 as text": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", "options": OPTIONS, "answer_idx": str(1 + i % 4)})),
    "cop from 1": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", **dict(zip(("opa", "opb", "opc", "opd"), OPTIONS, strict=True)), "cop": 1 + i % 4})),
    "labels by number, one named": ("jsonl", _rows(lambda i, w: {"text": f"{w} {i}.", "label": i % 3})),
    "options in columns": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", **dict(zip("ABCD", OPTIONS, strict=True)), "answer": "abcd"[i % 4]})),
    "tags by number": ("jsonl", _rows(lambda i, w: {"tokens": [w, str(i)], "ner_tags": [i % 2, 0]})),
    "a wrapper": ("json", {"version": 1, "items": _rows(lambda i, w: {"question": f"{w} {i}?", "answer": w})}),
    "splits": ("json", {"train": _rows(lambda i, w: {"question": f"{w} {i}?", "answer": w}), "dev": [{"question": "A?", "answer": "b"}]}),
    "a source per row": ("jsonl", _rows(lambda i, w: {"question": f"{w} {i}?", "answer": w, "source": f"http://x/{i}"})),
    "cp1252": ("csv", "question,answer\n" + "".join(f"Größe {i}?,groß\n" for i in range(80))),
}  # fmt: skip


def written(folder, kind, content):
    path = folder / f"r.{kind}"
    if kind == "jsonl":
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(
        content.encode("cp1252")
        if kind == "csv"
        else (content if isinstance(content, str) else json.dumps(content, indent=1)).encode()
    )
    return path


def outcome(path, settings, host):
    """Return what is wrong with a file under settings, empty for nothing."""
    spec = validate_spec(apply_overrides({"data": {"source": str(path), "validation": None}}, settings)).data
    quarantine = Quarantine(None, 0.0, account=Account())
    try:
        for _example in training_examples(spec, host, quarantine, 0):
            pass
    except DataError as error:
        return str(error)
    return ""


def alternatives(sentence):
    """Return the settings that a sentence names, those of one way together."""
    if "data.encoding" in sentence:
        return [["data.encoding=cp1252"]]
    ways = re.split(r", or (?=if|declare)|; look", sentence)
    found = []
    for way in ways:
        quoted = re.findall(r"'(data\.labels\.[^']+)'", way)
        plain = re.findall(r"(?<!')\b(data\.[a-z_.]+=[^\s,;']+(?:,[^\s,;']+)*)", way)
        settings = quoted or [shlex.split(setting)[0].rstrip(".,") for setting in plain if "COLUMN" not in setting]
        found += [settings] if settings else []
    return found


@pytest.mark.parametrize("name", FILES)
def test_whatever_an_error_advises_can_be_set_and_leads_on(name, host, tmp_path):
    path = written(tmp_path, *FILES[name])
    taken = ['data.labels.label={0="no"}'] if "one named" in name else []
    said = outcome(path, taken, host)
    if name != "a source per row":  # refused where its tokens are counted
        assert said
    for _step in range(4):
        if not said:
            break
        ways = alternatives(said)
        assert ways, said
        after = {tuple(way): outcome(path, [*taken, *way], host) for way in ways}
        assert said not in after.values()
        best = min(after, key=lambda way: len(after[way]))
        taken, said = [*taken, *best], after[best]
    assert not said


def test_columns_whose_names_look_like_text_are_not_shown_in_advice(host, tmp_path):
    secret = "Mrs Patient has gout, says she"
    rows = [{"question": f"{i}?", "answer": "b", secret: LONG.format("x", i)} for i in range(50)]
    said = outcome(written(tmp_path, "jsonl", rows), [], host)
    assert secret not in said
    assert "plain names" in said
