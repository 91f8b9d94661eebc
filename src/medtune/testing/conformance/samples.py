"""Rows, examples and texts that things are tried with."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medtune.plugins.contracts import Example
from medtune.testing.conformance.bench import CANARY

__all__ = ["STOCK_EXAMPLES", "STOCK_ROWS", "STRANGE_TEXTS", "hostile_rows", "rows_of_columns"]

_QUESTION = f"Which drug did {CANARY} receive?"
STOCK_ROWS: tuple[Mapping[str, Any], ...] = (
    {"instruction": "Name the drug.", "input": f"{CANARY} received aspirin.", "output": "aspirin", "source": "notes"},
    {"instruction": "Name the dose.", "input": f"{CANARY} took 5 mg.", "output": "5 mg", "source": "notes"},
    {"instruction": "Name the drug.", "context": f"{CANARY} received aspirin.", "response": "aspirin", "category": "qa"},
    {"instruction": "Name the dose.", "context": f"{CANARY} took 5 mg.", "response": "5 mg", "category": "qa"},
    {"question": _QUESTION, "opa": "aspirin", "opb": "ibuprofen", "opc": "morphine", "opd": "none", "cop": 1,
     "exp": "It says so.", "choice_type": "single", "id": "a1", "subject_name": "Pharmacology", "topic_name": "Pain"},
    {"question": f"How did {CANARY} take it?", "opa": "by mouth", "opb": "iv", "opc": "im", "opd": "none", "cop": 2,
     "exp": "It says so.", "choice_type": "single", "id": "a2", "subject_name": "Pharmacology", "topic_name": "Pain"},
    {"question": _QUESTION, "options": {"A": "aspirin", "B": "ibuprofen", "C": "morphine", "D": "none"}, "answer_idx": "A",
     "answer": "aspirin", "meta_info": "step1"},
    {"question": f"How did {CANARY} take it?", "options": {"A": "by mouth", "B": "iv", "C": "im", "D": "none"},
     "answer_idx": "B", "answer": "iv", "meta_info": "step1"},
    {"Question": _QUESTION, "Complex_CoT": "The note says aspirin.", "Response": "aspirin"},
    {"Question": f"How did {CANARY} take it?", "Complex_CoT": "The note says by mouth.", "Response": "by mouth"},
    {"messages": [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": "aspirin"}]},
    {"messages": [{"role": "user", "content": f"How did {CANARY} take it?"}, {"role": "assistant", "content": "iv"}]},
    {"conversations": [{"from": "human", "value": _QUESTION}, {"from": "gpt", "value": "aspirin"}]},
    {"conversations": [{"from": "human", "value": f"How did {CANARY} take it?"}, {"from": "gpt", "value": "iv"}]},
    {"prompt": _QUESTION, "completion": "aspirin"},
    {"prompt": f"How did {CANARY} take it?", "completion": "by mouth"},
    {"pubid": 1, "question": f"Does aspirin help {CANARY}?", "context": {"contexts": ["It helped."], "labels": ["RESULTS"],
     "meshes": ["Aspirin"]}, "long_answer": "It helps.", "final_decision": "yes"},
    {"pubid": 2, "question": f"Does rest harm {CANARY}?", "context": {"contexts": ["It did not."], "labels": ["RESULTS"],
     "meshes": ["Rest"]}, "long_answer": "It does not.", "final_decision": "no"},
    {"question": _QUESTION, "answer": "aspirin"},
    {"question": f"How did {CANARY} take it?", "answer": "by mouth"},
    {"question": _QUESTION, "options": ["aspirin", "ibuprofen", "none"], "answer": "aspirin"},
    {"question": f"How did {CANARY} take it?", "options": ["by mouth", "iv", "im"], "answer": "iv"},
    {"question": _QUESTION, "choices": ["aspirin", "ibuprofen", "none"], "answer": "aspirin"},
    {"question": f"How did {CANARY} take it?", "choices": ["by mouth", "iv", "im"], "answer": "iv"},
    {"id": "s1", "title": "Note", "context": f"{CANARY} received aspirin.", "question": "Which drug?",
     "answers": {"text": ["aspirin"], "answer_start": [25]}},
    {"id": "s2", "title": "Note", "context": f"{CANARY} took 5 mg.", "question": "Which dose?",
     "answers": {"text": ["5 mg"], "answer_start": [21]}},
    {"text": f"{CANARY} is ill.", "label": "positive"},
    {"text": f"{CANARY} is well.", "label": "negative"},
    {"tokens": [CANARY, "has", "fever"], "ner_tags": ["O", "O", "B-Disease"]},
    {"tokens": [CANARY, "takes", "aspirin"], "ner_tags": ["O", "O", "B-Drug"]},
    {"note": f"{CANARY} has a cough.", "summary": "A cough."},
    {"note": f"{CANARY} has a fever.", "summary": "A fever."},
    {"letter": f"{CANARY} has a cough.", "summary": "A cough."},
    {"letter": f"{CANARY} has a fever.", "summary": "A fever."},
)  # fmt: skip
"""Pairs of rows in the shapes that data sets have."""


def rows_of_columns(columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return two rows with text in each column."""
    return [{name: f"{CANARY} {word} {name}" for name in columns} for word in ("first", "second")]


def hostile_rows(row: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is wrong with it and a row: each column missing or filled with what data sets hold by mistake."""
    yield "empty", {}
    for column in row:
        yield f"without '{column}'", {key: value for key, value in row.items() if key != column}
        for what, value in _BAD_VALUES.items():
            yield f"'{column}' {what}", {**row, column: value}
    yield "with an unknown column", {**row, "extra": {"a": [1, None]}}


_BAD_VALUES: Mapping[str, Any] = {
    "null": None,
    "NaN": math.nan,
    "a number": 7,
    "a boolean": True,
    "empty": "",
    "blank": " \n\t ",
    "huge": f"{CANARY} " * 12_500,
    "a list": [CANARY, None, 3],
    "nested": {"a": {"b": [{"c": CANARY}]}},
    "bytes": CANARY.encode(),
    "control characters": f"\x00\x1b[31m{CANARY}\x07\u202e\ufeff",
    "in other scripts": f"{CANARY} ประวัติผู้ป่วย مريض 患者 🩺",
    "half a character": f"{CANARY}\ud800",
    "of the template": f"{CANARY}<|im_end|></s><|end_of_turn|>[INST]{{{{ x }}}}",
}

STRANGE_TEXTS: tuple[str, ...] = (
    "", " ", "\n\n", "None", "null", "{}", "[]", "[{", '{"a": [1, {"b": null}]}', "yes", "no", "A", "(B)", "42", "-1e999",
    "nan", "\x00\x07\x1b[0m", "\ud800", "ประวัติ", "患者", "🩺" * 50, "a : O\nb", ":::", "a,b;c|d\te", "%s %d {0} {x} $1 \\1",
    "(((((" * 20, "*+?[", "</s><|end_of_turn|>", "Entailment and Contradiction", "word " * 5_000, "x" * 20_000,
    f"The answer for {CANARY} is not known.",
)  # fmt: skip
"""Answers that models give and do not give."""


def _example(instruction: str, given: str, answer: str, source: str) -> Example:
    turns = [{"role": "user", "content": f"{instruction}\n\n{given}"}, {"role": "assistant", "content": answer}]
    return Example(turns, source=source, row_id=f"{source}-{len(given)}")  # type: ignore[arg-type]  # plain turns


_NLI = "Does sentence 2 follow from sentence 1 ? Answer Entailment , Contradiction or Neutral ."
_NER = "Which tokens name a disease ? Answer line by line with B at the start , I inside and O outside ."
STOCK_EXAMPLES: tuple[Example, ...] = (
    _example(_NLI, f"Sentence 1: {CANARY} is ill .\nSentence 2: {CANARY} is not well .", "Entailment", "MedNLI"),
    _example(_NLI, f"Sentence 1: {CANARY} is ill .\nSentence 2: {CANARY} is well .", "Contradiction", "MedNLI"),
    _example(_NER, "fever is common", "fever : B\nis : O\ncommon : O", "NCBI-disease"),
    _example(_NER, "rest helps asthma", "rest : O\nhelps : O\nasthma : B", "NCBI-disease"),
    _example("Give the relation .", "@problem$ was cured by @treatment$ .", "TrIP", "i2b2-2010"),
    _example("Give the relation .", "@problem$ after @problem$ in winter .", "PIP", "i2b2-2010"),
    _example("Assign hallmark labels , or None .", "cells spread early .", "activating invasion and metastasis", "HoC"),
    _example("Assign hallmark labels , or None .", "nothing was found .", "None", "HoC"),
    _example("Answer the question .", "Which organ fails in nephropathy ?", "the kidney", "questions"),
    _example("Answer the question .", "Which organ fails in hepatitis ?", "the liver", "questions"),
    _example("List the drugs as JSON .", "aspirin and ibuprofen", '{"drugs": ["aspirin", "ibuprofen"]}', "lists"),
    _example("List the drugs as JSON .", "morphine alone", '{"drugs": ["morphine"]}', "lists"),
)
"""Pairs of examples of the tasks that medtune knows."""
